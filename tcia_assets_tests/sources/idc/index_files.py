"""A small index release, written by hand: the files and columns of the real one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

RELEASE = "25.0.5"
DOI, OTHER_DOI, ANALYSIS_DOI = "10.7937/a.LCTSC", "10.7937/b.pet", "10.5281/zenodo.1"

_LICENSE = pa.struct(
    [(name, pa.string()) for name in ("license_url", "license_long_name", "license_short_name")]
)
_SOURCE = pa.struct(
    [
        *((name, pa.string()) for name in ("source_id", "source_title", "source_type")),
        *((name, pa.string()) for name in ("source_doi", "source_url", "modalities")),
        ("license", _LICENSE),
        ("citation", pa.string()),
    ]
)
_SERIES_TEXTS = (
    "collection_id analysis_result_id PatientID SeriesInstanceUID StudyInstanceUID source_DOI "
    "PatientAge PatientSex StudyDate StudyDescription BodyPartExamined Modality SOPClassUID "
    "TransferSyntaxUID Manufacturer ManufacturerModelName SeriesDate SeriesDescription "
    "SeriesNumber license_short_name aws_bucket crdc_series_uuid"
)
SCHEMAS = {
    "idc_index": pa.schema(
        [
            *((name, pa.string()) for name in _SERIES_TEXTS.split()),
            ("instanceCount", pa.int64()),
            ("series_size_MB", pa.float64()),
        ]
    ),
    "prior_versions_index": pa.schema(
        [
            *((n, pa.string()) for n in ("SeriesInstanceUID", "collection_id", "crdc_series_uuid")),
            *((n, pa.int64()) for n in ("min_idc_version", "max_idc_version")),
        ]
    ),
    "collections_index": pa.schema(
        [
            *((n, pa.string()) for n in ("collection_name", "collection_id", "cancer_types")),
            *((n, pa.string()) for n in ("tumor_locations", "species")),
            ("sources", pa.list_(_SOURCE)),
            *((n, pa.string()) for n in ("program_id", "status", "updated", "description")),
        ]
    ),
    "analysis_results_index": pa.schema(
        [(n, pa.string()) for n in ("analysis_result_id", "source_DOI", "updated", "description")]
    ),
}


def series(number: int, **more: Any) -> dict[str, Any]:
    """A row of `idc_index`: Series `number`, one of each three in a Study."""
    return {
        "collection_id": "rider_lung_ct",
        "PatientID": f"P{number // 3}",
        "SeriesInstanceUID": f"1.2.{number}",
        "StudyInstanceUID": f"1.1.{number // 3}",
        "source_DOI": DOI,
        "PatientSex": "F",
        "StudyDate": "2006-10-31",
        "SeriesDate": "2006-10-31",
        "Modality": "CT",
        "BodyPartExamined": "CHEST",
        "Manufacturer": "GE",
        "SeriesNumber": str(number),
        "license_short_name": "CC BY 3.0",
        "aws_bucket": "idc-open-data",
        "crdc_series_uuid": f"uuid-{number}",
        "instanceCount": 10,
        "series_size_MB": 5.25,
        **more,
    }


def published(doi: str, **more: Any) -> dict[str, Any]:
    """An item of `collections_index.sources`."""
    return {
        "source_id": "x",
        "source_title": f"Data of {doi}",
        "source_type": "original_data",
        "source_doi": doi.lower(),
        "license": {"license_url": "https://x.org/", "license_short_name": "CC BY 3.0"},
        "citation": "Doe, J., &amp; Roe, R. <i>Data</i>.\nhttps://doi.org/10.7937/A",
        **more,
    }


def collection(name: str, *sources: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A row of `collections_index`."""
    return {
        "collection_name": name,
        "collection_id": name.lower().replace("-", "_").replace(" ", "_"),
        "cancer_types": "Lung Cancer",
        "tumor_locations": "Lung",
        "species": "Human",
        "sources": list(sources) or [published(DOI)],
        "program_id": "rider",
        "status": "Complete",
        "updated": "2021-04-10",
        "description": "<p>Scans of\nlungs &amp; more</p>",
        **more,
    }


def write_index(
    folder: Path,
    rows: Iterable[dict[str, Any]] | None = None,
    *,
    prior: Iterable[dict[str, Any]] = (),
    collections: Iterable[dict[str, Any]] | None = None,
    analyses: Iterable[dict[str, Any]] = (),
    release: str = RELEASE,
    without: tuple[str, ...] = (),
) -> Path:
    """Write the files of a release into a folder, without some columns; returns the folder."""
    contents = {
        "idc_index": [series(n) for n in range(6)] if rows is None else list(rows),
        "prior_versions_index": list(prior),
        "collections_index": (
            [collection("RIDER Lung CT")] if collections is None else list(collections)
        ),
        "analysis_results_index": list(analyses),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in contents.items():
        table = pa.Table.from_pylist(found, SCHEMAS[name])
        kept = [column for column in table.column_names if column not in without]
        version = {"idc_index_data_version": f"{release}-0-gf08b112"} if release else {}
        pq.write_table(
            table.select(kept).replace_schema_metadata(version), folder / f"{name}.parquet"
        )
    return folder
