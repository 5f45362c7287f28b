"""Small tables of patients and Collections, and keys that are hard to store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from tcia_assets.catalog import COLLECTIONS, IMAGES, PATIENTS
from tcia_assets.store import digests
from tcia_assets.store.conform import conform
from tcia_assets.store.partition_files import PartitionFiles

AWKWARD_KEYS = [
    "4711",
    "4D-Lung",
    "CT Lymph Nodes",
    "a/b",
    "../up",
    "100%",
    "k=v",
    "x'y",
    '"quoted"',
    "Ünïcode",
    "😀",
    "*?[a]",
    "back\\slash",
    "new\nline",
    "_schema",
    ".hidden",
    "...",
]


def patients(key: str, names: Any, sex: str = "F") -> pa.Table:
    rows = pa.table({"PatientID": pa.array(list(names), pa.string())})
    return conform(PATIENTS, rows, Collection=key, PatientSex=sex)


def collections(*names: str) -> pa.Table:
    return conform(COLLECTIONS, pa.table({"Collection": list(names)}))


def objects_of(key: str, series: Iterable[str], count: int, version: int = 0) -> pa.Table:
    """Rows of `images`: as many objects of each Series, which say in InstanceNumber how many."""
    rows = [
        {
            "SOPInstanceUID": f"{uid}.{number}.{version}",
            "SeriesInstanceUID": uid,
            "Collection": key,
            "InstanceNumber": count,
            "entry_name": f"{number}.dcm",
        }
        for uid in series
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=IMAGES.schema)


def damage(path: Path) -> None:
    """Change a file of a partition so that it can be read, but has other rows."""
    pq.write_table(pq.ParquetFile(path).read().slice(1), path)


def drop_columns(files: PartitionFiles, *names: str, number: int = 0) -> None:
    """Write a file of a partition as a version without these columns did."""
    path = files.path(number)
    pq.write_table(pq.ParquetFile(path).read().drop_columns(list(names)), path)
    digests.record(files.digest_path(number), path, path)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rounds(key: str, number: int) -> pa.Table:
    """A partition whose PatientSex is its number of rows, so that a partial one is recognized."""
    size = (1, 40, 3000, 20_000)[number % 4]
    return patients(key, (f"{i:05} of {size}" for i in range(size)), sex=str(size))


def is_whole(rows: pa.Table) -> bool:
    return rows.num_rows == 0 or set(rows["PatientSex"].to_pylist()) == {str(rows.num_rows)}
