"""The rows that the sandbox serves: one row for each real Series of TCIA.

This module has the columns, where each comes from, and how to load them. Their names in replies are
in `catalog.py`; the small catalogue is chosen in `scripts/make_sandbox_catalogue.py`.

The rows come from the index of the Imaging Data Commons (IDC; package idc-index-data), which
mirrors TCIA's public DICOM. A value that it lacks is null; none is invented. Derived values:

- `Collection`: TCIA's own spelling, the IDC's collection_name. All 36 names that a captured reply
  of getCollectionValues shares with the index are identical.
- `DateReleased` and the day of `MaxSubmissionTimestamp`: the dates of the IDC's versions in which
  the Series first appeared and was last revised. They differ from the archive's dates: VICTRE has
  2021-04-10, the archive 2019-03-08. The time of day is a hash of the UID, so that it is the same
  in each run and differs between Series.
- `LicenseName`, `LicenseURI`: the archive's long form of the IDC's short name.
- `DataDescriptionURI`: the DOI under which the Series was published, in the IDC's lower case.
- `ThirdPartyAnalysis`: YES where the Series belongs to an analysis result.
- `PatientName`: the PatientID, as in most of the archive (4D-Lung is an exception).
- `real_size_bytes`: the index's megabytes times 10**6, which are whole numbers and equal the
  archive's sizes in all four of its published examples.

All 31 Series in the captured replies of archive-api.md are in the index, and all their captured
values are equal to the index's, except for the missing and derived ones.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.catalog import LICENSES
from tcia_assets.errors import MissingExtra, UsageError
from tcia_assets.store import sql

SMALL_CATALOGUE = Path(__file__).parents[2] / "data" / "sandbox" / "catalogue.parquet"
_IN_WHEEL = Path(__file__).with_name("catalogue.parquet")  # put there by pyproject.toml


class Column(NamedTuple):
    """A column, and the SQL of its value in the IDC's index (aliases: see `_FROM`)."""

    name: str
    type: pa.DataType
    expression: str


def _text(expression: str, width: int = 64) -> str:
    # The archive's database is latin1 and truncates long texts (archive-api.md 4.5).
    latin1 = f"regexp_replace(trim({expression}), '[^\\x00-\\xFF]', '?', 'g')"
    return f"nullif(left({latin1}, {width}), '')"


def _body_part(expression: str) -> str:
    # The database holds 16 characters, but NBIA's SeriesOperation.java truncates 16 or more to 15.
    # Hence the archive's "CHEST (THORAX) " with a blank at its end.
    text = _text(expression, 16)
    return f"left({text}, if(length({text}) = 16, 15, 16))"


def _license_expression(index: int) -> str:
    cases = (
        f"WHEN {sql.literal(short)} THEN {sql.literal(long[index])}"
        for short, long in LICENSES.items()
    )
    return f"CASE i.license_short_name {' '.join(cases)} END"


_STRING, _COUNT, _DAY = pa.string(), pa.int64(), pa.date32()
_INSTANT = pa.timestamp("us", tz="UTC")
_MISSING = "NULL::VARCHAR"
_TIME_OF_DAY = "to_seconds((md5_number_lower(i.SeriesInstanceUID) % 86400)::BIGINT)"

COLUMNS = (
    Column("SeriesInstanceUID", _STRING, "i.SeriesInstanceUID"),
    Column("StudyInstanceUID", _STRING, "i.StudyInstanceUID"),
    Column("PatientID", _STRING, "i.PatientID"),
    # Every Collection of version 25 has a name. For one without, use capitals like most names.
    Column(
        "Collection",
        _STRING,
        "coalesce(c.collection_name, upper(replace(i.collection_id, '_', '-')))",
    ),
    Column("Site", _STRING, _MISSING),
    Column("Modality", _STRING, _text("i.Modality", 16)),
    Column("ProtocolName", _STRING, _MISSING),
    Column("SeriesDate", _DAY, "i.SeriesDate::DATE"),
    Column("SeriesDescription", _STRING, _text("i.SeriesDescription")),
    # The IDC curates this value: some differ from the DICOM header.
    Column("BodyPartExamined", _STRING, _body_part("i.BodyPartExamined")),
    Column("SeriesNumber", _COUNT, "i.SeriesNumber::BIGINT"),
    Column("Manufacturer", _STRING, _text("i.Manufacturer")),
    Column("ManufacturerModelName", _STRING, _text("i.ManufacturerModelName")),
    Column("SoftwareVersions", _STRING, _MISSING),
    Column("ImageCount", _COUNT, "i.instanceCount"),
    Column(
        "MaxSubmissionTimestamp",
        _INSTANT,
        f"(revised.version_timestamp::DATE + {_TIME_OF_DAY})::TIMESTAMPTZ",
    ),
    Column("LicenseName", _STRING, _license_expression(0)),
    Column("LicenseURI", _STRING, _license_expression(1)),
    Column("DataDescriptionURI", _STRING, "'https://doi.org/' || i.source_DOI"),
    Column("DateReleased", _DAY, "first.version_timestamp::DATE"),
    Column("StudyDate", _DAY, "i.StudyDate::DATE"),
    Column("StudyDescription", _STRING, _text("i.StudyDescription")),
    Column("PatientSex", _STRING, "i.PatientSex"),
    Column("PatientAge", _STRING, _text("i.PatientAge", 4)),
    Column("EthnicGroup", _STRING, _MISSING),
    Column("PatientName", _STRING, "i.PatientID"),
    Column("ThirdPartyAnalysis", _STRING, "if(i.analysis_result_id IS NULL, 'NO', 'YES')"),
    Column("SOPClassUID", _STRING, "i.SOPClassUID"),
    Column("real_size_bytes", _COUNT, "round(i.series_size_MB * 1e6)::BIGINT"),
)

SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])

_FROM = """
    FROM read_parquet({idc_index}) AS i
    LEFT JOIN read_parquet({collections_index}) AS c ON c.collection_id = i.collection_id
    LEFT JOIN read_parquet({version_metadata_index}) AS first
        ON first.idc_version = i.series_init_idc_version
    LEFT JOIN read_parquet({version_metadata_index}) AS revised
        ON revised.idc_version = i.series_revised_idc_version
"""

# 10.7937 is TCIA's DOI prefix. Half of the index has Zenodo's prefix: slides, segmentations and
# reports that the IDC made. TCIA's API serves no slides, so they are excluded for any DOI.
_PUBLISHED_BY_TCIA = "i.source_DOI LIKE '10.7937/%' AND i.Modality <> 'SM'"


def from_idc_index() -> pa.Table:
    """Return every Series that TCIA publishes, sorted by Collection and UID.

    The metadata of its schema contains the version of the index.

    Raises:
        MissingExtra: idc_index_data is not installed.
        UsageError: It is too old.
    """
    version, files = _idc_index_data()
    with closing(sql.connect()) as connection:
        rows = sql.fetch_table(connection, _statement(files))
    rows = rows.cast(SCHEMA.with_metadata({"source": f"idc-index-data {version}"}))
    # Arrow needs 100 MB less than an ORDER BY for half a million rows.
    return rows.sort_by([("Collection", "ascending"), ("SeriesInstanceUID", "ascending")])


def load(path: Path | None = None) -> pa.Table:
    """Load a catalogue from a file; without a path, the small one of this repository.

    Raises:
        UsageError: There is no such file, or it is not a catalogue.
    """
    path = path or (_IN_WHEEL if _IN_WHEEL.is_file() else SMALL_CATALOGUE)
    if not path.is_file():
        raise UsageError(
            f"no sandbox catalogue at {path}; scripts/make_sandbox_catalogue.py makes it"
        )
    try:
        rows = pq.read_table(path, partitioning=None)
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path} is not Parquet: {error}") from error
    _check_schema(rows.schema, path)
    return rows


def _check_schema(schema: pa.Schema, path: Path) -> None:
    if schema.equals(SCHEMA):
        return
    missing = [f"{field.name} ({field.type})" for field in SCHEMA if field not in list(schema)]
    problem = f"it lacks {', '.join(missing)}" if missing else f"its columns are {schema.names}"
    raise UsageError(f"{path} is not a catalogue of Series: {problem}")


def _statement(files: dict[str, Path]) -> str:
    selected = ",\n    ".join(f"{column.expression} AS {column.name}" for column in COLUMNS)
    tables = _FROM.format_map({name: sql.literal(str(path)) for name, path in files.items()})
    return f"SELECT {selected} {tables} WHERE {_PUBLISHED_BY_TCIA}"


def _idc_index_data() -> tuple[str, dict[str, Path]]:
    try:
        import idc_index_data  # noqa: PLC0415  a large optional dependency
    except ModuleNotFoundError as error:
        raise MissingExtra("idc_index_data", "full", "the full catalogue") from error
    files = {}
    for name in ("idc_index", "collections_index", "version_metadata_index"):
        path = idc_index_data.INDEX_METADATA.get(name, {}).get("parquet_filepath")
        if not isinstance(path, Path):
            raise UsageError(
                f"idc-index-data {idc_index_data.__version__} has no {name}; upgrade it"
            )
        files[name] = path
    return idc_index_data.__version__, files
