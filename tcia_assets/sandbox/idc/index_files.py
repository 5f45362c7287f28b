"""An index release as Parquet files, with the columns and types of the package idc-index-data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydicom.uid import UID

from tcia_assets.catalog import LICENSES
from tcia_assets.errors import UnknownName
from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.idc.first_release import ANALYSIS, VERSION_DATES
from tcia_assets.sandbox.idc.index_schemas import SCHEMAS
from tcia_assets.sandbox.idc.releases import Releases
from tcia_assets.store import sql

_VERSION = "idc_index_data_version"
_SHORT_LICENSE = " ".join(
    f"WHEN {sql.literal(name)} THEN {sql.literal(short)}" for short, (name, _) in LICENSES.items()
)
_SOP_CLASSES = {name: phantom.sop_class_uid(name) for name in phantom.MODALITIES}
_OTHER_CLASS = phantom.sop_class_uid(None)


def _by_modality(values: dict[str, str], other: str) -> str:
    """Return an SQL expression of a value that depends on the Modality."""
    cases = " ".join(
        f"WHEN {sql.literal(name)} THEN {sql.literal(text)}" for name, text in values.items()
    )
    return f"CASE Modality {cases} ELSE {sql.literal(other)} END"


_CLASS_UID = _by_modality(_SOP_CLASSES, _OTHER_CLASS)
_CLASS_NAME = _by_modality(
    {name: UID(uid).name for name, uid in _SOP_CLASSES.items()}, UID(_OTHER_CLASS).name
)
_ID = "lower(replace(replace(Collection, '-', '_'), ' ', '_'))"
_DOI = "coalesce(lower(split_part(DataDescriptionURI, 'doi.org/', 2)), '10.7937/sandbox')"
# Analyses that TCIA itself published have an ID too; it is made from their DOI.
_ANALYSIS = f"""
    CASE WHEN analysis_result_id IS NOT NULL THEN analysis_result_id
        WHEN ThirdPartyAnalysis = 'YES' THEN regexp_replace({_DOI}, '[^a-z0-9]+', '_', 'g') END
"""
# What the index says of each, of the versions that a release has.
_FACTS = f"""
    {_ID} AS collection_id, {_ANALYSIS} AS analysis_result_id, PatientID, SeriesInstanceUID,
    StudyInstanceUID, {_DOI} AS source_DOI, PatientAge, PatientSex,
    StudyDate::VARCHAR AS StudyDate, StudyDescription, BodyPartExamined, Modality,
    {_CLASS_UID} AS SOPClassUID, {_CLASS_NAME} AS sop_class_name,
    '1.2.840.10008.1.2.1' AS TransferSyntaxUID,
    'Explicit VR Little Endian' AS transfer_syntax_name,
    NULL AS PhotometricInterpretation, NULL AS PixelRepresentation, Manufacturer,
    ManufacturerModelName, SeriesDate::VARCHAR AS SeriesDate, SeriesDescription,
    SeriesNumber::VARCHAR AS SeriesNumber, ImageCount AS instanceCount,
    CASE LicenseName {_SHORT_LICENSE} END AS license_short_name,
    first_version AS series_init_idc_version, revised_version AS series_revised_idc_version,
    aws_bucket, crdc_series_uuid,
    's3://' || aws_bucket || '/' || crdc_series_uuid || '/*' AS series_aws_url,
    FileSize / 1e6 AS series_size_MB, replace(aws_bucket, '-data', '-idc') AS gcs_bucket,
    revised_version AS min_idc_version, last_version AS max_idc_version
"""
_CURRENT = "revised_version <= $version AND coalesce(last_version, $version) >= $version"
_PRIOR = "last_version < $version"
_SOURCES = f"""
    SELECT Collection, {_ID} AS collection_id, {_ANALYSIS} AS analysis_result_id,
        {_DOI} AS doi, min(LicenseName) AS license, min(LicenseURI) AS license_uri,
        string_agg(DISTINCT Modality, ', ' ORDER BY Modality) AS modalities,
        list_sort(list_distinct(list(PatientID))) AS patients,
        max(revised_version) AS updated
    FROM versions WHERE {_CURRENT} GROUP BY ALL ORDER BY collection_id, doi, analysis_result_id
"""
# Of the Collections of the small catalogue, as the index has them.
_ABOUT = {
    "LCTSC": ("Lung Cancer", "Lung", "community", "Image Analyses"),
    "QIN LUNG CT": ("Non-small Cell Lung Cancer", "Lung", "qin", None),
    "RIDER Lung CT": ("Lung Cancer", "Chest", "rider", "Image Analyses"),
    "RIDER PHANTOM PET-CT": ("Phantom", "Phantom", "rider", "Image Analyses"),
    "Soft-tissue-Sarcoma": ("Soft-tissue Sarcoma", "Extremities", "community", "Clinical"),
    "VICTRE": ("Breast Cancer", "Breast", "fda", "Software/Source Code"),
    "Vestibular-Schwannoma-MC-RC": (
        "Vestibular Schwannoma (non-cancer)", "Brain", "community", None,
    ),
    "Vestibular-Schwannoma-SEG": (
        "Vestibular Schwannoma (non-cancer)", "Brain", "community", "Image Analyses",
    ),
}  # fmt: skip
_UNKNOWN = ("Various", "Various", "community", None)


def write_index(source: Archive | Releases, folder: Path, release: str = "") -> Path:
    """Write an index release to a folder, and return it.

    Args:
        source: The releases, or an archive: then the first release that copies it.
        folder: The folder; it is created.
        release: One of `Releases.releases`; by default the current one.

    Raises:
        UnknownName: There is no such release.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(source, Archive):
        with closing(Releases(source)) as releases:
            return write_index(releases, folder, release)
    for name in SCHEMAS:
        pq.write_table(table(source, name, release), folder / f"{name}.parquet")
    return folder


def table(releases: Releases, name: str, release: str = "") -> pa.Table:
    """Return the table of a file of a release.

    Raises:
        UnknownName: There is no such release or file.
    """
    release = release or releases.release
    if release not in releases.releases:
        raise UnknownName("release of the IDC", release, releases.releases)
    if name not in SCHEMAS:
        raise UnknownName("file of an index release", name, SCHEMAS)
    version = int(release.partition(".")[0])
    schema = SCHEMAS[name].with_metadata({_VERSION: f"{release}-0-g0000000"})
    if name in _QUERIES:
        # Named one by one, in the order of the real file.
        columns = ", ".join(schema.names)
        statement = _QUERIES[name].format(columns=columns)
        return releases.query(statement, {"version": version}).cast(schema)
    return pa.Table.from_pylist(_ROWS[name](releases, version), schema)


_QUERIES = {
    "idc_index": (
        f"SELECT {{columns}} FROM (SELECT {_FACTS} FROM versions WHERE {_CURRENT}) "
        "ORDER BY collection_id, PatientID, SeriesInstanceUID"
    ),
    "prior_versions_index": (
        f"SELECT {{columns}} FROM (SELECT {_FACTS} FROM versions WHERE {_PRIOR}) "
        "ORDER BY collection_id, SeriesInstanceUID, min_idc_version"
    ),
}


def _versions(_releases: Releases, version: int) -> list[dict[str, Any]]:
    return [
        {"idc_version": number, "version_timestamp": version_day(number)}
        for number in range(1, version + 1)
    ]


def version_day(version: int) -> str:
    """Return the day of a version; those after the first release follow each other by days."""
    if version <= len(VERSION_DATES):
        return VERSION_DATES[version - 1]
    later = dt.date.fromisoformat(VERSION_DATES[-1]) + dt.timedelta(version - len(VERSION_DATES))
    return later.isoformat()


def _collections(releases: Releases, version: int) -> list[dict[str, Any]]:
    found = releases.query(_SOURCES, {"version": version}).to_pylist()
    by_collection: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        by_collection.setdefault(each["Collection"], []).append(each)
    return [_collection(name, sources) for name, sources in by_collection.items()]


def _collection(name: str, sources: list[dict[str, Any]]) -> dict[str, Any]:
    cancer_types, locations, program, supporting = _ABOUT.get(name, _UNKNOWN)
    return {
        "collection_name": name,
        "collection_id": sources[0]["collection_id"],
        "cancer_types": cancer_types,
        "tumor_locations": locations,
        "subjects": len({patient for each in sources for patient in each["patients"]}),
        "species": "Human",
        "sources": [_source(each) for each in sources],
        "supporting_data": supporting,
        "program_id": program,
        "status": "Complete",
        "updated": version_day(max(each["updated"] for each in sources)),
        "description": f"Synthetic images in place of those of {name} &amp; its analyses,\n"
        f"served by a sandbox.\nPlease see the {name} (https://doi.org/{sources[0]['doi']}) wiki "
        "page to learn\nmore about the images.",
    }


def _source(each: dict[str, Any]) -> dict[str, Any]:
    analysis = each["analysis_result_id"]
    return {
        "source_id": analysis or each["collection_id"],
        "source_title": _title(each),
        "source_type": "analysis_result" if analysis else "original_data",
        "source_doi": each["doi"],
        "source_url": f"https://doi.org/{each['doi']}",
        "modalities": each["modalities"],
        "license": _license(each),
        "citation": _citation(each),
        "provenance": None if analysis else _provenance("TCIA"),
        "Access": "Public",
        "ImageTypes": each["modalities"],
    }


def _analyses(releases: Releases, version: int) -> list[dict[str, Any]]:
    found = releases.query(_SOURCES, {"version": version}).to_pylist()
    by_id: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        if each["analysis_result_id"]:
            by_id.setdefault(each["analysis_result_id"], []).append(each)
    return [_analysis(name, parts) for name, parts in sorted(by_id.items())]


def _analysis(name: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    modalities = {one for each in parts for one in each["modalities"].split(", ")}
    is_derived = name == ANALYSIS["analysis_result_id"]
    return {
        "analysis_result_id": name,
        "analysis_result_title": _title(parts[0]),
        "source_DOI": parts[0]["doi"],
        "source_url": f"https://doi.org/{parts[0]['doi']}",
        "subjects": len({patient for each in parts for patient in each["patients"]}),
        "collections": ", ".join(sorted({each["collection_id"] for each in parts})),
        "modalities": ", ".join(sorted(modalities)),
        "updated": version_day(max(each["updated"] for each in parts)),
        **_license(parts[0]),
        "description": "Made by a model that does not exist: the shapes of a phantom."
        if is_derived
        else "Synthetic objects in place of an analysis that TCIA published.",
        "citation": _citation(parts[0]),
        "provenance": _provenance("IDC" if is_derived else "TCIA"),
    }


def _title(each: dict[str, Any]) -> str:
    analysis = each["analysis_result_id"]
    if analysis == ANALYSIS["analysis_result_id"]:
        return ANALYSIS["analysis_result_title"]
    return f"{'An analysis' if analysis else 'Data'} of {each['Collection']}"


def _citation(each: dict[str, Any]) -> str:
    is_derived = each["analysis_result_id"] == ANALYSIS["analysis_result_id"]
    publisher = "Zenodo" if is_derived else "The Cancer Imaging Archive"
    return (
        f"Sandbox, A., &amp; Phantom, B.\n(2026). <i>{_title(each)}</i> (Version 1) [Data set]. "
        f"{publisher}. https://doi.org/{each['doi'].upper()}"
    )


def _license(each: dict[str, Any]) -> dict[str, str | None]:
    short = next((short for short, (name, _) in LICENSES.items() if name == each["license"]), None)
    return {
        "license_url": each["license_uri"],
        "license_long_name": each["license"],
        "license_short_name": short,
    }


def _provenance(contributor: str) -> dict[str, str]:
    return {
        "data_contributor": contributor,
        "source_data_provider": "UNKNOWN",
        "deidentification_party": "TCIA" if contributor == "TCIA" else "NOT_APPLICABLE",
        "dicom_conversion_by": "NOT_APPLICABLE",
    }


_ROWS: dict[str, Callable[[Releases, int], list[dict[str, Any]]]] = {
    "collections_index": _collections,
    "analysis_results_index": _analyses,
    "version_metadata_index": _versions,
}
