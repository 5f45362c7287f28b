"""The first release: the original catalogue, with differences as between the real two.

Differences at the start (no other Collection has any):

- QIN LUNG CT: the last two Series are not in the IDC yet.
- RIDER Lung CT: one Series that the archive has no more: like its first CT, with another UID.
- RIDER PHANTOM PET-CT: the first three Series were revised; their old versions are still served.
- Soft-tissue-Sarcoma: of the last two Series one was removed, the other redacted: nothing of it is
  served.
- LCTSC: a model is said to have segmented its CTs. The SEG are not TCIA's: see `ANALYSIS`.
"""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.catalog import LICENSES
from tcia_assets.sandbox import phantom
from tcia_assets.store import sql

FIRST_RELEASE = "25.0.5"
# When each version of the IDC was published, from 1 on.
VERSION_DATES = (
    "2020-06-01", "2021-04-10", "2021-07-13", "2021-09-02", "2021-10-23", "2021-10-23",
    "2022-01-12", "2022-02-09", "2022-04-13", "2022-07-11", "2022-08-18", "2022-09-21",
    "2023-01-16", "2023-01-16", "2023-06-01", "2023-08-14", "2023-11-13", "2024-02-29",
    "2024-08-08", "2024-11-06", "2025-04-16", "2025-09-03", "2025-11-06", "2026-04-16",
    "2026-09-26",
)  # fmt: skip

BUCKETS = ("idc-open-data", "idc-open-data-cr", "idc-open-data-two")
SEGMENTED = "LCTSC"
# What a model is said to have made over images of TCIA, published elsewhere.
ANALYSIS = {
    "analysis_result_id": "sandbox_model_segmentations",
    "analysis_result_title": "Segmentations of CT by the sandbox's model",
    "source_DOI": "10.5281/zenodo.1000001",
    "license": "CC BY 4.0",  # not that of the images
}
# The objects of these have ETags that are no MD5, as of uploads in several parts.
IN_PARTS = frozenset({"MG"})

_BUCKET = """
    CASE WHEN LicenseName LIKE '%NonCommercial%' THEN 'idc-open-data-cr'
        WHEN Collection LIKE 'Vestibular%' THEN 'idc-open-data-two'
        ELSE 'idc-open-data' END
"""
VERSION_COLUMNS = f"""
    *, NULL::BIGINT AS source_row, NULL::VARCHAR AS analysis_result_id, 0 AS generation,
    ({_BUCKET}) AS aws_bucket, false AS is_deleted, NULL::BIGINT AS last_version
"""
_UUID = "md5(SeriesInstanceUID || ' ' || {generation})::UUID::VARCHAR"
_MADE_UID = "'2.25.' || md5_number_lower('made from ' || SeriesInstanceUID)"
_DERIVED = f"""
    INSERT INTO versions BY NAME
    SELECT * REPLACE (
        NULL AS row_number, NULL AS crdc_series_uuid, row_number AS source_row,
        'SEG' AS Modality, 1 AS ImageCount,
        $bytes AS FileSize, 0 AS revision, {_MADE_UID} AS SeriesInstanceUID,
        $id AS analysis_result_id, 'YES' AS ThirdPartyAnalysis, 100 AS SeriesNumber,
        'https://doi.org/' || $doi AS DataDescriptionURI,
        $license AS LicenseName, $license_uri AS LicenseURI,
        'SandboxModel(v1.0) Segmentation' AS SeriesDescription,
        'tcia_assets' AS Manufacturer, 'sandbox model' AS ManufacturerModelName,
        first_version AS revised_version
    )
    FROM versions WHERE Collection = $collection AND Modality = 'CT'
"""
_WITHDRAWN = f"""
    INSERT INTO versions BY NAME
    SELECT * REPLACE (
        NULL AS row_number, NULL AS crdc_series_uuid, {_MADE_UID} AS SeriesInstanceUID
    )
    FROM versions WHERE Collection = 'RIDER Lung CT' AND Modality = 'CT'
    ORDER BY SeriesInstanceUID LIMIT 1
"""


def create(connection: sql.Connection, original: pa.Table) -> None:
    """Create the table `versions`: a row for each version of each Series, the old ones too.

    Args:
        connection: An empty database.
        original: The archive's catalogue.
    """
    connection.register("original", original)
    dates = ", ".join(f"DATE {sql.literal(day)}" for day in VERSION_DATES)
    # The first version that is not older than a day.
    since = (
        f"least({len(VERSION_DATES)}, 1 + len(list_filter([{dates}], "
        "lambda day: day < coalesce({day}, DATE '2021-04-10'))))"
    )
    connection.execute(
        f"CREATE TABLE versions AS SELECT {VERSION_COLUMNS}, "
        f"{since.format(day='DateReleased')} AS first_version, "
        f"{since.format(day='MaxSubmissionTimestamp::DATE')} AS revised_version, "
        f"{_UUID.format(generation=0)} AS crdc_series_uuid FROM original"
    )
    connection.unregister("original")
    _add_differences(connection)
    name_versions(connection)


def name_versions(connection: sql.Connection) -> None:
    """Give each version its uuid, the same in each run."""
    connection.execute(
        f"UPDATE versions SET crdc_series_uuid = {_UUID.format(generation='generation')} "
        "WHERE crdc_series_uuid IS NULL"
    )


def _add_differences(connection: sql.Connection) -> None:
    last = len(VERSION_DATES) - 1
    license_name, license_uri = LICENSES[ANALYSIS["license"]]
    derived = {
        "license": license_name,
        "license_uri": license_uri,
        "bytes": phantom.object_bytes("SEG"),
        "id": ANALYSIS["analysis_result_id"],
        "doi": ANALYSIS["source_DOI"],
        "collection": SEGMENTED,
    }
    connection.execute(_DERIVED, derived)
    connection.execute(_WITHDRAWN)
    connection.execute(
        "DELETE FROM versions WHERE SeriesInstanceUID IN ("
        "SELECT SeriesInstanceUID FROM versions WHERE Collection = 'QIN LUNG CT' "
        "ORDER BY SeriesInstanceUID DESC LIMIT 2)"
    )
    connection.execute(
        "UPDATE versions AS v SET last_version = $last, is_deleted = place = 1 FROM ("
        "SELECT SeriesInstanceUID, row_number() OVER (ORDER BY SeriesInstanceUID DESC) "
        "AS place FROM versions WHERE Collection = 'Soft-tissue-Sarcoma') AS s "
        "WHERE s.SeriesInstanceUID = v.SeriesInstanceUID AND place <= 2",
        {"last": last},
    )
    connection.execute(
        "INSERT INTO versions BY NAME SELECT * REPLACE (1 AS generation, NULL AS crdc_series_uuid, "
        "$last + 1 AS revised_version) FROM versions "
        "WHERE Collection = 'RIDER PHANTOM PET-CT' ORDER BY SeriesInstanceUID LIMIT 3",
        {"last": last},
    )
    connection.execute(
        "UPDATE versions AS v SET last_version = $last, revision = 1000 "
        "WHERE generation = 0 AND SeriesInstanceUID IN "
        "(SELECT SeriesInstanceUID FROM versions WHERE generation = 1)",
        {"last": last},
    )
