"""Parquet files for `datasets.load_dataset`: the columns of the samples, with their files.

They are `huggingface/data/<split>-00000-of-0000N.parquet`; an entry of the card's front matter
lists them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Row, batches, row_metadata
from tcia_assets.datasets.samples import (
    CHANNEL,
    CHANNELS,
    SAMPLES,
    SAMPLES_OF_FRAMES,
    image_files,
)
from tcia_assets.errors import UsageError

# As the Hub advises: files of half a gigabyte, row groups that fit into memory.
_FILE_BYTES, _GROUP_BYTES = 500_000_000, 100_000_000

_FILE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
# Without paths: the files are in columns of their own.
_CHANNEL = pa.struct([field for field in CHANNEL if field.name != "image"])
_FINDING = pa.struct([pa.field(name, pa.string()) for name in ("code", "policy", "message")])
# Columns that are left out, or written in a type that other readers know.
_RESHAPED = ("findings", "label_voxels", "state", "reasons", "image", "label")


def write(
    root: Path, kept: KeptSamples, info: DatasetInfo, *, max_bytes: int = _FILE_BYTES
) -> None:
    """Write the Parquet files, which have a column for each column of the samples.

    `image` and `label` hold the files as `bytes` and `path`; cast them to `datasets.Nifti()`, and
    PNG files to `datasets.Image()`. In a dataset with channels each has a column `image_<channel>`
    instead of `image`.
    `label` and `label_voxels`, a struct with a field for each label, are there if the dataset has a
    target. `findings` are without their numbers.

    Raises:
        UsageError: Two splits have the same name after `-` is replaced by `_`.
    """
    folder = root / "huggingface" / "data"
    folder.mkdir(parents=True)
    schema = _schema(info)
    for split, name in split_names(info).items():
        shards = list(batches(kept.in_split(split), max_bytes))
        for number, rows in enumerate(shards):
            path = folder / f"{name}-{number:05}-of-{len(shards):05}.parquet"
            # Not compressed again: the files are, and the rest is small.
            with pq.ParquetWriter(path, schema, compression="none") as file:
                for group in batches(rows, _GROUP_BYTES):
                    table = pa.Table.from_pylist([_row(root, row, info) for row in group], schema)
                    file.write_table(table)


def split_names(info: DatasetInfo) -> dict[str, str]:
    """Return the name of each split in Hugging Face, which allows letters, digits and `_` only."""
    names = {split: split.replace("-", "_") for split in info.splits}
    if len(set(names.values())) < len(names):
        problem = f"the splits {', '.join(names)} have the same name when '-' is replaced by '_'"
        raise UsageError(f"huggingface: {problem}: rename one")
    return names


def configs(info: DatasetInfo, splits: Iterable[str]) -> list[dict[str, Any]]:
    """Return `configs` of the card's front matter, for the splits that have samples."""
    filled = set(splits)
    files = [
        {"split": name, "path": f"huggingface/data/{name}-*.parquet"}
        for split, name in split_names(info).items()
        if split in filled
    ]
    return [{"config_name": "default", "data_files": files}]


def _schema(info: DatasetInfo) -> pa.Schema:
    own = SAMPLES_OF_FRAMES if info.has_frames else SAMPLES
    fields = [field for field in own if field.name not in _RESHAPED]
    fields += [pa.field("findings", pa.list_(_FINDING))]
    fields += [pa.field(column, _FILE) for column in image_columns(info).values()]
    if info.channels:
        fields += [pa.field(CHANNELS, pa.list_(_CHANNEL))]
    if info.labels:
        counts = [pa.field(name, pa.int64()) for _, name in sorted(info.labels.items())]
        fields += [pa.field("label", _FILE), pa.field("label_voxels", pa.struct(counts))]
    return pa.schema(fields)


def image_columns(info: DatasetInfo) -> dict[str, str]:
    """Return the column of each channel, or of the image of a dataset without channels."""
    return {name: f"image_{name}" for name in info.channels} or {"": "image"}


def _row(root: Path, row: Row, info: DatasetInfo) -> Row:
    columns = image_columns(info)
    values = row_metadata(row) | {
        columns[name]: _file(root, image["image"]) for name, image in image_files(row).items()
    }
    if info.labels and row["label"]:
        values["label"] = _file(root, row["label"])
    return values


def _file(root: Path, path: str) -> Row:
    return {"bytes": (root / path).read_bytes(), "path": path.rpartition("/")[2]}
