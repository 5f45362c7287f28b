"""The rows that the sandbox serves: real Series of TCIA, one row each, as the archive has them.

What belongs here: which facts there are, where each comes from, and how to load them. What does
not: how the archive spells a row on the wire (`catalog.py` knows), faults, images (the sandbox's
images are phantoms), and the choice of the small catalogue (`scripts/make_sandbox_catalogue.py`).

The source is the index of the Imaging Data Commons (IDC; package idc-index-data), which mirrors
TCIA's public DICOM. A fact that it lacks is null; nothing is invented. What is derived:

- `Collection`: TCIA's own spelling, which the IDC keeps as its collection_name. All 36 names that
  a captured getCollectionValues shares with the index agree letter by letter.
- `DateReleased` and the day of `MaxSubmissionTimestamp`: when the IDC made the version in which the
  Series first appeared, and the one that last revised it. They are the IDC's dates, not the
  archive's: VICTRE has 2021-04-10 where the archive says 2019-03-08. The time of day is a hash of
  the UID, so that it is the same in each run and differs between Series.
- `LicenseName`, `LicenseURI`: the archive's long form of the IDC's short name.
- `DataDescriptionURI`: the DOI of what published the Series, in lower case as the IDC has it.
- `ThirdPartyAnalysis`: YES where the Series belongs to an analysis result.
- `PatientName`: the PatientID, as the archive mostly has it (4D-Lung is an exception).
- `real_size_bytes`: the index has megabytes; times 10**6 they are whole, and equal the archive's
  sizes (all four of its published examples).

The 31 different Series in the captures of archive-api.md are all in the index, and in what is
neither lacking nor derived each captured value is the index's.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.errors import MissingExtra, UsageError
from tcia_assets.store import sql

SMALL_CATALOGUE = Path(__file__).parents[2] / "data" / "sandbox" / "catalogue.parquet"
_IN_A_WHEEL = Path(__file__).with_name("catalogue.parquet")  # pyproject.toml puts it there

# name and URI as the archive writes them. CC BY 3.0 stands so in captured rows, with http; for the
# others no capture is at hand, so they have Creative Commons' own title and address.
LICENSES = {
    "CC BY 3.0": (
        "Creative Commons Attribution 3.0 Unported License",
        "http://creativecommons.org/licenses/by/3.0/",
    ),
    "CC BY 4.0": (
        "Creative Commons Attribution 4.0 International License",
        "https://creativecommons.org/licenses/by/4.0/",
    ),
    "CC BY-NC 3.0": (
        "Creative Commons Attribution-NonCommercial 3.0 Unported License",
        "http://creativecommons.org/licenses/by-nc/3.0/",
    ),
    "CC BY-NC 4.0": (
        "Creative Commons Attribution-NonCommercial 4.0 International License",
        "https://creativecommons.org/licenses/by-nc/4.0/",
    ),
}


class Column(NamedTuple):
    """A fact of a Series, and how the IDC's index gives it (`_FROM` names the aliases)."""

    name: str
    type: pa.DataType
    expression: str


def _text(expression: str, width: int = 64) -> str:
    # the archive's database is latin1 and cuts what is too long (archive-api.md 4.5)
    latin1 = f"regexp_replace(trim({expression}), '[^\\x00-\\xFF]', '?', 'g')"
    return f"nullif(left({latin1}, {width}), '')"


def _body_part(expression: str) -> str:
    # 16 characters fit, but NBIA's SeriesOperation.java leaves 15 of 16 or more: that is why the
    # archive has "CHEST (THORAX) ", with a blank at its end
    text = _text(expression, 16)
    return f"left({text}, if(length({text}) = 16, 15, 16))"


def _long_form(place: int) -> str:
    cases = (
        f"WHEN {sql.literal(short)} THEN {sql.literal(long[place])}"
        for short, long in LICENSES.items()
    )
    return f"CASE i.license_short_name {' '.join(cases)} END"


_STRING, _COUNT, _DAY = pa.string(), pa.int64(), pa.date32()
_INSTANT = pa.timestamp("us", tz="UTC")
_LACKING = "NULL::VARCHAR"
_TIME_OF_DAY = "to_seconds((md5_number_lower(i.SeriesInstanceUID) % 86400)::BIGINT)"

COLUMNS = (
    Column("SeriesInstanceUID", _STRING, "i.SeriesInstanceUID"),
    Column("StudyInstanceUID", _STRING, "i.StudyInstanceUID"),
    Column("PatientID", _STRING, "i.PatientID"),
    # no Collection of version 25 lacks a name; if one ever does, most of TCIA's are in capitals
    Column(
        "Collection",
        _STRING,
        "coalesce(c.collection_name, upper(replace(i.collection_id, '_', '-')))",
    ),
    Column("Site", _STRING, _LACKING),
    Column("Modality", _STRING, _text("i.Modality", 16)),
    Column("ProtocolName", _STRING, _LACKING),
    Column("SeriesDate", _DAY, "i.SeriesDate::DATE"),
    Column("SeriesDescription", _STRING, _text("i.SeriesDescription")),
    # the IDC's value is curated: some differ from what stands in the DICOM header
    Column("BodyPartExamined", _STRING, _body_part("i.BodyPartExamined")),
    Column("SeriesNumber", _COUNT, "i.SeriesNumber::BIGINT"),
    Column("Manufacturer", _STRING, _text("i.Manufacturer")),
    Column("ManufacturerModelName", _STRING, _text("i.ManufacturerModelName")),
    Column("SoftwareVersions", _STRING, _LACKING),
    Column("ImageCount", _COUNT, "i.instanceCount"),
    Column(
        "MaxSubmissionTimestamp",
        _INSTANT,
        f"(revised.version_timestamp::DATE + {_TIME_OF_DAY})::TIMESTAMPTZ",
    ),
    Column("LicenseName", _STRING, _long_form(0)),
    Column("LicenseURI", _STRING, _long_form(1)),
    Column("DataDescriptionURI", _STRING, "'https://doi.org/' || i.source_DOI"),
    Column("DateReleased", _DAY, "first.version_timestamp::DATE"),
    Column("StudyDate", _DAY, "i.StudyDate::DATE"),
    Column("StudyDescription", _STRING, _text("i.StudyDescription")),
    Column("PatientSex", _STRING, "i.PatientSex"),
    Column("PatientAge", _STRING, _text("i.PatientAge", 4)),
    Column("EthnicGroup", _STRING, _LACKING),
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

# 10.7937 is TCIA's DOI prefix. Under Zenodo's the IDC has what it converted or had analysed itself,
# half of the index: slides, and segmentations and reports that are not TCIA's. Of TCIA's own DOIs
# no Series is of slides in version 25; the archive served none, whatever a later version holds.
_PUBLISHED_BY_TCIA = "i.source_DOI LIKE '10.7937/%' AND i.Modality <> 'SM'"


def from_idc_index() -> pa.Table:
    """Every Series that TCIA publishes, sorted by Collection and UID.

    The metadata of its schema says which index it was made from.

    Raises:
        MissingExtra: idc_index_data is not installed.
        UsageError: it is too old to hold what is needed.

    """
    version, files = _idc_index_data()
    with closing(sql.connect()) as connection:
        rows = sql.fetch_table(connection, _statement(files))
    rows = rows.cast(SCHEMA.with_metadata({"source": f"idc-index-data {version}"}))
    # Arrow sorts the half million rows in 100 MB less than an ORDER BY
    return rows.sort_by([("Collection", "ascending"), ("SeriesInstanceUID", "ascending")])


def load(path: Path | None = None) -> pa.Table:
    """The catalogue in a file; without a path, the small one of this repository.

    Raises:
        UsageError: there is no such file, or it is not a catalogue.

    """
    path = path or (_IN_A_WHEEL if _IN_A_WHEEL.is_file() else SMALL_CATALOGUE)
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
    lacking = [f"{field.name} ({field.type})" for field in SCHEMA if field not in list(schema)]
    problem = f"it lacks {', '.join(lacking)}" if lacking else f"its columns are {schema.names}"
    raise UsageError(f"{path} is not a catalogue of Series: {problem}")


def _statement(files: dict[str, Path]) -> str:
    facts = ",\n    ".join(f"{column.expression} AS {column.name}" for column in COLUMNS)
    tables = _FROM.format_map({name: sql.literal(str(path)) for name, path in files.items()})
    return f"SELECT {facts} {tables} WHERE {_PUBLISHED_BY_TCIA}"


def _idc_index_data() -> tuple[str, dict[str, Path]]:
    try:
        import idc_index_data  # noqa: PLC0415  an extra: 75 MB that only the whole catalogue needs
    except ModuleNotFoundError as error:
        raise MissingExtra("idc_index_data", "full", "the whole catalogue") from error
    files = {}
    for name in ("idc_index", "collections_index", "version_metadata_index"):
        path = idc_index_data.INDEX_METADATA.get(name, {}).get("parquet_filepath")
        if not isinstance(path, Path):
            raise UsageError(
                f"idc-index-data {idc_index_data.__version__} has no {name}; upgrade it"
            )
        files[name] = path
    return idc_index_data.__version__, files
