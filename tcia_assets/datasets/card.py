"""The card of a dataset, README.md: what the dataset holds and how to rebuild it.

The text includes the front matter that Hugging Face reads. The numbers come from `summary.py`, the
sections about makers, licences and citations from `card_attribution.py`, the picture from
`contact_sheet.py`, the files about licences from `metadata/attribution.py`.

No text depends on when or where the card was written: the same dataset has the same card.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from tcia_assets.datasets import contact_sheet
from tcia_assets.datasets.card_attribution import (
    citation_section,
    license_section,
    makers_section,
)
from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.declaration import FORMATS
from tcia_assets.datasets.formats import huggingface, nnunet
from tcia_assets.datasets.label_makers import label_makers
from tcia_assets.datasets.licenses import License, attribution_table, list_licenses
from tcia_assets.datasets.quality import SAMPLE_CODES
from tcia_assets.datasets.sample_store import PNG
from tcia_assets.datasets.samples import CHANNELS, DROPPED, KEPT, kept_samples
from tcia_assets.datasets.summary import NOT_GIVEN, TITLES, VALUE, Record, Summary, summarize
from tcia_assets.datasets.volume.label_readers import EACH
from tcia_assets.metadata import attribution
from tcia_assets.metadata.citations import ARCHIVE, ARCHIVE_URL, Origin
from tcia_assets.metadata.markdown import fenced, markdown, markdown_link, markdown_table
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets.store.files import publish

_DEFAULT_FORMAT = "nifti"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# Licences that Hugging Face has a name for; any other is `other`.
_HUGGING_FACE_LICENSES = {
    *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0"),
    *("cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0"),
    "cc-by-nc-sa-4.0",
}


def write_card(root: Path, samples: pa.Table, info: DatasetInfo) -> None:
    """Write the card of the dataset in a folder.

    It writes `README.md`, `contact_sheet.png`, `LICENSES.md`, `CITATION.cff` and `CITATIONS.bib`;
    if no sample is kept, only `README.md`.

    Raises:
        StorageError: A file cannot be written, or a file that a sample names cannot be read.
    """
    table = attribution_table(samples, info)
    attribution.write_files(
        FolderArchives(root), "", info.title, table, form=f"as {_kind(info)}", origin=info.origin
    )
    has_sheet = contact_sheet.write_contact_sheet(root, samples, info)
    text = readme(samples, info, has_sheet=has_sheet)
    content = text.encode("utf-8", "replace")
    publish(root / "README.md", lambda draft: draft.write_bytes(content))


def readme(samples: pa.Table, info: DatasetInfo, *, has_sheet: bool = True) -> str:
    """Return the text of `README.md`."""
    numbers = summarize(samples, info.splits)
    licenses = list_licenses(samples, info)
    kept = sum(int(record[KEPT]) for record in numbers["parts"])
    picture = "![Slices of some samples, with their labels](contact_sheet.png)\n"
    blocks = [
        _front_matter(numbers, licenses, info, kept),
        f"# {markdown(info.title)}\n",
        _opening(numbers, info, kept),
        picture if has_sheet else "",
        makers_section(label_makers(samples, info)),
        license_section(licenses, info),
        citation_section(samples, info),
        _channel_section(samples, info),
        _class_section(info),
        *_number_sections(numbers),
        _files_section(info),
        _rebuild_section(info),
    ]
    return "\n".join(block for block in blocks if block)


def _front_matter(numbers: Summary, licenses: list[License], info: DatasetInfo, kept: int) -> str:
    names = list(dict.fromkeys(_hugging_face_name(each) for each in licenses))
    matter: dict[str, Any] = {}
    if names:
        matter["license"] = names[0] if len(names) == 1 else names
    if "other" in names:
        matter |= {"license_name": "several-see-licenses-md", "license_link": "LICENSES.md"}
    matter["pretty_name"] = " ".join(info.title.split())
    tasks = ["image-segmentation"] * bool(info.labels)
    tasks += ["image-classification"] * bool(info.classes)
    matter["task_categories"] = tasks or ["other"]
    matter["size_categories"] = [next((n for most, n in _SIZES if kept < most), "n>1M")]
    modalities = [str(record[VALUE]).lower() for record in numbers["modalities"]]
    known = ["tcia"] * info.origin.has_tcia
    matter["tags"] = ["medical", "cancer", *known, *(m for m in modalities if m != NOT_GIVEN)]
    if "huggingface" in info.settings["formats"]:
        filled = [str(record["split"]) for record in numbers["parts"] if record[KEPT]]
        matter["configs"] = huggingface.configs(info, filled)
    text = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n"


def _hugging_face_name(license_: License) -> str:
    return license_.short if license_.short in _HUGGING_FACE_LICENSES else "other"


def _opening(numbers: Summary, info: DatasetInfo, kept: int) -> str:
    patients = sum(int(record["patients"]) for record in numbers["parts"])
    dropped = sum(int(record[DROPPED]) for record in numbers["parts"])
    channels = f", each with the channels {_and(info.channels)}" if info.channels else ""
    kind = "cases" if info.channels else _noun(info)
    labels = f", with labels for {_and(info.labels.values())}" if info.labels else ""
    folds = f" `{info.splits[0]}` has {info.folds} folds." if info.folds else ""
    return (
        f"{kept:,} {kind} of {patients:,} Patients of {_linked(info.origin)}{channels}{labels}, "
        "split by Patient into "
        f"{_and(info.splits)}.{folds} Series that were left out, for the reasons under "
        f'"{TITLES["quality"]}": {dropped:,}.\n'
    )


def _linked(origin: Origin) -> str:
    return origin.value.replace(ARCHIVE, markdown_link(ARCHIVE, ARCHIVE_URL))


def _noun(info: DatasetInfo) -> str:
    return "images" if info.has_frames else "volumes"


def _kind(info: DatasetInfo) -> str:
    return "PNG" if info.image_ending == PNG else "NIfTI"


def _and(names: Iterable[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


# --- Channels -------------------------------------------------------------------------------------


def _channel_section(samples: pa.Table, info: DatasetInfo) -> str:
    if not info.channels:
        return ""
    rows = [row for row in kept_samples(samples)[CHANNELS].to_pylist() if row]
    table = []
    for number, name in enumerate(info.channels):
        images = [row[number] for row in rows]
        with_series = [image for image in images if image["SeriesInstanceUID"]]
        table.append(
            {
                "Number": str(number),
                "Channel": f"`{name}`",
                "Modality": markdown(_distinct(with_series, "Modality")),
                "Units": markdown(_distinct(with_series, "units")),
                "Type": markdown(_distinct(images, "dtype")),
                "Series": f"{len({image['SeriesInstanceUID'] for image in with_series}):,}",
                "Zeros": f"{len(images) - len(with_series):,}",
            }
        )
    return (
        "## Channels\n\nEach sample has an image for each channel, all on one grid: "
        f"`images/<sample>_<channel>.nii.gz`.\n\n{markdown_table(table)}"
    )


def _distinct(images: Iterable[Mapping[str, Any]], column: str) -> str:
    return ", ".join(sorted({image[column] or NOT_GIVEN for image in images}))


# --- Classes --------------------------------------------------------------------------------------


def _class_section(info: DatasetInfo) -> str:
    joined, settings = info.class_join, info.settings.get("classes")
    if joined is None or not settings:
        return ""
    if settings["csv"] or settings["sql"]:
        origin = "a CSV file" if settings["csv"] else "a query"
    else:
        origin = f"`{settings['table'] or 'current_series'}`"
    return (
        f"## Classes\n\n{_and(info.classes.values())}, numbered from 0, from the column "
        f"{markdown(settings['column'])} of {origin}, joined by {joined.key}: {joined.keys:,} "
        f"values of it are there, {joined.unused:,} of them of no image here. No {joined.key} has "
        "two classes.\n"
    )


# --- Numbers, files, rebuilding -------------------------------------------------------------------


def _number_sections(numbers: Summary) -> Iterator[str]:
    yield "## Contents\n"
    for name, title in TITLES.items():
        if numbers[name]:
            yield f"{'##' if name == 'quality' else '###'} {title}\n"
            yield markdown_table([_cells(record, title) for record in numbers[name]])


def _cells(record: Record, title: str) -> dict[str, str]:
    cells = {title if key == VALUE else key: _cell(value) for key, value in record.items()}
    if cells.pop("code", None) is None:
        return cells
    meaning = markdown(SAMPLE_CODES.get(str(record["code"]), ""))
    return {"code": f"`{record['code']}`", "meaning": meaning, **cells}


def _cell(value: str | float) -> str:
    return markdown(value) if isinstance(value, str) else f"{value:,}"


def _about_labels(info: DatasetInfo) -> str:
    target = info.settings.get("target") or {}
    readers = (
        "; one for each reader, along the fourth axis" if target.get("readers") == EACH else ""
    )
    return f"their labels on the same grid; 0 is background{readers}"


def _files_section(info: DatasetInfo) -> str:
    files: dict[str, str] = {
        "samples.parquet": "a row for each image Series of the cohort, with its state and reasons",
        "images/": f"the {_noun(info)} as {_kind(info)}, named by SeriesInstanceUID"
        + (" and channel" if info.channels else ""),
        **({"labels/": _about_labels(info)} if info.labels else {}),
        "dataset.lock.json": "the cohort, the settings, and the SHA-256 of each file",
    }
    for name in info.settings["formats"]:
        if name != _DEFAULT_FORMAT:
            path = "croissant.json" if name == "croissant" else f"{name}/"
            files[path] = FORMATS[name]
    if "nnunet" in info.settings["formats"]:
        files["nnunet/"] += f"; the dataset's number is {nnunet.number(info.name)}"
    listed = "\n".join(f"- `{path}`: {markdown(about)}" for path, about in files.items())
    load = f'samples = load_dataset(".", "{info.splits[0]}")'
    code = fenced(f"from tcia_assets import load_dataset\n\n{load}", "python")
    return f"## Files\n\n{listed}\n\n{code}"


def _rebuild_section(info: DatasetInfo) -> str:
    made_with = ", ".join(f"{name} {number}" for name, number in sorted(info.made_with.items()))
    settings = json.dumps(info.settings, indent=1, ensure_ascii=False)
    return (
        "## How to rebuild it\n\n"
        f"```sh\ntcia-assets dataset build {info.name} --locked\n```\n\n"
        "With the same versions of the libraries this gives the same bytes, and the name of the "
        f"folder is the start of their hash. Made with {markdown(made_with)}. The cohort's SHA-256 "
        f"is `{info.cohort_sha256}`; the lock file holds the cohort, its query, and the state of "
        f"the warehouse at that time. The settings:\n\n{fenced(settings, 'json')}"
    )
