"""Croissant 1.0: a description of the dataset, as JSON-LD for search engines and loaders.

It is written to `croissant.json`, beside `samples.parquet`, which it describes.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, split_role, write_json
from tcia_assets.datasets.licenses import list_citations, list_licenses
from tcia_assets.datasets.sample_store import NIFTI, PNG
from tcia_assets.datasets.samples import KEPT, SAMPLES, SAMPLES_OF_FRAMES
from tcia_assets.metadata.citations import ARCHIVE, ARCHIVE_URL
from tcia_assets.store.files import sha256_of

_TYPES = {pa.string(): "sc:Text", pa.int64(): "sc:Integer", pa.float64(): "sc:Float"}
_MEDIA_TYPES = {NIFTI: "application/gzip", PNG: "image/png"}
_ABOUT = {
    "SeriesInstanceUID": "The DICOM Series from which the sample was made.",
    "sample": "The name of the sample: its Series, with a number if that has several volumes.",
    "volume": "What distinguishes it from other volumes of its Series.",
    "state": f"`{KEPT}` if the sample is in the dataset; otherwise `reasons` gives the reasons.",
    "patient": "The Patient; none is in two splits.",
    "part": "The split.",
    "fold": "The fold, from 0, of samples of the first split.",
    "class_value": "The value that the class is made of.",
    "class_name": "The class of the sample.",
    "class_index": "The number of the class, from 0.",
    "image": "The path of the volume.",
    "image_sha256": "The SHA-256 of the file of the volume.",
    "label": "The path of the labels, on the grid of the volume.",
    "label_sha256": "The SHA-256 of the file of the labels.",
    "pixel_sha256": "The SHA-256 of shape, dtype and voxels as they were read.",
}
# The context of the specification, word for word: readers compare it.
_CONTEXT = json.loads(resources.files(__package__).joinpath("croissant_context.json").read_bytes())


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """Write `croissant.json`: the table of samples with its hash, the files, and the splits.

    Its records are the rows of `samples.parquet`, with those of dropped samples: see `state`.
    """
    write_json(root / "croissant.json", _document(root, kept, info))


def _document(root: Path, kept: KeptSamples, info: DatasetInfo) -> dict[str, Any]:
    citations = list_citations(kept.table, info)
    cited = [f"{source.title}. {source.url or source.uri}" for source in citations]
    known = list_licenses(kept.table, info)
    licenses = [each.uri or each.name or "not given" for each in known]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": info.name,
        "alternateName": info.title,
        "description": f"{info.title}. {len(kept.rows)} "
        f"{'images' if info.has_frames else 'volumes'} of {info.origin}"
        f"{' with labels' if info.labels else ''}, split by Patient into "
        f"{', '.join(info.splits)}.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": licenses,
        "citeAs": "; ".join(cited) or info.origin.value,
        "citation": cited,
        **(_archive(info) if info.origin.has_tcia else {}),
        "keywords": ["medical imaging", "cancer", *kept.modalities],
        # The dataset's own version is a hash over all files, so that no file can hold it.
        "version": f"1.0.0+{info.cohort_sha256[:12]}",
        # The day on which its newest images were: no file may hold the time of a build.
        **({"datePublished": info.released} if info.released else {}),
        "distribution": _distribution(root, info),
        "recordSet": [
            _splits(info),
            *([_channels(kept)] if info.channels else ()),
            _samples(SAMPLES_OF_FRAMES if info.has_frames else SAMPLES),
        ],
    }


def _archive(info: DatasetInfo) -> dict[str, Any]:
    return {
        "usageInfo": info.policy,
        "url": ARCHIVE_URL,
        "creator": {"@type": "sc:Organization", "name": ARCHIVE, "url": ARCHIVE_URL},
    }


def _distribution(root: Path, info: DatasetInfo) -> list[dict[str, Any]]:
    table = root / "samples.parquet"
    index = _node(
        "FileObject",
        table.name,
        description="One row for each sample, kept or dropped, with hashes of its files.",
        contentUrl=table.name,
        contentSize=f"{table.stat().st_size} B",
        encodingFormat="application/x-parquet",
        sha256=sha256_of(table),
    )
    images = _file_set("images", "The volumes, as NIfTI.")
    if info.has_frames:
        images = _file_set("images", "The images.", info.image_ending)
    return [index, images, *([_file_set("labels", "The labels, as NIfTI.")] if info.labels else ())]


def _file_set(folder: str, about: str, ending: str = NIFTI) -> dict[str, Any]:
    files = {"includes": f"{folder}/*{ending}", "encodingFormat": _MEDIA_TYPES[ending]}
    return _node("FileSet", folder, description=about, **files)


def _splits(info: DatasetInfo) -> dict[str, Any]:
    return _node(
        "RecordSet",
        "parts",
        description="The splits, and what each is for.",
        dataType="cr:Split",
        key={"@id": "parts/name"},
        field=[
            _node("Field", "parts/name", dataType="sc:Text"),
            _node("Field", "parts/url", dataType="sc:URL"),
        ],
        data=[
            {"parts/name": each, "parts/url": f"cr:{split_role(each, info).capitalize()}Split"}
            for each in info.splits
        ],
    )


def _channels(kept: KeptSamples) -> dict[str, Any]:
    """Return the channels by number; their files end in `_<name>.nii.gz`."""
    return _node(
        "RecordSet",
        "channels",
        description="The images of each case: images/<sample>_<name>.nii.gz.",
        key={"@id": "channels/number"},
        field=[
            _node("Field", "channels/number", dataType="sc:Integer"),
            _node("Field", "channels/name", dataType="sc:Text"),
            _node("Field", "channels/modality", dataType="sc:Text"),
        ],
        data=[
            {
                "channels/number": number,
                "channels/name": name,
                "channels/modality": " and ".join(sorted(modalities)),
            }
            for number, (name, modalities) in enumerate(kept.modalities_of_channels.items())
        ],
    )


def _samples(schema: pa.Schema) -> dict[str, Any]:
    return _node(
        "RecordSet",
        "samples",
        description="The rows of samples.parquet, without its nested columns.",
        key={"@id": "samples/sample"},
        field=[_field(field) for field in schema if field.type in _TYPES],
    )


def _field(field: pa.Field) -> dict[str, Any]:
    about = f"{field.name}, as given by the source or read from the images."
    source = {"fileObject": {"@id": "samples.parquet"}, "extract": {"column": field.name}}
    content = _node(
        "Field",
        f"samples/{field.name}",
        description=_ABOUT.get(field.name, about),
        dataType=_TYPES[field.type],
        source=source,
    )
    if field.name == "part":
        content["references"] = {"field": {"@id": "parts/name"}}
    return content


def _node(kind: str, identifier: str, **properties: Any) -> dict[str, Any]:
    """Return a node of the JSON-LD; its name is the last part of its identifier."""
    name = identifier.rpartition("/")[2]
    return {"@type": f"cr:{kind}", "@id": identifier, "name": name, **properties}
