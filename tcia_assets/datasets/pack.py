"""A version of a dataset as one archive for a repository such as Zenodo.

Beside the files of the version, unchanged, it holds `ro-crate-metadata.json` (RO-Crate 1.1), which
describes them. `zenodo.json` is for the form or the API of Zenodo, and stays outside.

The same version, day and creators give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tcia_assets.datasets.cohort import IMPORTED_FROM
from tcia_assets.datasets.licenses import license_of_row
from tcia_assets.datasets.samples import KEPT
from tcia_assets.datasets.versions import LOCK, Version
from tcia_assets.errors import DatasetRefused, StorageError
from tcia_assets.metadata.citations import ARCHIVE, Origin, doi_url
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.sources.doi import doi_of
from tcia_assets.store.files import publish, sha256_of

CRATE = "ro-crate-metadata.json"
_CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_PROFILE = "https://w3id.org/ro/crate/1.1"
# The earliest time that a zip can hold: no file of a version has one.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 20
_TYPES = {
    ".gz": "application/gzip",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".tar": "application/x-tar",
}


@dataclass(frozen=True)
class Publication:
    """What a packed dataset is published as.

    Attributes:
        published: The day.
        creators: Names, as "Curie, Marie"; those who made the dataset, not the images.
    """

    published: date
    creators: tuple[str, ...] = ()


@dataclass(frozen=True)
class PackedDataset:
    """An archive, and the file with metadata beside it."""

    archive: Path
    metadata: Path
    bytes: int
    sha256: str


def pack(
    version: Version,
    archive: Path,
    publication: Publication,
    report: ProgressCallback = ignore_progress,
) -> PackedDataset:
    """Write a version of a dataset as one zip, and metadata for Zenodo beside it.

    Each file is compared with its hash in the lock file while it is written.

    Args:
        version: On disk.
        archive: The path of the zip; its metadata are `<name>.zenodo.json` beside it.
        publication: As what it is published.
        report: Called with the number of files written and of all files.

    Raises:
        DatasetRefused: Files of the version are missing or damaged; names them.
        StorageError: The archive cannot be written.
    """
    paths = sorted(version.files)
    texts = {
        CRATE: _text(_crate(version, publication)),
        LOCK: (version.folder / LOCK).read_text(encoding="utf-8"),
    }
    top = f"{version.name}-{version.version}"

    def write(draft: Path) -> None:
        with zipfile.ZipFile(draft, "w") as file:
            for name, text in sorted(texts.items()):
                file.writestr(_member(f"{top}/{name}", zipfile.ZIP_DEFLATED), text)
            for done, path in enumerate(paths, start=1):
                _add(file, version, path, f"{top}/{path}")
                report(done, len(paths))

    publish(archive, write, keep_equal=False)
    metadata = archive.with_name(f"{archive.stem}.zenodo.json")
    content = _text(_zenodo(version, publication)).encode()
    publish(metadata, lambda draft: draft.write_bytes(content))
    return PackedDataset(archive, metadata, archive.stat().st_size, sha256_of(archive))


def _add(file: zipfile.ZipFile, version: Version, path: str, name: str) -> None:
    """Add a file, not compressed again, and check its hash on the way."""
    digest = hashlib.sha256()
    try:
        with (
            (version.folder / path).open("rb") as source,
            file.open(_member(name, zipfile.ZIP_STORED), "w", force_zip64=True) as target,
        ):
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                target.write(chunk)
    except FileNotFoundError:
        raise _refused(version, f"{path}: the file is missing") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be packed: {error.strerror or error}") from error
    if digest.hexdigest() != version.files[path].sha256:
        raise _refused(version, f"{path}: its sha256 is {digest.hexdigest()}")


def _refused(version: Version, problem: str) -> DatasetRefused:
    advice = "build it again, and see `tcia-assets dataset verify`"
    return DatasetRefused(version.name, "its files differ from its lock file", [problem], advice)


def _member(name: str, compression: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _NO_TIME)
    member.compress_type = compression
    member.external_attr = 0o644 << 16
    return member


def _text(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


# --- Metadata of the dataset ----------------------------------------------------------------------


def _title(version: Version) -> str:
    return str(version.content["settings"]["title"])


def _description(version: Version) -> str:
    states = version.samples["state"].to_pylist()
    kind = "images" if version.content["settings"].get("frames") else "volumes"
    return (
        f"{_title(version)}. {states.count(KEPT):,} {kind} made from images of "
        f"{_origin(version)}, split by patient, with the hash of each file. README.md is its card; "
        "LICENSES.md and CITATION.cff have the licence and the citation of each source."
    )


def _origin(version: Version) -> Origin:
    # Lock files have the column only where it is not null.
    return Origin.of(row.get(IMPORTED_FROM) for row in version.content["cohort"]["series"])


def unlicensed_series(version: Version) -> int:
    """Return of how many Series that are in a version the source states no licence."""
    return sum(license_of_row(row).is_missing for row in version.series)


def _sources(series: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the DOIs of the data that a version was made from, sorted."""
    return sorted({doi for row in series if (doi := doi_of(row["DataDescriptionURI"] or ""))})


def _licenses(series: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the licences of the data in a version: addresses, or names without one."""
    found = map(license_of_row, series)
    return sorted({each.uri or each.name or "not given" for each in found})


def _crate(version: Version, publication: Publication) -> dict[str, Any]:
    """Return the RO-Crate: the dataset, its files with their hashes, its sources and creators."""
    files, series = _file_nodes(version), version.series
    sources = [
        {"@id": doi_url(doi), "@type": "CreativeWork", "name": doi} for doi in _sources(series)
    ]
    creators = [{"@id": f"#{quote(n)}", "@type": "Person", "name": n} for n in publication.creators]
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": _title(version),
        "description": _description(version),
        "datePublished": publication.published.isoformat(),
        "version": version.version,
        "license": _licenses(series),
        "hasPart": _references(files),
        "isBasedOn": _references(sources),
    }
    if creators:
        root["creator"] = _references(creators)
    descriptor = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": _PROFILE},
    }
    return {"@context": _CONTEXT, "@graph": [descriptor, root, *files, *sources, *creators]}


def _file_nodes(version: Version) -> list[dict[str, Any]]:
    return [
        {
            "@id": quote(path),
            "@type": "File",
            "name": path,
            "contentSize": str(file.bytes),
            "encodingFormat": _TYPES.get(Path(path).suffix, "application/octet-stream"),
            "sha256": file.sha256,
        }
        for path, file in sorted(version.files.items())
    ]


def _references(nodes: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    return [{"@id": node["@id"]} for node in nodes]


def _zenodo(version: Version, publication: Publication) -> dict[str, Any]:
    """Return the metadata of a deposition, as Zenodo's API takes them."""
    series = version.series
    shorts = {license_of_row(row).short for row in series}
    metadata: dict[str, Any] = {
        "title": _title(version),
        "upload_type": "dataset",
        "publication_date": publication.published.isoformat(),
        "description": _description(version),
        "version": version.version,
        "creators": [{"name": name} for name in publication.creators],
        "keywords": ["medical imaging", "cancer", "DICOM", *[ARCHIVE] * _origin(version).has_tcia],
        # Without a licence, a person must decide who may have the data.
        "access_right": "restricted" if unlicensed_series(version) else "open",
        "notes": "Licences of the sources: " + "; ".join(_licenses(series)),
        "related_identifiers": [
            {"identifier": doi, "relation": "isDerivedFrom", "resource_type": "dataset"}
            for doi in _sources(series)
        ],
    }
    # Zenodo has one licence a record; where sources differ, a person must choose.
    if len(shorts) == 1 and (short := shorts.pop()):
        metadata["license"] = short
    return {"metadata": metadata}
