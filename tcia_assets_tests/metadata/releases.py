"""Small index releases of the Imaging Data Commons, with the Series that a test names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.catalog import IDC_ANALYSES, IDC_COLLECTIONS, IDC_INDEX, IDC_PRIOR_VERSIONS
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_source
from tcia_assets.spec import IndexFile
from tcia_assets.store.warehouse import Warehouse

_NUMBERS = {
    "instanceCount": pa.int64(),
    "series_size_MB": pa.float64(),
    "min_idc_version": pa.int64(),
    "max_idc_version": pa.int64(),
}
_AS_TEXT = ("StudyDate", "SeriesDate", "SeriesNumber")


def of_idc(row: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A row of the index for a row of `series`, as the first version of the Series."""
    uid = row["SeriesInstanceUID"]
    same = {name: row.get(name) for name in IDC_INDEX.columns if name in row}
    own = {
        "Collection": row["Collection"],
        "collection_id": _id(row["Collection"]),
        "source_DOI": "10.7937/of.tcia",
        "instanceCount": row["ImageCount"],
        "series_size_MB": row["FileSize"] / 1e6,
        "license_short_name": "CC BY 3.0",
        "aws_bucket": "idc-open-data",
        "crdc_series_uuid": f"first-{uid}",
        # It is curated.
        "BodyPartExamined": "CURATED",
    }
    texts = {name: None if row[name] is None else str(row[name]) for name in _AS_TEXT}
    return same | texts | own | changes


def write_release(
    folder: Path,
    series: Iterable[Mapping[str, Any]],
    release: str = "25.0.5",
    gone: Mapping[str, int] | None = None,
) -> Path:
    """Write an index; `gone` are Series of prior versions, with the last that had them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(series)
    names = sorted({row["Collection"] for row in rows})
    prior = [
        {"SeriesInstanceUID": uid, "min_idc_version": 1, "max_idc_version": last}
        for uid, last in (gone or {}).items()
    ]
    collections = [{"collection_name": name, "collection_id": _id(name)} for name in names]
    for file, records in (
        (IDC_INDEX, rows),
        (IDC_PRIOR_VERSIONS, prior),
        (IDC_COLLECTIONS, collections),
        (IDC_ANALYSES, []),
    ):
        _write(folder, file, records, release)
    return folder


def _write(folder: Path, file: IndexFile, records: list[Mapping[str, Any]], release: str) -> None:
    schema = pa.schema(
        [(name, _NUMBERS.get(name, pa.string())) for name in file.columns if name != "sources"]
    )
    table = pa.Table.from_pylist(records, schema=schema)
    if "sources" in file.columns:
        table = table.append_column("sources", pa.array([[]] * len(records), _SOURCES))
    table = table.replace_schema_metadata({"idc_index_data_version": f"{release}-0-gabc"})
    pq.write_table(table, folder / f"{file.name}.parquet")


_LICENSE = pa.struct([("license_short_name", pa.string()), ("license_url", pa.string())])
_SOURCES = pa.list_(
    pa.struct(
        [
            *((name, pa.string()) for name in ("source_doi", "source_url", "source_title")),
            *((name, pa.string()) for name in ("modalities", "citation", "provenance")),
            ("license", _LICENSE),
        ]
    )
)


def _id(collection: str) -> str:
    return collection.lower().replace("-", "_").replace(" ", "_")


@contextmanager
def opened(folder: Path, warehouse: Warehouse, **settings: object) -> Iterator[Source]:
    """The Imaging Data Commons with the index of that folder."""
    chosen = Settings(source="idc", idc_index=str(folder), data_dir=str(warehouse.root), **settings)
    with open_source(chosen) as source:
        yield source
