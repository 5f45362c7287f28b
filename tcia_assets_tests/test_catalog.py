"""The catalogue against the servers' own tables, which are written here a second time.

The expectations are copied from the reference (archive-api.md sections 2 to 4 and 7.2), not from
`catalog.py`: a required parameter has a `*`, and `_` stands for a blank within a column's name.
"""

from __future__ import annotations

import re
from datetime import date

import pytest

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
from tcia_assets.sources.nbia import wire
from tcia_assets.spec import Column, Dialect, Endpoint, Table

# --- What the servers take and give ---------------------------------------------------------------

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

# Section 7.2: the date of 5 January 2020, and whether that day itself is left out.
SINCE = {
    ("nbia-v1", "getUpdatedSeries"): ("05/01/2020", True),
    ("nbia-v1", "NewPatientsInCollection"): ("2020/01/05", True),
    ("nbia-v1", "NewStudiesInPatientCollection"): ("2020/01/05", True),
    ("nbia-v4", "getUpdatedSeries"): ("01-05-2020", True),
    ("nbia-v4", "NewPatientsInCollection"): ("01-05-2020", False),
    ("nbia-v4", "NewStudiesInPatientCollection"): ("01-05-2020", False),
    ("bindaas-v4", "NewPatientsInCollection"): ("2020-01-05", False),
    ("bindaas-v4", "NewStudiesInPatientCollection"): ("2020-01-05", False),
}
SINCE |= {
    ("nbia-v2", name): facts for (spoken, name), facts in SINCE.items() if spoken == "nbia-v1"
}
SINCE |= {
    ("bindaas-v3", name): facts for (spoken, name), facts in SINCE.items() if spoken == "bindaas-v4"
}

ENDPOINTS = [(spoken, endpoint) for spoken in DIALECTS for endpoint in spoken.endpoints]
BY_PATH = [pytest.param(s, e, id=f"{s.name}-{e.path}") for s, e in ENDPOINTS]
COLUMNS = [pytest.param(t, c, id=f"{t.name}.{c.name}") for t in TABLES for c in t.columns]

# Fields that are the archive's own: everything else is a DICOM keyword or made here.
OF_THE_ARCHIVE = {
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


def asked(row: tuple[str, str]) -> dict[str, bool]:
    """The parameters of a row, and whether each is required."""
    return {name.rstrip("*"): name.endswith("*") for name in row[0].split()}


# --- Dialects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_each_dialect_has_exactly_the_paths_of_its_server(spoken: Dialect) -> None:
    assert {e.path for e in spoken.endpoints} == SERVED[spoken.name].keys()


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_parameters_are_spelled_as_the_server_spells_them(
    spoken: Dialect, endpoint: Endpoint
) -> None:
    sent = {p.wire_name: p.required for p in endpoint.parameters}
    if endpoint.formats:
        sent["format"] = False
    assert sent == asked(SERVED[spoken.name][endpoint.path])


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_columns_come_in_the_order_and_spelling_of_the_server(
    spoken: Dialect, endpoint: Endpoint
) -> None:
    expected = SERVED[spoken.name][endpoint.path][1].split()
    assert [name.replace(" ", "_") for name in endpoint.columns] == expected


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_a_date_is_sent_in_the_form_that_the_server_reads(
    spoken: Dialect, endpoint: Endpoint
) -> None:
    takes_a_date = "since" in {p.name for p in endpoint.parameters}
    assert takes_a_date == ((spoken.name, endpoint.name) in SINCE) == bool(endpoint.since_format)
    if takes_a_date:
        form, is_strict = SINCE[spoken.name, endpoint.name]
        assert date(2020, 1, 5).strftime(endpoint.since_format) == form
        assert endpoint.since_is_strict == is_strict
        assert endpoint.may_be_empty


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_what_is_always_sent_is_a_parameter_of_the_server(
    spoken: Dialect, endpoint: Endpoint
) -> None:
    assert {name for name, _ in endpoint.fixed_parameters} <= asked(
        SERVED[spoken.name][endpoint.path]
    ).keys()


def test_only_nbia_v4_has_forms_and_they_are_posted() -> None:
    assert {(s.name, e.path) for s, e in ENDPOINTS if e.method != "GET"} == {
        ("nbia-v4", "getSeriesMetadata"),
        ("nbia-v4", "getMD5Hierarchy"),
        ("nbia-v4", "getManifestForCollection"),
    }


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_a_body_is_what_the_server_makes(spoken: Dialect, endpoint: Endpoint) -> None:
    others = {
        "getImage": "zip",
        "getImageWithMD5Hash": "zip",
        "getDCMImage": "zip",
        "getSingleImage": "dicom",
        "getMD5HashForImage": "text",
        "getMD5Hierarchy": "text",
        "getManifestForCollection": "manifest",
    }
    assert endpoint.returns == others.get(endpoint.name, "rows")
    assert (endpoint.returns == "rows") == bool(endpoint.columns)


def test_v4_refuses_unknown_parameters_but_where_it_looks_at_none() -> None:
    lenient = {(s.name, e.name) for s, e in ENDPOINTS if not e.is_strict and s.server == "sql"}
    assert lenient == {("nbia-v4", "getCollectionValuesAndCounts")}
    assert not any(e.is_strict for s, e in ENDPOINTS if s.server != "sql")


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_nothing_is_said_as_the_server_says_it(spoken: Dialect, endpoint: Endpoint) -> None:
    others = {
        ("hibernate", "getSeriesSize"): "null_row",
        ("hibernate", "getSeriesMetadata"): "204",
        ("hibernate", "getDeniedSeries"): "204",
        ("sql", "getDeniedSeries"): "204",
        ("sql", "getCollectionDescriptions"): "array",
    }
    plain = "array" if spoken.server == "bindaas" else "bare"
    assert endpoint.nothing == others.get((spoken.server, endpoint.name), plain)


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_what_comes_unasked_is_json_in_nbia_and_csv_in_bindaas(
    spoken: Dialect, endpoint: Endpoint
) -> None:
    if endpoint.method == "POST" and endpoint.formats:
        assert endpoint.default_format == "csv-download"
    else:
        is_csv = spoken.server == "bindaas" and bool(endpoint.formats)
        assert endpoint.default_format == ("csv" if is_csv else "json")


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_what_is_required_is_missed_but_for_one_hash(spoken: Dialect, endpoint: Endpoint) -> None:
    required = any(p.required for p in endpoint.parameters)
    assert bool(endpoint.missing) == (required and endpoint.name != "getMD5HashForImage")


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_values_have_a_form_of_their_own_only_in_what_downloaders_are_told(
    spoken: Dialect, endpoint: Endpoint
) -> None:
    is_told = endpoint.name == "getSeriesMetadata"
    assert (endpoint.numbers is not None) == is_told
    numbers, forms = endpoint.numbers or (), dict(endpoint.date_formats)
    assert set(numbers) | forms.keys() <= set(endpoint.columns)
    if is_told and spoken.server == "hibernate":
        java = "%a %b %d %H:%M:%S UTC %Y"  # Tue Nov 08 08:08:01 UTC 2011
        assert forms == {
            "Study Date": "%m-%d-%Y",
            "Series Date": java,
            "Date Released": java,
            "TimeStamp": java,
        }
        assert endpoint.value_format("TimeStamp", spoken.value_format).instant == java
        assert endpoint.value_format("Study Date", spoken.value_format).day == "%m-%d-%Y"
    else:
        assert all(
            endpoint.value_format(name, spoken.value_format) == spoken.value_format
            for name in endpoint.columns
        )


def test_the_md5s_of_a_download_are_asked_for_where_they_can_be() -> None:
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
def test_a_dialect_has_its_base_its_proof_and_its_form_of_a_day(
    name: str, base: str, auth: str, day: str, instant: str
) -> None:
    spoken = dialect(name)
    assert (spoken.base_url, spoken.auth) == (base, auth)
    assert date(2020, 1, 5).strftime(spoken.value_format.day) == day
    assert date(2020, 1, 5).strftime(spoken.value_format.instant) == instant


def test_shared_lists_are_delegated_where_there_are_none() -> None:
    without = [spoken for spoken in DIALECTS if not spoken.has("getContentsByName")]
    assert [(spoken.name, spoken.delegate) for spoken in without] == [("nbia-v4", "nbia-v1")]


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_only_what_a_dialect_has_not_is_delegated_to_one_that_has_it(spoken: Dialect) -> None:
    assert bool(spoken.delegated_endpoints) == bool(spoken.delegate)
    for name in spoken.delegated_endpoints:
        assert not spoken.has(name)
        assert dialect(spoken.delegate).has(name)


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_the_control_needs_nothing_and_is_never_empty(spoken: Dialect) -> None:
    assert spoken.health_endpoint.name == "getCollectionValues"
    assert not spoken.health_endpoint.parameters
    assert not spoken.health_endpoint.may_be_empty


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_zips_are_fetched_by_the_route_with_the_best_proof_first(spoken: Dialect) -> None:
    assert (
        spoken.zip_endpoints
        == {
            "sql": ("getImage", "getImageWithMD5Hash"),
            "hibernate": ("getImageWithMD5Hash", "getImage"),
            "bindaas": ("getImage",),
        }[spoken.server]
    )
    assert {spoken.endpoint(name).returns for name in spoken.zip_endpoints} == {"zip"}


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_every_dialect_lists_objects_and_gives_single_ones(spoken: Dialect) -> None:
    assert spoken.lists_sop_instance_uids == spoken.has("getSOPInstanceUIDs") is True
    assert spoken.serves_single_images == spoken.has("getSingleImage") is True


def test_the_software_behind_a_dialect_is_known() -> None:
    assert {spoken.name: spoken.server for spoken in DIALECTS} == {
        "nbia-v4": "sql",
        "nbia-v1": "hibernate",
        "nbia-v2": "hibernate",
        "bindaas-v4": "bindaas",
        "bindaas-v3": "bindaas",
    }


def test_an_unknown_dialect_or_table_is_named_with_the_near_ones() -> None:
    with pytest.raises(UnknownName, match=r"'nbia-v5'.*'nbia-v4'"):
        dialect("nbia-v5")
    with pytest.raises(UnknownName, match=r"'serie'.*'series'"):
        table("serie")


# --- Wire names and columns -----------------------------------------------------------------------


@pytest.mark.parametrize(("spoken", "endpoint"), BY_PATH)
def test_every_wire_name_is_one_column(spoken: Dialect, endpoint: Endpoint) -> None:
    names = [COLUMNS_BY_WIRE_NAME[name].name for name in endpoint.columns]
    assert len(set(names)) == len(names)


def test_a_spelling_means_one_column_in_every_table() -> None:
    meant: dict[str, set[str]] = {}
    for each in TABLES:
        for column in each.columns:
            for spelling in column.spellings:
                meant.setdefault(spelling, set()).add(column.name)
    for spelling, column in COLUMNS_BY_WIRE_NAME.items():
        meant.setdefault(spelling, set()).add(column.name)
    assert {spelling: names for spelling, names in meant.items() if len(names) > 1} == {}


def test_a_column_that_arrives_is_of_one_kind_under_all_its_spellings() -> None:
    kinds: dict[str, set[str]] = {}
    for column in COLUMNS_BY_WIRE_NAME.values():
        kinds.setdefault(column.name, set()).add(column.kind.name)
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}


def test_all_that_arrives_is_described_and_is_declared_somewhere() -> None:
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
def test_the_same_thing_has_the_same_name(spelled: str, name: str) -> None:
    assert COLUMNS_BY_WIRE_NAME[spelled].name == name


@pytest.mark.parametrize("fed", [t for t in TABLES if t.endpoint], ids=lambda t: t.name)
def test_a_table_keeps_all_that_its_endpoint_gives_in_every_dialect(fed: Table) -> None:
    for spoken in DIALECTS:
        if spoken.has(fed.endpoint):
            given = {
                COLUMNS_BY_WIRE_NAME[name].name for name in spoken.endpoint(fed.endpoint).columns
            }
            assert given <= set(fed.column_names)


@pytest.mark.parametrize("fed", [t for t in TABLES if t.endpoint], ids=lambda t: t.name)
def test_a_table_can_be_asked_for_by_its_partition_in_every_dialect(fed: Table) -> None:
    for spoken in DIALECTS:
        if spoken.has(fed.endpoint) and fed.partitioned_by and fed.name != "series_sizes":
            assert spoken.endpoint(fed.endpoint).parameter(fed.partitioned_by)


@pytest.mark.parametrize("fed", [t for t in TABLES if t.endpoint], ids=lambda t: t.name)
def test_a_column_is_of_the_same_kind_wherever_it_stands(fed: Table) -> None:
    for column in fed.columns:
        for spelling in column.spellings:
            assert COLUMNS_BY_WIRE_NAME[spelling].kind == column.kind


@pytest.mark.parametrize("name", sorted({n for _, e in ENDPOINTS for n in e.columns}))
def test_every_kind_that_arrives_can_be_read(name: str) -> None:
    column = COLUMNS_BY_WIRE_NAME[name]
    assert column.kind.name == "text" or wire._value(
        column.kind.name, "x", DIALECTS[0].value_format
    )


@pytest.mark.parametrize(("of", "column"), COLUMNS)
def test_every_column_is_described(of: Table, column: Column) -> None:
    assert re.fullmatch(r"\S.*\S", column.description)
    assert column.description.endswith((".", "..."))


@pytest.mark.parametrize(("of", "column"), COLUMNS)
def test_dicom_keywords_have_their_tag_and_all_others_none(of: Table, column: Column) -> None:
    datadict = pytest.importorskip("pydicom.datadict")
    number = datadict.tag_for_keyword(column.name)
    tag = f"({number >> 16:04X},{number & 0xFFFF:04X})" if number is not None else ""
    assert column.tag == tag
    assert not tag or datadict.keyword_for_tag(number) == column.name


@pytest.mark.parametrize(("of", "column"), COLUMNS)
def test_what_is_made_here_is_named_in_snake_case(of: Table, column: Column) -> None:
    is_ours = not column.tag and column.name not in OF_THE_ARCHIVE
    assert bool(re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", column.name)) == is_ours


@pytest.mark.parametrize("declared", TABLES, ids=lambda t: t.name)
def test_a_table_is_declared_soundly(declared: Table) -> None:
    assert len(set(declared.column_names)) == len(declared.column_names)
    assert set(declared.key) <= set(declared.column_names)
    assert not declared.partitioned_by or declared.column(declared.partitioned_by).required
    assert re.fullmatch("[a-z]+(_[a-z]+)*", declared.name)
    for parent in declared.parents:
        assert set(parent.on) <= set(declared.column_names) & set(table(parent.table).column_names)


def test_the_tables_are_those_of_the_design() -> None:
    assert {(t.name, t.key, t.partitioned_by) for t in TABLES} == {
        ("collections", ("Collection",), ""),
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
        ("image_archives", ("SeriesInstanceUID",), "Collection"),
        ("images", ("SOPInstanceUID",), "Collection"),
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
    }


def test_the_fingerprint_covers_columns_of_series_and_not_who_asks() -> None:
    assert set(FINGERPRINT_COLUMNS) <= set(SERIES.column_names) - {"Authorized"}
    assert len(set(FINGERPRINT_COLUMNS)) == len(FINGERPRINT_COLUMNS)
