"""Parquet for `datasets.load_dataset`: what a row says, with its files in it.

What belongs here: `huggingface/data/<part>-00000-of-0000N.parquet`, and which of them is what, for
the front matter of the card.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Row, batches, row_metadata
from tcia_assets.datasets.samples import SAMPLES
from tcia_assets.errors import UsageError

# What the Hub advises: a file of half a gigabyte, and row groups that fit into memory.
_MOST_BYTES, _GROUP_BYTES = 500_000_000, 100_000_000

_FILE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_FINDING = pa.struct([pa.field(name, pa.string()) for name in ("code", "policy", "message")])
# Columns whose type others do not read; they come back in one that they do.
_RESHAPED = ("findings", "label_voxels", "state", "reasons", "image", "label")


def write(
    root: Path, kept: KeptSamples, info: DatasetInfo, *, most_bytes: int = _MOST_BYTES
) -> None:
    """A column of the samples each, `image` and `label` being the files: `bytes` and `path`.

    `datasets.Nifti()` is what these are cast to. `label` and `label_voxels`, whose fields are the
    names of the labels, are there if the dataset has a target; `findings` are without numbers.

    Raises:
        UsageError: two parts have the same name but for punctuation, which a split cannot have.
    """
    folder = root / "huggingface" / "data"
    folder.mkdir(parents=True)
    schema = _schema(info)
    for part, split in splits(info).items():
        shards = list(batches(kept.in_split(part), most_bytes))
        for number, rows in enumerate(shards):
            name = f"{split}-{number:05}-of-{len(shards):05}.parquet"
            # The files are compressed, and all else is small.
            with pq.ParquetWriter(folder / name, schema, compression="none") as file:
                for group in batches(rows, _GROUP_BYTES):
                    made = [_row(root, row, info) for row in group]
                    file.write_table(pa.Table.from_pylist(made, schema))


def splits(info: DatasetInfo) -> dict[str, str]:
    """The name of each part as a split, which has letters, digits and `_` only."""
    names = {part: part.replace("-", "_") for part in info.splits}
    if len(set(names.values())) < len(names):
        raise UsageError(
            f"huggingface: parts {', '.join(names)} are called alike without '-': rename one"
        )
    return names


def configs(info: DatasetInfo, parts: Iterable[str]) -> list[dict[str, Any]]:
    """What the front matter of the card says under `configs`, of parts with samples."""
    there = set(parts)
    files = [
        {"split": split, "path": f"huggingface/data/{split}-*.parquet"}
        for part, split in splits(info).items()
        if part in there
    ]
    return [{"config_name": "default", "data_files": files}]


def _schema(info: DatasetInfo) -> pa.Schema:
    fields = [field for field in SAMPLES if field.name not in _RESHAPED]
    fields += [pa.field("findings", pa.list_(_FINDING)), pa.field("image", _FILE)]
    if info.labels:
        counts = [pa.field(name, pa.int64()) for _, name in sorted(info.labels.items())]
        fields += [pa.field("label", _FILE), pa.field("label_voxels", pa.struct(counts))]
    return pa.schema(fields)


def _row(root: Path, row: Row, info: DatasetInfo) -> Row:
    made = row_metadata(row) | {"image": _file(root, row["image"])}
    if info.labels and row["label"]:
        made["label"] = _file(root, row["label"])
    return made


def _file(root: Path, path: str) -> Row:
    return {"bytes": (root / path).read_bytes(), "path": path.rpartition("/")[2]}
