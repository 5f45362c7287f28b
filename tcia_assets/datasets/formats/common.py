"""What the forms share: the samples that are kept, what their parts are for, links and JSON.

What belongs here: what two forms would say twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.samples import KEPT

Row = dict[str, Any]

TRAINING, VALIDATION, TEST = "training", "validation", "test"
_VALIDATING = {"val", "valid", "validate", "validation", "dev", "tune", "tuning"}

# In a row that goes with its files, they say nothing: it is kept, and here they are.
_NOT_TOLD = ("state", "reasons", "image", "label")


@dataclass(frozen=True)
class KeptSamples:
    """The samples that are in the dataset: `table` as `samples.SAMPLES`, and its rows."""

    table: pa.Table
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, samples: pa.Table) -> KeptSamples:
        kept = samples.filter(pc.equal(samples["state"], KEPT)).sort_by("SeriesInstanceUID")
        return cls(kept, tuple(kept.to_pylist()))

    def in_split(self, part: str) -> list[Row]:
        return [row for row in self.rows if row["part"] == part]

    @property
    def modalities(self) -> list[str]:
        return sorted({row["Modality"] or "unknown" for row in self.rows})


def split_role(part: str, info: DatasetInfo) -> str:
    """What a part is for, where a form knows no other names.

    The first is for training; one called `val`, `validation`, `dev`, `tune` or the like, for
    validation; each other for tests.
    """
    if part == info.splits[0]:
        return TRAINING
    return VALIDATION if part.lower() in _VALIDATING else TEST


def write_json(path: Path, value: Any) -> None:
    """A file of JSON in ASCII: readers open it in whatever encoding their system has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="ascii", newline="\n")


def row_metadata(row: Row) -> Row:
    """What a row says beside its files, as JSON can hold it; nothing of what it does not know."""
    given = {name: value for name, value in row.items() if name not in _NOT_TOLD}
    if row["label_voxels"] is not None:
        given["label_voxels"] = dict(row["label_voxels"])
    given["findings"] = [
        {**found, "numbers": dict(found["numbers"])} for found in row["findings"] or ()
    ]
    return {name: value for name, value in given.items() if value is not None}


def batches(rows: list[Row], most_bytes: int) -> Iterator[list[Row]]:
    """The rows in their order, each batch with files of about this many bytes at most."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        files = row["image_bytes"] + (row["label_bytes"] or 0)
        if batch and size + files > most_bytes:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += files
    if batch:
        yield batch
