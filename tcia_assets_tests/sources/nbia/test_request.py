"""What is sent: method, path, parameters and headers, in every dialect."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tcia_assets import __version__
from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME, DIALECTS, FORMATS, dialect
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.settings import Settings
from tcia_assets.sources import Target
from tcia_assets.sources.nbia.client import Client
from tcia_assets.spec import Dialect, Endpoint
from tcia_assets_tests.sources.conftest import SECRETS, Serve, talking
from tcia_assets_tests.sources.scripted import Answer, Asked, answer

UID, DAY = "1.2.3", date(2020, 1, 5)
TOKEN = json.dumps({"access_token": "t0k3n", "expires_in": 300})

# (our name, filters, path below the base, query without format); copied from archive-api.md.
NBIA: list[tuple[str, dict[str, Any], str, dict[str, str]]] = [
    ("getCollectionValues", {}, "getCollectionValues", {}),
    (
        "getModalityValues",
        {"Collection": "4D-Lung", "BodyPartExamined": "LUNG"},
        "getModalityValues",
        {"Collection": "4D-Lung", "BodyPartExamined": "LUNG"},
    ),
    (
        "getBodyPartValues",
        {"Collection": "4D-Lung", "Modality": "CT"},
        "getBodyPartValues",
        {"Collection": "4D-Lung", "Modality": "CT"},
    ),
    (
        "getManufacturerValues",
        {"Collection": "4D-Lung", "Modality": "CT", "BodyPartExamined": "LUNG"},
        "getManufacturerValues",
        {"Collection": "4D-Lung", "Modality": "CT", "BodyPartExamined": "LUNG"},
    ),
    (
        "getPatient",
        {"Collection": "4D-Lung", "PatientID": "p1"},
        "getPatient",
        {"Collection": "4D-Lung", "PatientId": "p1"},
    ),
    (
        "getPatientByCollectionAndModality",
        {"Collection": "4D-Lung", "Modality": "CT"},
        "getPatientByCollectionAndModality",
        {"Collection": "4D-Lung", "Modality": "CT"},
    ),
    (
        "getPatientStudy",
        {"Collection": "4D-Lung", "PatientID": "p1", "StudyInstanceUID": UID},
        "getPatientStudy",
        {"Collection": "4D-Lung", "PatientID": "p1", "StudyInstanceUID": UID},
    ),
    ("getSeries", {"Collection": "4D-Lung"}, "getSeries", {"Collection": "4D-Lung"}),
    (
        "getSeries",
        {
            "PatientID": "p1",
            "StudyInstanceUID": UID,
            "Modality": "CT",
            "BodyPartExamined": "LUNG",
            "ManufacturerModelName": "M",
            "Manufacturer": "N",
            "SeriesInstanceUID": UID,
        },
        "getSeries",
        {
            "PatientID": "p1",
            "StudyInstanceUID": UID,
            "Modality": "CT",
            "BodyPartExamined": "LUNG",
            "ManufacturerModelName": "M",
            "Manufacturer": "N",
            "SeriesInstanceUID": UID,
        },
    ),
    ("getSeriesSize", {"SeriesInstanceUID": UID}, "getSeriesSize", {"SeriesInstanceUID": UID}),
    (
        "getSOPInstanceUIDs",
        {"SeriesInstanceUID": UID},
        "getSOPInstanceUIDs",
        {"SeriesInstanceUID": UID},
    ),
]


def since(
    updated: str | None, patients: tuple[str, str]
) -> list[tuple[str, dict[str, Any], str, dict[str, str]]]:
    """The three questions about what is new, as a dialect spells their date."""
    name, day = patients
    asked = {"Collection": "4D-Lung", name: day}
    filters = {"Collection": "4D-Lung", "since": DAY}
    new = "NewStudiesInPatientCollection"
    questions = [
        ("NewPatientsInCollection", filters, "NewPatientsInCollection", asked),
        (new, filters | {"PatientID": "p1"}, new, asked | {"PatientID": "p1"}),
    ]
    if updated:
        question = {"fromDate": updated}
        questions.append(("getUpdatedSeries", {"since": DAY}, "getUpdatedSeries", question))
    return questions


def bindaas(path: str) -> str:
    renamed = {"getPatientByCollectionAndModality": "PatientsByModality"}
    return f"/TCIA/query/{renamed.get(path, path)}"


BINDAAS = [
    (name, {"Collection": "4D-Lung"} if name == "getPatient" else filters, bindaas(path), query)
    for name, filters, path, query in [*NBIA, *since(None, ("Date", "2020-01-05"))]
]
BINDAAS = [
    (name, filters, path, {"Collection": "4D-Lung"} if name == "getPatient" else query)
    for name, filters, path, query in BINDAAS
]
V1 = [*NBIA, *since("05/01/2020", ("Date", "2020/01/05"))]
V4 = [*NBIA, *since("01-05-2020", ("fromDate", "01-05-2020"))]
BASES = {
    "nbia-v4": "/nbia-api/services/v4/",
    "nbia-v1": "/nbia-api/services/v1/",
    "nbia-v2": "/nbia-api/services/v2/",
    "bindaas-v4": "/services/v4",
    "bindaas-v3": "/services/v3",
}
QUESTIONS = [
    pytest.param(
        speaks, name, filters, BASES[speaks] + path, query, id=f"{speaks}-{name}-{len(filters)}"
    )
    for speaks, questions in {
        "nbia-v4": V4,
        "nbia-v1": V1,
        "nbia-v2": V1,
        "bindaas-v4": BINDAAS,
        "bindaas-v3": BINDAAS,
    }.items()
    for name, filters, path, query in questions
]
LISTS = [
    ("nbia-v4", "/nbia-api/services/v1/getContentsByName"),
    ("nbia-v1", "/nbia-api/services/v1/getContentsByName"),
    ("nbia-v2", "/nbia-api/services/v2/getContentsByName"),
    ("bindaas-v4", "/services/v4/SharedList/query/ContentsByName"),
    ("bindaas-v3", "/services/v3/SharedList/query/ContentsByName"),
]
ONE = {"SeriesInstanceUID": UID}
IMAGES = [
    ("nbia-v4", "getImage", "/nbia-api/services/v4/getImage", ONE | {"IncludeMD5": "Yes"}),
    ("nbia-v4", "getImageWithMD5Hash", "/nbia-api/services/v4/getImageWithMD5Hash", ONE),
    ("nbia-v1", "getImage", "/nbia-api/services/v1/getImage", ONE),
    ("nbia-v1", "getImageWithMD5Hash", "/nbia-api/services/v1/getImageWithMD5Hash", ONE),
    ("nbia-v2", "getImage", "/nbia-api/services/v2/getImage", ONE),
    ("bindaas-v4", "getImage", "/services/v4/TCIA/query/getImage", ONE),
    ("bindaas-v3", "getImage", "/services/v3/TCIA/query/getImage", ONE),
]


def a_row(endpoint: Endpoint, spoken: Dialect, filters: dict[str, Any]) -> str:
    """A reply with one row that satisfies the filters."""
    days = {"day": spoken.value_format.day, "instant": spoken.value_format.instant}
    row: dict[str, object] = {}
    for name in endpoint.columns:
        column = COLUMNS_BY_WIRE_NAME[name]
        form = days.get(column.kind.name)
        plain = {"uid": UID, "text": "x"}.get(column.kind.name, 1)
        row[name] = DAY.strftime(form) if form else filters.get(column.name, plain)
    return json.dumps([row])


def headers(speaks: str) -> dict[str, str]:
    return {
        "nbia-v2": {"Authorization": "Bearer t0k3n"},
        "bindaas-v3": {"api_key": SECRETS["api_key"]},
    }.get(speaks, {})


def sent(asked: list[Asked]) -> Asked:
    """The one request that is not for a token."""
    (request,) = [each for each in asked if each.path != "/nbia-api/oauth/token"]
    return request


@pytest.mark.parametrize(("speaks", "name", "filters", "path", "query"), QUESTIONS)
def test_a_question_is_sent_as_the_dialect_spells_it(
    speaks: str,
    name: str,
    filters: dict[str, Any],
    path: str,
    query: dict[str, str],
    serve: Serve,
) -> None:
    spoken = dialect(speaks)
    reply = a_row(spoken.endpoint(name), spoken, filters)
    server = serve(lambda asked: answer(TOKEN if "oauth" in asked.path else reply))
    with talking(server.url, speaks) as client:
        assert client.get_rows(name, **filters).table.num_rows == 1
    request = sent(server.asked)
    assert (request.method, request.path, request.body) == ("GET", path, "")
    assert dict(request.query) == query | {"format": "json"}
    assert len(request.query) == len(query) + 1


@pytest.mark.parametrize(("speaks", "path"), LISTS)
def test_a_shared_list_is_asked_where_there_are_some_and_without_format(
    speaks: str, path: str, serve: Serve
) -> None:
    server = serve(
        lambda asked: answer(TOKEN if "oauth" in asked.path else '[{"SeriesInstanceUID":"1.2.3"}]')
    )
    with talking(server.url, speaks, form="csv") as client:
        assert client.get_rows("getContentsByName", list_name="my list").table.num_rows == 1
    request = sent(server.asked)
    assert (request.path, request.query) == (path, (("name", "my list"),))


def test_shared_lists_may_be_asked_of_a_host_of_their_own(serve: Serve) -> None:
    server = serve(answer('[{"SeriesInstanceUID":"1.2.3"}]'))
    url = f"{server.url}/elsewhere/v1/"
    with talking("http://127.0.0.1:1", shared_list_url=url) as client:
        client.get_rows("getContentsByName", list_name="x")
    assert sent(server.asked).path == "/elsewhere/v1/getContentsByName"


@pytest.mark.parametrize(("speaks", "name", "path", "query"), IMAGES)
def test_images_are_asked_for_without_a_format(
    speaks: str, name: str, path: str, query: dict[str, str], serve: Serve, tmp_path: Path
) -> None:
    server = serve(lambda asked: answer(TOKEN if "oauth" in asked.path else b"PK\3\4..."))
    with talking(server.url, speaks, form="csv") as client:
        client.download(name, Target(tmp_path / "zip"), SeriesInstanceUID=UID)
    request = sent(server.asked)
    assert (request.method, request.path, dict(request.query)) == ("GET", path, query)


@pytest.mark.parametrize("speaks", [d.name for d in DIALECTS])
def test_the_headers_say_who_asks_and_accept_anything(speaks: str, serve: Serve) -> None:
    reply = '[{"Collection":"A"}]'
    server = serve(lambda asked: answer(TOKEN if "oauth" in asked.path else reply))
    with talking(server.url, speaks) as client:
        client.get_rows("getCollectionValues")
    found = dict(sent(server.asked).headers)
    assert "gzip" in found.pop("Accept-Encoding")
    assert found == headers(speaks) | {
        "Host": f"127.0.0.1:{server.port}",
        "User-Agent": f"tcia_assets/{__version__}",
        "Accept": "*/*",
        "Connection": "keep-alive",
    }


@pytest.mark.parametrize("form", FORMATS)
def test_the_format_is_a_setting_of_the_client(form: str, serve: Serve) -> None:
    bodies = {
        "json": '[{"Modality":"CT"}]',
        "csv": "Modality\nCT\n",
        "xml": "<Results><Row><Modality>CT</Modality></Row></Results>",
        "html": "<TABLE><TR><TH>Modality</TH></TR><TR><TD>CT</TD></TR></TABLE>",
    }
    server = serve(answer(bodies[form]))
    with talking(server.url, form=form) as client:
        assert client.get_rows("getModalityValues").table.to_pylist() == [{"Modality": "CT"}]
    assert dict(sent(server.asked).query) == {"format": form}


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"no format 'yaml'"):
        Client(Settings(), form="yaml")


@pytest.mark.parametrize(
    "value", ["RIDER Lung CT", "a&b=c", "a+b", "é", "100%", "a/b?c#d", '"x"', "';--"]
)
def test_a_value_arrives_as_it_is(value: str, serve: Serve) -> None:
    server = serve(answer(json.dumps([{"SeriesInstanceUID": UID, "Collection": value}])))
    with talking(server.url) as client:
        client.get_rows("getSeries", Collection=value)
    assert dict(sent(server.asked).query)["Collection"] == value


# --- What is never sent ---------------------------------------------------------------------------


def put(client: Client, endpoint: Endpoint, folder: Path, filters: dict[str, Any]) -> None:
    if endpoint.returns == "rows":
        client.get_rows(endpoint.name, **filters)
    elif endpoint.returns == "text":
        client.get_hash(endpoint.name, **filters)
    else:
        client.download(endpoint.name, Target(folder / "x"), **filters)


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_a_filter_that_an_endpoint_does_not_take_is_never_sent(
    spoken: Dialect, serve: Serve, tmp_path: Path
) -> None:
    server = serve(answer("[]"))
    columns = {c.name for c in COLUMNS_BY_WIRE_NAME.values()} | {
        "since",
        "format",
        "list_name",
        "PatientId",
    }
    with talking(server.url, spoken.name) as client:
        for endpoint in spoken.endpoints:
            taken = {p.name: p.required for p in endpoint.parameters}
            good = {name: DAY if name == "since" else "x" for name, must in taken.items() if must}
            for name in sorted(columns - taken.keys()):
                with pytest.raises(UnknownName, match=f"parameter of {endpoint.name}"):
                    put(client, endpoint, tmp_path, good | {name: "x"})
    assert server.asked == []


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_a_question_that_lacks_what_is_required_is_never_sent(
    spoken: Dialect, serve: Serve, tmp_path: Path
) -> None:
    server = serve(answer("[]"))
    with talking(server.url, spoken.name) as client:
        for endpoint in spoken.endpoints:
            required = [p.name for p in endpoint.parameters if p.required]
            if required:
                with pytest.raises(UsageError, match=f"{endpoint.name} needs {required[0]}"):
                    put(client, endpoint, tmp_path, {})
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "filters", "said"),
    [
        ("getUpdatedSeries", {"since": "01-05-2020"}, "since must be a date, not '01-05-2020'"),
        ("getSeries", {"Collection": DAY}, "Collection must be a text"),
        ("getSeries", {"Collection": ""}, "Collection is empty"),
        ("getSeries", {"Collection": "  "}, "Collection is empty"),
        ("getImage", {"SeriesInstanceUID": UID}, "getImage returns zip, not rows"),
    ],
)
def test_what_the_archive_would_answer_with_all_or_nothing_is_never_sent(
    name: str, filters: dict[str, Any], said: str, serve: Serve
) -> None:
    server = serve(answer("[]"))
    with talking(server.url) as client, pytest.raises(UsageError, match=said):
        client.get_rows(name, **filters)
    assert server.asked == []


def test_rows_are_not_downloaded(serve: Serve, tmp_path: Path) -> None:
    server = serve(answer("[]"))
    with talking(server.url) as client, pytest.raises(UsageError, match="returns rows"):
        client.download("getSeries", Target(tmp_path / "x"), Collection="A")
    assert server.asked == []


@pytest.mark.parametrize(
    ("speaks", "name"),
    [("nbia-v4", "getSerie"), ("bindaas-v4", "getUpdatedSeries"), ("nbia-v1", "getMD5Hierarchy")],
)
def test_an_endpoint_that_the_dialect_has_not_is_named(
    speaks: str, name: str, serve: Serve
) -> None:
    server = serve(Answer(b""))
    with (
        talking(server.url, speaks) as client,
        pytest.raises(UnknownName, match=f"endpoint of dialect {speaks} '{name}'"),
    ):
        client.get_rows(name)
    assert server.asked == []
