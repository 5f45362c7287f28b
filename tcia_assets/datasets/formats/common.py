"""What the formats share: the kept samples, the roles of splits, batches and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.samples import file_bytes, image_files, kept_samples

Row = dict[str, Any]

_VALIDATION_NAMES = {"val", "valid", "validate", "validation", "dev", "tune", "tuning"}

# Columns without meaning in a row that stands beside its files.
_LEFT_OUT = ("state", "reasons", "image", "label")


class Role(StrEnum):
    """What a split is for, in formats that have three fixed roles."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class KeptSamples:
    """The samples in the dataset, sorted by UID: `table` as `samples.SAMPLES`, and its rows."""

    table: pa.Table
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, samples: pa.Table) -> KeptSamples:
        """Return those of a table of samples that are kept."""
        kept = kept_samples(samples).sort_by(
            [("SeriesInstanceUID", "ascending"), ("sample", "ascending")]
        )
        return cls(kept, tuple(kept.to_pylist()))

    def in_split(self, split: str) -> list[Row]:
        """Return the rows of a split."""
        return [row for row in self.rows if row["part"] == split]

    @property
    def modalities(self) -> list[str]:
        """The Modalities of the samples, sorted."""
        return sorted(set().union(*self.modalities_of_channels.values()))

    @property
    def modalities_of_channels(self) -> dict[str, set[str]]:
        """The Modalities of each channel; that of images without channels is named ""."""
        found: dict[str, set[str]] = {}
        for row in self.rows:
            for name, image in image_files(row).items():
                modality = {image["Modality"] or "unknown"} if image["SeriesInstanceUID"] else set()
                found.setdefault(name, set()).update(modality)
        return found


def split_role(split: str, info: DatasetInfo) -> Role:
    """Return what a split is for.

    The first split is for training; one that is named `val`, `validation`, `dev`, `tune` or the
    like is for validation; every other one for tests.
    """
    if split == info.splits[0]:
        return Role.TRAINING
    return Role.VALIDATION if split.lower() in _VALIDATION_NAMES else Role.TEST


def write_json(path: Path, value: Any) -> None:
    """Write a file of JSON, in ASCII: readers open it in the encoding of their system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="ascii", newline="\n")


def row_metadata(row: Row) -> Row:
    """Return what a row holds beside its files, as JSON can hold it, without nulls."""
    metadata = {name: value for name, value in row.items() if name not in _LEFT_OUT}
    if row["label_voxels"] is not None:
        metadata["label_voxels"] = dict(row["label_voxels"])
    metadata["findings"] = [
        {**finding, "numbers": dict(finding["numbers"])} for finding in row["findings"] or ()
    ]
    return {name: value for name, value in metadata.items() if value is not None}


def batches(rows: list[Row], max_bytes: int) -> Iterator[list[Row]]:
    """Divide rows, in their order, into batches of at most `max_bytes` bytes of files.

    A row whose files alone are larger is a batch of its own.
    """
    batch: list[Row] = []
    size = 0
    for row in rows:
        row_bytes = file_bytes(row)
        if batch and size + row_bytes > max_bytes:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row_bytes
    if batch:
        yield batch
