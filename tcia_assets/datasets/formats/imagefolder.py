"""Folders of PNG files by split and class, with `metadata.csv`: for PyTorch and Hugging Face.

    imagefolder/<split>/<class>/<sample>.png
    imagefolder/<split>/metadata.csv

`torchvision.datasets.ImageFolder` reads the folder of a split, `load_dataset("imagefolder",
data_dir=...)` of Hugging Face all of them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Row
from tcia_assets.datasets.sample_store import PNG
from tcia_assets.datasets.samples import sample_name
from tcia_assets.store.files import link_or_copy

# Columns that name places in the version's folder, or are the same in all rows.
_LEFT_OUT = {"state", "reasons", "image", "label", "image_sha256", "pixel_sha256"}
_TEXT = "text"


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """Write the folders. A sample without a class lies in the folder of its split itself.

    `metadata.csv` has a row for each sample: `file_name`, `label` (the name of its class) and
    columns of `samples.parquet`. Readers guess the type of a column for each split alone, so those
    are left out that would have several, or of which texts would become numbers, such as a
    PatientID `001`.
    """
    by_split = {split: kept.in_split(split) for split in info.splits}
    filled = {split: rows for split, rows in by_split.items() if rows}
    columns = [
        field.name
        for field in kept.table.schema
        if field.name not in _LEFT_OUT and _is_readable(field, filled.values())
    ]
    for split, rows in filled.items():
        _write_split(root, root / "imagefolder" / split, rows, columns)


def _is_readable(field: pa.Field, splits: Iterable[Sequence[Row]]) -> bool:
    """Return whether readers of CSV give a column the type that it has, in each split."""
    if pa.types.is_nested(field.type):
        return False
    (kind, *others) = {_guessed([row[field.name] for row in rows]) for rows in splits} or {""}
    if others or not kind:
        return False
    return bool(pa.types.is_string(field.type)) == (kind == _TEXT)


def _guessed(values: Sequence[Any]) -> str:
    """Return the kind of values that a reader sees in a column of CSV; "" if it is empty."""
    texts = [str(value) for value in values if value is not None]
    if not texts:
        return ""
    if not all(map(_is_number, texts)):
        return _TEXT
    is_whole = len(texts) == len(values) and all(text.lstrip("-").isdigit() for text in texts)
    return "whole" if is_whole else "number"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write_split(root: Path, folder: Path, rows: list[Row], columns: list[str]) -> None:
    folder.mkdir(parents=True)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "label", *columns])
        for row in rows:
            name = f"{class_folder(row['class_name'])}{sample_name(row)}{PNG}"
            (folder / name).parent.mkdir(exist_ok=True)
            link_or_copy(root / row["image"], folder / name)
            writer.writerow([name, row["class_name"], *(row[column] for column in columns)])


def class_folder(name: str | None) -> str:
    """Return the folder of a class, with a slash; "" without a class.

    >>> class_folder("BI-RADS 4/5"), class_folder(".."), class_folder(None)
    ('BI-RADS 4%2F5/', '%2E%2E/', '')
    """
    if name is None:
        return ""
    quoted = quote(name, safe=" ")
    return (quoted.replace(".", "%2E") if set(name) == {"."} else quoted) + "/"
