"""The catalog against the tables of archive-api.md (sections 2 to 4 and 7.2).

The expectations are copied from that reference, not from `catalog.py`: a `*` marks a required
parameter, and `_` stands for a blank within a column's name.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import (
    COLUMNS_BY_WIRE_NAME,
    DIALECTS,
    FINGERPRINT_COLUMNS,
    SERIES,
    TABLES,
    dialect,
    table,
)
from tcia_assets.errors import UnknownName
from tcia_assets.sources.nbia import values
from tcia_assets.spec import Dialect, Table
from tcia_assets.store import sql

# --- Parameters and columns of the servers -----------------------------------------------------

V1_PATIENT = (
    "PatientId PatientName PatientBirthDate PatientSex EthnicGroup Collection Phantom SpeciesCode "
    "SpeciesDescription"
)
V1_STUDY = (
    "StudyInstanceUID StudyDate StudyDescription AdmittingDiagnosesDescription StudyID PatientAge "
    "PatientID PatientName PatientBirthDate PatientSex EthnicGroup Collection SeriesCount "
    "LongitudinalTemporalEventType LongitudinalTemporalOffsetFromEvent"
)
V1_SERIES_START = (
    "SeriesInstanceUID StudyInstanceUID Modality ProtocolName SeriesDate SeriesDescription "
    "BodyPartExamined SeriesNumber AnnotationsFlag Collection PatientID Manufacturer "
    "ManufacturerModelName SoftwareVersions ImageCount"
)
V1_SERIES = (
    f"{V1_SERIES_START} TimeStamp LicenseName LicenseURI CollectionURI FileSize DateReleased "
    "StudyDesc StudyDate ThirdPartyAnalysis"
)
V4_PATIENT = (
    "PatientId PatientName PatientSex EthnicGroup Collection Phantom SpeciesCode "
    "SpeciesDescription Authorized"
)
V4_STUDY = (
    "StudyInstanceUID StudyDate StudyDescription AdmittingDiagnosesDescription StudyID PatientAge "
    "PatientID PatientName PatientSex EthnicGroup Collection SeriesCount "
    "LongitudinalTemporalEventType LongitudinalTemporalOffsetFromEvent Authorized"
)
V4_SERIES = (
    "SeriesInstanceUID StudyInstanceUID Modality ProtocolName SeriesDate SeriesDescription "
    "BodyPartExamined SeriesNumber AnnotationsFlag Collection Site PatientID PatientSex PatientAge "
    "AdmittingDiagnosisDescription Manufacturer ManufacturerModelName SoftwareVersions ImageCount "
    "MaxSubmissionTimestamp LicenseName LicenseURI DataDescriptionURI FileSize ReleasedStatus "
    "DateReleased StudyDesc StudyDate ThirdPartyAnalysis Authorized"
)
BINDAAS_PATIENT = "PatientID PatientName PatientBirthDate PatientSex EthnicGroup Collection"
BINDAAS_STUDY = (
    "StudyInstanceUID StudyDate StudyDescription AdmittingDiagnosesDescription StudyID PatientAge "
    f"{BINDAAS_PATIENT} SeriesCount"
)
BINDAAS_SERIES = (
    "SeriesInstanceUID StudyInstanceUID Modality ProtocolName SeriesDate SeriesDescription "
    "BodyPartExamined SeriesNumber AnnotationsFlag Collection Manufacturer ManufacturerModelName "
    "SoftwareVersions ImageCount"
)
SERIES_FILTERS = (
    "Collection PatientID StudyInstanceUID Modality BodyPartExamined ManufacturerModelName "
    "Manufacturer SeriesInstanceUID format"
)
SIZE = ("SeriesInstanceUID* format", "TotalSizeInBytes ObjectCount")
VALUES = {
    "getCollectionValues": ("format", "Collection"),
    "getModalityValues": ("Collection BodyPartExamined format", "Modality"),
    "getBodyPartValues": ("Collection Modality format", "BodyPartExamined"),
    "getManufacturerValues": ("Collection Modality BodyPartExamined format", "Manufacturer"),
}

V1_METADATA = (
    "Series_UID Collection 3rd_Party_Analysis Data_Description_URI Subject_ID Study_UID "
    "Study_Description Study_Date Series_Description Manufacturer Modality SOP_Class_UID "
    "Number_of_Images File_Size File_Location Series_Number License_Name License_URL "
    "Annotation_Size Date_Released Series_Date Protocol_Name Body_Part_Examined Annotations_Flag "
    "Manufacturer_Model_Name Software_Versions TimeStamp"
)
V4_METADATA = (
    "PatientID PatientName PatientSex EthnicGroup Phantom SpeciesCode SpeciesDescription "
    "StudyInstanceUID StudyDate StudyDesc AdmittingDiagnosisDescription StudyID PatientAge "
    "LongitudinalTemporalEventType LongitudinalTemporalOffsetFromEvent SeriesInstanceUID "
    "Collection Site Modality ProtocolName SeriesDate SeriesDescription BodyPartExamined "
    "SeriesNumber AnnotationsFlag Manufacturer ManufacturerModelName PixelSpacing(mm)-Row "
    "SliceThickness(mm) SoftwareVersions ImageCount MaxSubmissionTimestamp LicenseName LicenseURI "
    "DataDescriptionURI FileSize ReleasedStatus DateReleased ThirdPartyAnalysis Authorized"
)
V4_DESCRIPTION = (
    "collectionName description descriptionURI id collectionDescTimestamp userName licenseId"
)
DENIED = ("seriesList* userName format", "SeriesInstanceUID")
DCM_IMAGE = ("SeriesInstanceUID* IncludeAnnotation MD5Verification", "")

V1 = VALUES | {
    "getPatient": ("Collection PatientId format", V1_PATIENT),
    "getPatientByCollectionAndModality": ("Collection* Modality* format", "PatientId"),
    "getPatientStudy": ("Collection PatientID StudyInstanceUID format", V1_STUDY),
    "getSeries": (SERIES_FILTERS, V1_SERIES),
    "getSeriesSize": SIZE,
    "getSOPInstanceUIDs": ("SeriesInstanceUID* format", "SOPInstanceUID"),
    "getUpdatedSeries": ("fromDate format", f"{V1_SERIES_START} DateReleased"),
    "NewPatientsInCollection": ("Collection* Date* format", V1_PATIENT),
    "NewStudiesInPatientCollection": ("Collection* Date* PatientID format", V1_STUDY),
    "getContentsByName": ("name*", f"{V1_SERIES_START} Date_Released"),
    "getSeriesMetaData": ("SeriesInstanceUID* format", V1_METADATA),
    "getDeniedSeries": DENIED,
    "getImage": ("SeriesInstanceUID* NewFileNames", ""),
    "getImageWithMD5Hash": ("SeriesInstanceUID*", ""),
    "getDCMImage": DCM_IMAGE,
    "getSingleImage": ("SeriesInstanceUID* SOPInstanceUID*", ""),
    "getM5HashForImage": ("SOPInstanceUid*", ""),
}
V4 = VALUES | {
    "getPatient": ("Collection PatientId format", V4_PATIENT),
    "getPatientByCollectionAndModality": ("Collection* Modality* format", "PatientId Authorized"),
    "getPatientStudy": ("Collection PatientID StudyInstanceUID format", V4_STUDY),
    "getSeries": (SERIES_FILTERS, V4_SERIES),
    "getUpdatedSeries": ("fromDate format", V4_SERIES),
    "getSeriesSize": SIZE,
    "getSOPInstanceUIDs": ("SeriesInstanceUID* format", "SOPInstanceUID"),
    "NewPatientsInCollection": ("Collection* fromDate* format", V4_PATIENT),
    "NewStudiesInPatientCollection": ("Collection* fromDate* PatientID format", V4_STUDY),
    "getSeriesMetadata": ("list* format", V4_METADATA),
    "getDeniedSeries": DENIED,
    "getCollectionDescriptions": ("collectionName", V4_DESCRIPTION),
    "getCollectionValuesAndCounts": ("", "Collection Count Authorized"),
    "getManifestForCollection": ("collection visibility includeAnnotation", ""),
    "getImage": ("SeriesInstanceUID* NewFileNames IncludeMD5", ""),
    "getImageWithMD5Hash": ("SeriesInstanceUID*", ""),
    "getDCMImage": DCM_IMAGE,
    "getSingleImage": ("SeriesInstanceUID* SOPInstanceUID*", ""),
    "getMD5HashForImage": ("SOPInstanceUID* format", ""),
    "getMD5Hierarchy": ("SeriesInstanceUID StudyInstanceUID PatientID Collection", ""),
}
BINDAAS = {
    f"TCIA/query/{path}": row
    for path, row in (
        VALUES
        | {
            "getPatient": ("Collection format", BINDAAS_PATIENT),
            "PatientsByModality": ("Collection* Modality* format", BINDAAS_PATIENT),
            "getPatientStudy": ("Collection PatientID StudyInstanceUID format", BINDAAS_STUDY),
            "getSeries": (SERIES_FILTERS, BINDAAS_SERIES),
            "getSeriesSize": SIZE,
            "getSOPInstanceUIDs": ("SeriesInstanceUID* format", "SOPInstanceUID"),
            "NewPatientsInCollection": ("Date* Collection* format", BINDAAS_PATIENT),
            "NewStudiesInPatientCollection": ("Date* Collection* PatientID format", BINDAAS_STUDY),
            "getImage": ("SeriesInstanceUID*", ""),
            "getSingleImage": ("SeriesInstanceUID* SOPInstanceUID*", ""),
        }
    ).items()
} | {"SharedList/query/ContentsByName": ("name*", BINDAAS_SERIES)}
SERVED = {"nbia-v4": V4, "nbia-v1": V1, "nbia-v2": V1, "bindaas-v4": BINDAAS, "bindaas-v3": BINDAAS}

# Section 7.2: 5 January 2020 as a date parameter. Versions of one server share the format.
SINCE = {
    ("nbia-v1", "getUpdatedSeries"): "05/01/2020",
    ("nbia-v1", "NewPatientsInCollection"): "2020/01/05",
    ("nbia-v1", "NewStudiesInPatientCollection"): "2020/01/05",
    ("nbia-v4", "getUpdatedSeries"): "01-05-2020",
    ("nbia-v4", "NewPatientsInCollection"): "01-05-2020",
    ("nbia-v4", "NewStudiesInPatientCollection"): "01-05-2020",
    ("bindaas-v4", "NewPatientsInCollection"): "2020-01-05",
    ("bindaas-v4", "NewStudiesInPatientCollection"): "2020-01-05",
}
SINCE |= {("nbia-v2", name): text for (of, name), text in SINCE.items() if of == "nbia-v1"}
SINCE |= {("bindaas-v3", name): text for (of, name), text in SINCE.items() if of == "bindaas-v4"}

ENDPOINTS = [(dialect_, endpoint) for dialect_ in DIALECTS for endpoint in dialect_.endpoints]
# A test compares them all at once, by these names: 300 tests of one each would take seconds.
BY_PATH = {f"{s.name}-{e.path}": (s, e) for s, e in ENDPOINTS}
COLUMNS = {f"{t.name}.{c.name}": c for t in TABLES for c in t.columns}

# Fields that the source defines; all others are DICOM keywords or our own.
SOURCE_FIELDS = {
    "Collection",
    "Phantom",
    "SpeciesCode",
    "SpeciesDescription",
    "Authorized",
    "Site",
    "SeriesCount",
    "AnnotationsFlag",
    "ImageCount",
    "MaxSubmissionTimestamp",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "FileSize",
    "ReleasedStatus",
    "DateReleased",
    "ThirdPartyAnalysis",
    "TotalSizeInBytes",
    "ObjectCount",
}


def required_by_name(row: tuple[str, str]) -> dict[str, bool]:
    """Return whether each parameter of a row is required."""
    return {name.rstrip("*"): name.endswith("*") for name in row[0].split()}


# --- Dialects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect_", DIALECTS, ids=lambda d: d.name)
def test_each_dialect_has_exactly_the_paths_of_its_server(dialect_: Dialect) -> None:
    assert {e.path for e in dialect_.endpoints} == SERVED[dialect_.name].keys()


def test_parameters_have_the_names_of_the_server() -> None:
    sent = {
        path: {p.wire_name: p.required for p in endpoint.parameters}
        | ({"format": False} if endpoint.formats else {})
        for path, (_, endpoint) in BY_PATH.items()
    }
    assert sent == {
        path: required_by_name(SERVED[s.name][e.path]) for path, (s, e) in BY_PATH.items()
    }


def test_columns_have_the_order_and_names_of_the_server() -> None:
    declared = {
        path: [name.replace(" ", "_") for name in endpoint.columns]
        for path, (_, endpoint) in BY_PATH.items()
    }
    assert declared == {path: SERVED[s.name][e.path][1].split() for path, (s, e) in BY_PATH.items()}


def test_a_date_parameter_has_the_format_of_the_server() -> None:
    dated = [(s, e) for s, e in ENDPOINTS if "since" in {p.name for p in e.parameters}]
    formats = {(s.name, e.name): date(2020, 1, 5).strftime(e.since_format) for s, e in dated}
    assert formats == SINCE
    assert [(s, e) for s, e in ENDPOINTS if e.since_format] == dated
    assert [e for _, e in dated if not e.may_be_empty] == []


def test_fixed_parameters_are_parameters_of_the_server() -> None:
    for path, (dialect_, endpoint) in BY_PATH.items():
        known = required_by_name(SERVED[dialect_.name][endpoint.path])
        assert {name for name, _ in endpoint.fixed_parameters} <= known.keys(), path


def test_only_nbia_v4_has_post_endpoints() -> None:
    assert {(s.name, e.path) for s, e in ENDPOINTS if e.method != "GET"} == {
        ("nbia-v4", "getSeriesMetadata"),
        ("nbia-v4", "getMD5Hierarchy"),
        ("nbia-v4", "getManifestForCollection"),
    }


def test_the_content_of_each_reply() -> None:
    others = {
        "getImage": "zip",
        "getImageWithMD5Hash": "zip",
        "getDCMImage": "zip",
        "getSingleImage": "dicom",
        "getMD5HashForImage": "text",
        "getMD5Hierarchy": "text",
        "getManifestForCollection": "manifest",
    }
    returned = {path: endpoint.returns for path, (_, endpoint) in BY_PATH.items()}
    assert returned == {path: others.get(e.name, "rows") for path, (_, e) in BY_PATH.items()}
    assert {path for path, (_, e) in BY_PATH.items() if e.columns} == {
        path for path, content in returned.items() if content == "rows"
    }


def test_only_the_metadata_for_downloaders_has_its_own_date_formats() -> None:
    java = "%a %b %d %H:%M:%S UTC %Y"  # Tue Nov 08 08:08:01 UTC 2011
    own = {
        "Study Date": "%m-%d-%Y",
        "Series Date": java,
        "Date Released": java,
        "TimeStamp": java,
    }
    for path, (dialect_, endpoint) in BY_PATH.items():
        formats = {
            name: endpoint.value_format(name, dialect_.value_format) for name in endpoint.columns
        }
        if endpoint.name == "getSeriesMetadata" and dialect_.name != "nbia-v4":
            assert dict(endpoint.date_formats) == own, path
            assert own.keys() <= formats.keys(), path
            assert formats["TimeStamp"].instant == java, path
            assert formats["Study Date"].day == "%m-%d-%Y", path
        else:
            assert not endpoint.date_formats, path
            assert set(formats.values()) <= {dialect_.value_format}, path


def test_get_image_of_v4_requests_the_md5s() -> None:
    assert dialect("nbia-v4").endpoint("getImage").fixed_parameters == (("IncludeMD5", "Yes"),)


@pytest.mark.parametrize(
    ("name", "base", "auth", "day", "instant"),
    [
        (
            "nbia-v4",
            "https://nbia.cancerimagingarchive.net/nbia-api/services/v4",
            "none",
            "01-05-2020",
            "01-05-2020",
        ),
        (
            "nbia-v1",
            "https://services.cancerimagingarchive.net/nbia-api/services/v1",
            "none",
            "2020-01-05 00:00:00.000000",
            "2020-01-05 00:00:00.000000",
        ),
        (
            "nbia-v2",
            "https://services.cancerimagingarchive.net/nbia-api/services/v2",
            "bearer",
            "2020-01-05 00:00:00.000000",
            "2020-01-05 00:00:00.000000",
        ),
        (
            "bindaas-v4",
            "https://services.cancerimagingarchive.net/services/v4",
            "none",
            "2020-01-05",
            "2020-01-05 00:00:00.000000",
        ),
        (
            "bindaas-v3",
            "https://services.cancerimagingarchive.net/services/v3",
            "api_key",
            "2020-01-05",
            "2020-01-05 00:00:00.000000",
        ),
    ],
)
def test_each_dialect_has_its_url_authentication_and_date_formats(
    name: str, base: str, auth: str, day: str, instant: str
) -> None:
    dialect_ = dialect(name)
    assert (dialect_.base_url, dialect_.auth) == (base, auth)
    assert date(2020, 1, 5).strftime(dialect_.value_format.day) == day
    assert date(2020, 1, 5).strftime(dialect_.value_format.instant) == instant


def test_shared_lists_of_v4_are_delegated_to_v1() -> None:
    without = [dialect_ for dialect_ in DIALECTS if not dialect_.has("getContentsByName")]
    assert [(dialect_.name, dialect_.delegate) for dialect_ in without] == [("nbia-v4", "nbia-v1")]


@pytest.mark.parametrize("dialect_", DIALECTS, ids=lambda d: d.name)
def test_a_delegated_endpoint_is_missing_here_and_exists_there(dialect_: Dialect) -> None:
    assert bool(dialect_.delegated_endpoints) == bool(dialect_.delegate)
    for name in dialect_.delegated_endpoints:
        assert not dialect_.has(name)
        assert dialect(dialect_.delegate).has(name)


@pytest.mark.parametrize("dialect_", DIALECTS, ids=lambda d: d.name)
def test_the_health_endpoint_needs_no_parameters_and_is_never_empty(dialect_: Dialect) -> None:
    assert dialect_.health_endpoint.name == "getCollectionValues"
    assert not dialect_.health_endpoint.parameters
    assert not dialect_.health_endpoint.may_be_empty


@pytest.mark.parametrize("dialect_", DIALECTS, ids=lambda d: d.name)
def test_zip_endpoints_with_md5s_come_first(dialect_: Dialect) -> None:
    expected = {
        "nbia-v4": ("getImage", "getImageWithMD5Hash"),
        "nbia-v1": ("getImageWithMD5Hash", "getImage"),
        "nbia-v2": ("getImageWithMD5Hash", "getImage"),
        "bindaas-v4": ("getImage",),
        "bindaas-v3": ("getImage",),
    }
    assert dialect_.zip_endpoints == expected[dialect_.name]
    assert {dialect_.endpoint(name).returns for name in dialect_.zip_endpoints} == {"zip"}


@pytest.mark.parametrize("dialect_", DIALECTS, ids=lambda d: d.name)
def test_every_dialect_lists_objects_and_serves_single_ones(dialect_: Dialect) -> None:
    assert dialect_.endpoint("getSOPInstanceUIDs").columns == ("SOPInstanceUID",)
    assert dialect_.endpoint("getSingleImage").returns == "dicom"


def test_an_unknown_dialect_or_table_is_an_error_with_suggestions() -> None:
    with pytest.raises(UnknownName, match=r"'nbia-v5'.*'nbia-v4'"):
        dialect("nbia-v5")
    with pytest.raises(UnknownName, match=r"'serie'.*'series'"):
        table("serie")


# --- Wire names and columns -----------------------------------------------------------------------


def test_the_columns_of_an_endpoint_are_distinct() -> None:
    for path, (_, endpoint) in BY_PATH.items():
        names = [COLUMNS_BY_WIRE_NAME[name].name for name in endpoint.columns]
        assert sorted(set(names)) == sorted(names), path


def test_a_wire_name_means_one_column_in_every_table() -> None:
    meant: dict[str, set[str]] = {}
    for each in TABLES:
        for column in each.columns:
            for spelling in column.spellings:
                meant.setdefault(spelling, set()).add(column.name)
    for spelling, column in COLUMNS_BY_WIRE_NAME.items():
        meant.setdefault(spelling, set()).add(column.name)
    assert {spelling: names for spelling, names in meant.items() if len(names) > 1} == {}


def test_a_column_has_one_kind_under_all_its_wire_names() -> None:
    kinds: dict[str, set[str]] = {}
    for column in COLUMNS_BY_WIRE_NAME.values():
        kinds.setdefault(column.name, set()).add(column.kind.name)
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}


def test_every_wire_name_is_described_and_used() -> None:
    sent = {name for _, endpoint in ENDPOINTS for name in endpoint.columns}
    names = {name for table_ in TABLES if table_.endpoint for name in table_.column_names}
    for spelling, column in COLUMNS_BY_WIRE_NAME.items():
        assert column.description.endswith(".")
        assert (
            COLUMNS_BY_WIRE_NAME[column.name].name == column.name
        )  # as `wire.py` names it afterwards
        assert spelling in sent | names | {column.name}


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("PatientId", "PatientID"),
        ("TimeStamp", "MaxSubmissionTimestamp"),
        ("CollectionURI", "DataDescriptionURI"),
        ("StudyDesc", "StudyDescription"),
        ("AdmittingDiagnosisDescription", "AdmittingDiagnosesDescription"),
        ("AdmittingDiagnosesDescription", "AdmittingDiagnosesDescription"),
        ("Date Released", "DateReleased"),
        ("PatientName", "PatientName"),
        ("Subject ID", "PatientID"),
        ("Number of Images", "ImageCount"),
        ("File Location", "StudyID"),
        ("3rd Party Analysis", "ThirdPartyAnalysis"),
        ("License URL", "LicenseURI"),
        ("collectionName", "Collection"),
        ("descriptionURI", "DataDescriptionURI"),
    ],
)
def test_wire_names_map_to_our_names(spelled: str, name: str) -> None:
    assert COLUMNS_BY_WIRE_NAME[spelled].name == name


# The source makes its rows from those of the endpoint; see sources/nbia/descriptions.py.
MADE_BY_THE_SOURCE = {"collection_descriptions"}


@pytest.mark.parametrize(
    "fed",
    [t for t in TABLES if t.endpoint and t.name not in MADE_BY_THE_SOURCE],
    ids=lambda t: t.name,
)
def test_a_table_has_all_columns_of_its_endpoint_in_every_dialect(fed: Table) -> None:
    for dialect_ in DIALECTS:
        if dialect_.has(fed.endpoint):
            given = {
                COLUMNS_BY_WIRE_NAME[name].name for name in dialect_.endpoint(fed.endpoint).columns
            }
            assert given <= set(fed.column_names)


@pytest.mark.parametrize("fed", [t for t in TABLES if t.endpoint], ids=lambda t: t.name)
def test_the_endpoint_of_a_table_filters_by_its_partition_in_every_dialect(fed: Table) -> None:
    for dialect_ in DIALECTS:
        if dialect_.has(fed.endpoint) and fed.partitioned_by and fed.name != "series_sizes":
            assert dialect_.endpoint(fed.endpoint).parameter(fed.partitioned_by)


@pytest.mark.parametrize("fed", [t for t in TABLES if t.endpoint], ids=lambda t: t.name)
def test_a_column_has_the_same_kind_in_tables_and_replies(fed: Table) -> None:
    for column in fed.columns:
        for spelling in column.spellings:
            assert COLUMNS_BY_WIRE_NAME[spelling].kind == column.kind


def test_every_kind_in_replies_can_be_read() -> None:
    for name in {name for _, endpoint in ENDPOINTS for name in endpoint.columns}:
        kind = COLUMNS_BY_WIRE_NAME[name].kind.name
        assert kind == "text" or values.value(kind, "x", DIALECTS[0].value_format), name


def test_every_column_is_described() -> None:
    # The whole text: a description that ends in a full stop, without blanks around it.
    described = re.compile(r"\S.*\S(?<=\.)")
    assert [n for n, c in COLUMNS.items() if not described.fullmatch(c.description)] == []


def test_dicom_keywords_have_their_tag_and_other_columns_none() -> None:
    datadict = pytest.importorskip("pydicom.datadict")
    for name, column in COLUMNS.items():
        number = datadict.tag_for_keyword(column.name)
        tag = f"({number >> 16:04X},{number & 0xFFFF:04X})" if number is not None else ""
        assert column.tag == tag, name
        assert not tag or datadict.keyword_for_tag(number) == column.name, name


def test_our_own_columns_are_in_snake_case() -> None:
    snake_case = re.compile("[a-z][a-z0-9]*(_[a-z0-9]+)*")
    assert {name for name, column in COLUMNS.items() if snake_case.fullmatch(column.name)} == {
        name
        for name, column in COLUMNS.items()
        if not column.tag and column.name not in SOURCE_FIELDS
    }


@pytest.mark.parametrize("declared", TABLES, ids=lambda t: t.name)
def test_the_declaration_of_a_table_is_consistent(declared: Table) -> None:
    assert len(set(declared.column_names)) == len(declared.column_names)
    assert set(declared.key) <= set(declared.column_names)
    assert not declared.partitioned_by or declared.column(declared.partitioned_by).required
    assert re.fullmatch("[a-z]+(_[a-z]+)*", declared.name)
    for parent in declared.parents:
        assert set(parent.on) <= set(declared.column_names) & set(table(parent.table).column_names)
    for earlier in declared.refreshed_after:
        assert table(earlier).partitioned_by == declared.partitioned_by


@pytest.mark.parametrize("declared", TABLES, ids=lambda t: t.name)
def test_the_checks_of_a_table_are_distinct_and_described(declared: Table) -> None:
    names = [check.name for check in declared.checks]
    assert len(set(names)) == len(names)
    for check in declared.checks:
        assert re.fullmatch("[a-z]+(_[a-z]+)*", check.name)
        assert check.description.endswith(".")
        assert check.sql.startswith(("SELECT ", "WITH "))


_STUDIES = [(collection, study) for collection in "AB" for study in "12"]
_COUNTS = st.one_of(st.integers(0, 2), st.sampled_from((None, 1 << 62)))
_COUNTED_TABLES = """
    CREATE TABLE studies (Collection TEXT, StudyInstanceUID TEXT, SeriesCount BIGINT);
    CREATE TABLE series (Collection TEXT, StudyInstanceUID TEXT, missing_since DATE,
        source TEXT DEFAULT 'nbia-v4@host', DataDescriptionURI TEXT);
    CREATE TABLE snapshots (Collection TEXT, taken_at DATE, source TEXT, release TEXT);
    INSERT INTO snapshots
        SELECT unnest(['A', 'B']), DATE '2026-01-02', 'nbia-v4@host', NULL;
"""


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(_STUDIES, _COUNTS)),
    st.lists(st.tuples(st.sampled_from(_STUDIES), st.booleans()), max_size=8),
)
def test_the_count_of_a_study_is_compared_with_its_listed_series(
    counts: dict[tuple[str, str], int | None], series: list[tuple[tuple[str, str], bool]]
) -> None:
    listed = Counter(study for study, is_listed in series if is_listed)
    wrong = {
        (*study, counts[study], number)
        for study, number in listed.items()
        if counts.get(study) not in (None, number)
    }
    [check] = [check for check in SERIES.checks if check.name == "series_count_agrees"]
    with sql.connect() as connection:
        connection.execute(_COUNTED_TABLES)
        for study, number in counts.items():
            connection.execute("INSERT INTO studies VALUES (?, ?, ?)", [*study, number])
        for study, is_listed in series:
            row = [*study, None if is_listed else "2026-01-01"]
            connection.execute(
                "INSERT INTO series (Collection, StudyInstanceUID, missing_since) VALUES (?, ?, ?)",
                row,
            )
        assert set(connection.execute(check.sql).fetchall()) == wrong


def test_tables_have_the_keys_and_partitions_of_the_design() -> None:
    assert {(t.name, t.key, t.partitioned_by) for t in TABLES} == {
        ("collections", ("Collection",), ""),
        ("collection_descriptions", ("Collection", "doi"), "Collection"),
        ("modality_values", ("Collection", "Modality"), "Collection"),
        ("body_part_values", ("Collection", "BodyPartExamined"), "Collection"),
        ("manufacturer_values", ("Collection", "Manufacturer"), "Collection"),
        ("patients", ("Collection", "PatientID"), "Collection"),
        ("studies", ("Collection", "StudyInstanceUID"), "Collection"),
        ("series", ("SeriesInstanceUID",), "Collection"),
        ("series_changes", ("Collection", "SeriesInstanceUID", "event_id"), "Collection"),
        ("snapshots", ("Collection", "taken_at"), "Collection"),
        ("series_sizes", ("SeriesInstanceUID",), "Collection"),
        ("shared_lists", ("list_name", "SeriesInstanceUID"), "list_name"),
        (
            "unreadable_values",
            ("Collection", "table_name", "column_name", "row_key"),
            "Collection",
        ),
        ("image_archives", ("SeriesInstanceUID",), "Collection"),
        ("images", ("SOPInstanceUID",), "Collection"),
        ("zip_reads", ("Collection", "part"), "Collection"),
        (
            "references",
            (
                "SeriesInstanceUID",
                "entry_name",
                "how",
                "referenced_series_instance_uid",
                "referenced_sop_instance_uid",
                "referenced_frame_of_reference_uid",
            ),
            "Collection",
        ),
        ("targets", ("SeriesInstanceUID", "entry_name", "target_place"), "Collection"),
        ("indexed_zips", ("SeriesInstanceUID",), "Collection"),
        (
            "source_equality",
            ("SeriesInstanceUID", "left_source", "right_source"),
            "Collection",
        ),
        ("clinical_tables", ("Collection", "table_name"), "Collection"),
        ("imports", ("Collection",), "Collection"),
    }


def test_the_fingerprint_covers_columns_of_series_except_authorized() -> None:
    assert set(FINGERPRINT_COLUMNS) <= set(SERIES.column_names) - {"Authorized"}
    assert len(set(FINGERPRINT_COLUMNS)) == len(FINGERPRINT_COLUMNS)


def test_the_versions_of_stored_tables_do_not_change() -> None:
    # Dagster compares these with stored assets: a change marks all of them as outdated.
    assert {table.name: table.version for table in TABLES} == {
        "collections": "63ac7261f79e",
        "collection_descriptions": "bd2a8321d2a0",
        "modality_values": "b10013704b1f",
        "body_part_values": "535c5ed583ad",
        "manufacturer_values": "380cf0c4cfd1",
        "patients": "38c9c0f04503",
        "studies": "401042fc0855",
        "series": "6b43ef2d438b",
        "series_changes": "73406249816d",
        "snapshots": "0b5ecff34c8d",
        "series_sizes": "55fbbe7c3d91",
        "shared_lists": "ca708593427a",
        "unreadable_values": "800bbd2f1a6b",
        "image_archives": "349593b33740",
        "images": "dc1e25bc53b8",
        "references": "e96c68674a26",
        "targets": "c3d5675c4a67",
        "indexed_zips": "1e8bff812739",
        "zip_reads": "f891ce1f177d",
        "source_equality": "a51a2cc7addd",
        "clinical_tables": "ec400707f376",
        "imports": "d799f29e7522",
    }
