"""The columns and types of an index release's files: those of the package idc-index-data."""

from __future__ import annotations

import pyarrow as pa

_TEXT, _COUNT = pa.large_string(), pa.int64()
_LICENSE = pa.struct(
    [(name, pa.string()) for name in ("license_url", "license_long_name", "license_short_name")]
)
_PROVENANCE = pa.struct(
    [
        (name, pa.string())
        for name in (
            "data_contributor",
            "source_data_provider",
            "deidentification_party",
            "dicom_conversion_by",
        )
    ]
)
_SOURCE = pa.struct(
    [
        ("source_id", pa.string()),
        ("source_title", pa.string()),
        ("source_type", pa.string()),
        ("source_doi", pa.string()),
        ("source_url", pa.string()),
        ("modalities", pa.string()),
        ("license", _LICENSE),
        ("citation", pa.string()),
        ("provenance", _PROVENANCE),
        ("Access", pa.string()),
        ("ImageTypes", pa.string()),
    ]
)


def _schema(names: str, **types: pa.DataType) -> pa.Schema:
    """Return a schema of texts, but for the columns with other types."""
    return pa.schema([(name, types.get(name, _TEXT)) for name in names.split()])


SCHEMAS = {
    "idc_index": _schema(
        "collection_id analysis_result_id PatientID SeriesInstanceUID StudyInstanceUID source_DOI "
        "PatientAge PatientSex StudyDate StudyDescription BodyPartExamined Modality SOPClassUID "
        "sop_class_name TransferSyntaxUID transfer_syntax_name PhotometricInterpretation "
        "PixelRepresentation Manufacturer ManufacturerModelName SeriesDate SeriesDescription "
        "SeriesNumber instanceCount license_short_name series_init_idc_version "
        "series_revised_idc_version aws_bucket crdc_series_uuid series_aws_url series_size_MB",
        instanceCount=_COUNT,
        series_init_idc_version=_COUNT,
        series_revised_idc_version=_COUNT,
        series_size_MB=pa.float64(),
    ),
    "prior_versions_index": _schema(
        "collection_id PatientID SeriesInstanceUID StudyInstanceUID Modality gcs_bucket "
        "crdc_series_uuid series_size_MB series_aws_url aws_bucket min_idc_version "
        "max_idc_version",
        series_size_MB=pa.float64(),
        min_idc_version=_COUNT,
        max_idc_version=_COUNT,
    ),
    "collections_index": _schema(
        "collection_name collection_id cancer_types tumor_locations subjects species sources "
        "supporting_data program_id status updated description",
        subjects=_COUNT,
        sources=pa.list_(_SOURCE),
    ),
    "analysis_results_index": _schema(
        "analysis_result_id analysis_result_title source_DOI source_url subjects collections "
        "modalities updated license_url license_long_name license_short_name description citation "
        "provenance",
        subjects=_COUNT,
        provenance=_PROVENANCE,
    ),
    "version_metadata_index": _schema("idc_version version_timestamp", idc_version=_COUNT),
}
