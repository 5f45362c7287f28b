"""Rows of the sandbox archive, and what makes them worthless."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import DIALECTS, FORMATS, SERIES_SIZES, dialect
from tcia_assets.errors import (
    ArchiveUnreachable,
    BadValue,
    ForeignRows,
    MissingColumn,
    RequestRefused,
    StorageError,
    TciaError,
    TooLarge,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.metadata.listing import LISTED
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Cost, SourceRows
from tcia_assets.sources.nbia.client import Client
from tcia_assets.store.conform import conform
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.sources.conftest import FAST, HASTY, Serve, talking
from tcia_assets_tests.sources.scripted import Answer, answer, chunked

# Every Series that the sandbox has was released later.
LONG_AGO = date(1990, 1, 1)
# A few of all Collections were released after this.
LATELY = date(2025, 10, 1)


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Any) -> Any:
    sandbox.requests.clear()
    with Client(settings_for(sandbox, tmp_path), pacing=FAST) as client:
        yield client


def in_order(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: json.dumps(row, default=str, sort_keys=True))


@pytest.mark.parametrize("spoken", DIALECTS, ids=lambda d: d.name)
def test_every_endpoint_gives_the_same_rows_in_every_format(
    spoken: Any, sandbox: Sandbox, tmp_path: Any
) -> None:
    settings = settings_for(sandbox, tmp_path, spoken.name)
    with contextlib.ExitStack() as stack:
        clients = {
            form: stack.enter_context(Client(settings, form=form, pacing=FAST)) for form in FORMATS
        }
        series = clients["json"].get_rows("getSeries", Collection=SMALL).table
        chosen: dict[str, Any] = {
            "Collection": SMALL,
            "Modality": "CT",
            "since": LONG_AGO,
            "SeriesInstanceUID": series["SeriesInstanceUID"][0].as_py(),
        }
        for endpoint in spoken.endpoints:
            if not endpoint.columns or not endpoint.formats:
                continue
            names = {p.name for p in endpoint.parameters if p.required or p.name == "Collection"}
            asked = {name: chosen[name] for name in names}
            if endpoint.name == "getDeniedSeries":
                asked["SeriesInstanceUID"] = "1.2.3"
            if endpoint.name == "getUpdatedSeries":  # of all Collections
                asked["since"] = LATELY
            # Some names are none in XML: no reader takes the server's for well-formed.
            is_xml = not any(set(" (") & set(name) for name in endpoint.columns)
            replies = {
                form: client.get_rows(endpoint.name, **asked)
                for form, client in clients.items()
                if is_xml or form != "xml"
            }
            expected = in_order(replies["json"].table)
            for form, reply in replies.items():
                assert in_order(reply.table) == expected, (endpoint.name, form)
                assert reply.unclaimed == ()
                assert reply.cost.requests == 1 and reply.cost.size_bytes > 0


def test_a_reply_says_what_it_cost(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("status"), Fault("cut", after_bytes=100))
    reply = client.get_rows("getSeries", Collection=SMALL)
    plain = client.get_rows("getSeries", Collection=SMALL)
    assert (reply.cost.requests, plain.cost.requests) == (3, 1)
    assert reply.cost.size_bytes == plain.cost.size_bytes + 100
    assert 0 < plain.seconds < 30


# --- Nothing --------------------------------------------------------------------------------------


def test_zero_bytes_where_rows_are_expected_are_unknown(client: Client, sandbox: Sandbox) -> None:
    with pytest.raises(UnknownReply, match="zero bytes") as caught:
        client.get_rows("getSeries", Collection="No Such Collection")
    assert caught.value.retryable
    assert sandbox.requests["getSeries"] == 3


def test_zero_bytes_that_pass_do_not_matter(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("empty", times=2))
    assert client.get_rows("getSeries", Collection=SMALL).cost.requests == 3


@pytest.mark.parametrize("speaks", ["nbia-v4", "nbia-v1", "bindaas-v4"])
@pytest.mark.parametrize("form", FORMATS)
def test_no_news_is_an_empty_table_once_the_archive_is_seen_to_answer(
    speaks: str, form: str, sandbox: Sandbox, tmp_path: Any
) -> None:
    sandbox.requests.clear()
    tomorrow = date.today() + timedelta(days=30)  # noqa: DTZ011
    name = "NewPatientsInCollection" if speaks == "bindaas-v4" else "getUpdatedSeries"
    asked = {"Collection": SMALL} if speaks == "bindaas-v4" else {}
    settings = settings_for(sandbox, tmp_path, speaks)
    with Client(settings, form=form, pacing=FAST) as client:
        reply = client.get_rows(name, since=tomorrow, **asked)
    assert reply.table.num_rows == 0
    assert len(reply.table.column_names) == len(dialect(speaks).endpoint(name).columns)
    assert (sandbox.requests["getCollectionValues"], sandbox.requests[name]) == (1, 2)
    assert reply.cost.requests == 3


def test_nothing_is_no_news_only_where_the_archive_answers_otherwise(
    client: Client, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("empty", times=0))
    with pytest.raises(UnknownReply, match=r"getCollectionValues: empty reply \(zero bytes"):
        client.get_rows("getUpdatedSeries", since=LONG_AGO)
    assert (sandbox.requests["getUpdatedSeries"], sandbox.requests["getCollectionValues"]) == (3, 3)


def test_nothing_that_was_an_accident_is_followed_by_the_rows(
    client: Client, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("empty", "getUpdatedSeries"))
    assert client.get_rows("getUpdatedSeries", since=LONG_AGO).table.num_rows > 100


def test_no_news_may_be_a_500_that_says_so(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("no_data", "getUpdatedSeries", times=2))
    assert client.get_rows("getUpdatedSeries", since=LONG_AGO).table.num_rows == 0
    sandbox.faults.add(Fault("no_data", "getUpdatedSeries"))
    assert client.get_rows("getUpdatedSeries", since=LONG_AGO).table.num_rows > 100


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("json", "[]"),
        ("json", " [ ] "),
        ("csv", "Collection\n"),
        ("xml", "<Results></Results>"),
        ("html", "<TABLE><TR><TH>Collection</TH></TR></TABLE>"),
    ],
)
def test_a_list_without_rows_is_as_unknown_as_zero_bytes(
    form: str, body: str, serve: Serve
) -> None:
    server = serve(answer(body))
    with talking(server.url, form=form) as client, pytest.raises(UnknownReply):
        client.get_rows("getCollectionValues")


# --- Replies that are not what they should be -----------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Fault("html", times=0), UnreadableReply, "not a list of rows"),
        (Fault("cut", times=0, after_bytes=500), UnreadableReply, "cut off"),
        (Fault("cut_after_comma", times=0, after_bytes=500), UnreadableReply, "cut off"),
        (
            Fault("bad_value", times=0, column="SeriesInstanceUID"),
            BadValue,
            "getSeries.SeriesInstanceUID: 'twelve' is not a DICOM UID",
        ),
        (Fault("unterminated", times=0, after_bytes=500), ArchiveUnreachable, "was cut"),
        (Fault("reset", times=0, after_bytes=500), ArchiveUnreachable, "was cut"),
    ],
)
def test_a_reply_that_is_not_what_it_should_be_is_an_error_with_its_cause(
    fault: Fault, error: type[Exception], said: str, client: Client, sandbox: Sandbox
) -> None:
    sandbox.faults.add(fault)
    with pytest.raises(error, match=said):
        client.get_rows("getSeries", Collection=SMALL)


def test_an_archive_that_hangs_is_an_error_with_its_cause(sandbox: Sandbox, tmp_path: Any) -> None:
    sandbox.faults.add(Fault("hang", times=0, seconds=9))
    pacing = replace(HASTY, attempts=2, read_timeout_s=0.3)
    with (
        Client(settings_for(sandbox, tmp_path), pacing=pacing) as client,
        pytest.raises(ArchiveUnreachable, match="no byte within the read time-out"),
    ):
        client.get_rows("getSeries", Collection=SMALL)


def test_latin1_and_repeated_rows_are_read(client: Client, sandbox: Sandbox) -> None:
    plain = client.get_rows("getSeries", Collection=SMALL).table
    sandbox.faults.add(Fault("latin1"))
    assert in_order(client.get_rows("getSeries", Collection=SMALL).table) == in_order(plain)
    sandbox.faults.add(Fault("duplicate_rows"))
    twice = client.get_rows("getSeries", Collection=SMALL).table
    assert twice.num_rows == 2 * plain.num_rows
    assert conform(LISTED, twice).equals(conform(LISTED, plain))


@pytest.mark.parametrize(
    ("column", "value", "unclaimed"),
    [
        ("DataDescriptionURI", "CollectionURI", ()),
        ("MaxSubmissionTimestamp", "TimeStamp", ()),
        ("Modality", "modality", ("modality",)),
        ("Modality", "Kind", ("Kind",)),
    ],
)
def test_a_renamed_column_is_read_under_a_known_name_and_named_under_another(
    column: str, value: str, unclaimed: tuple[str, ...], client: Client, sandbox: Sandbox
) -> None:
    plain = client.get_rows("getSeries", Collection=SMALL).table
    sandbox.faults.add(Fault("renamed_column", column=column, value=value))
    reply = client.get_rows("getSeries", Collection=SMALL)
    assert reply.unclaimed == unclaimed
    assert (column in reply.table.column_names) == (not unclaimed)
    if not unclaimed:
        assert in_order(reply.table) == in_order(plain)


def test_a_renamed_key_ends_in_an_error_that_names_it(client: Client, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("renamed_column", column="SeriesInstanceUID", value="Series_UID"))
    reply = client.get_rows("getSeries", Collection=SMALL)
    with pytest.raises(MissingColumn, match=r"SeriesInstanceUID"):
        conform(LISTED, reply.table)


def test_compressed_and_chunked_bodies_are_read(serve: Serve) -> None:
    body = gzip.compress(b'[{"Collection":"A"}]')
    for given in (
        answer(body, Content_Encoding="gzip"),
        chunked(body[:10], body[10:], Content_Encoding="gzip"),
        chunked(b'[{"Collec', b'tion":"A"}]'),
    ):
        server = serve(given)
        with talking(server.url) as client:
            assert client.get_rows("getCollectionValues").table["Collection"].to_pylist() == ["A"]


def test_rows_that_inflate_without_end_do_not_fill_the_memory(serve: Serve) -> None:
    bomb = gzip.compress(bytes(64 << 20), 1)
    server = serve(answer(bomb, Content_Encoding="gzip"))
    with talking(server.url) as client:
        question = client._requests.build("getCollectionValues", {}, "rows")
        tracemalloc.start()
        try:
            with client._send(question, Cost()) as chunks:
                size = sum(map(len, chunks))
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size == 64 << 20
    assert peak < 16 << 20


def _spaces() -> Iterator[bytes]:
    while True:
        yield b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))


ENDLESS = replace(chunked(b"[", is_whole=False), tail=_spaces)


@pytest.fixture(scope="module")
def inflating() -> Answer:
    """Return an answer that is small on its way."""
    return answer(gzip.compress(bytes(80 << 20), 1), Content_Encoding="gzip")


@pytest.mark.parametrize("is_endless", [False, True], ids=["inflating", "endless"])
@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.get_rows("getSeries", Collection="A"),
        lambda c: c.get_rows("getSeries", SeriesInstanceUID="1.2"),
        lambda c: c.get_rows("getCollectionValues"),
        lambda c: c.get_rows("getSOPInstanceUIDs", SeriesInstanceUID="1.2"),
        lambda c: raise_failure(c.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", ["1.2"])),
    ],
    ids=["series", "one series", "collections", "objects", "sizes"],
)
def test_every_reply_has_a_limit_after_it_is_inflated(
    inflating: Answer, call: Callable[[Client], object], serve: Serve, *, is_endless: bool
) -> None:
    server = serve(ENDLESS if is_endless else inflating)
    with talking(server.url, max_reply_bytes=2 << 20) as client:
        with pytest.raises(TooLarge, match=r"more than \d+ bytes, the most that it may have"):
            call(client)
        assert len(server.asked) == 1
        assert [path.name for path in client._scratch.path.iterdir()] == ["lock"]


def raise_failure(rows: SourceRows) -> None:
    assert rows.failure
    raise rows.failure


def test_a_body_of_a_redirect_is_not_read(serve: Serve) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /moved\r\nTransfer-Encoding: chunked\r\n\r\n"
    good = answer('[{"Collection":"A"}]')
    server = serve(lambda asked: good if asked.path == "/moved" else replace(ENDLESS, raw=head))
    with talking(server.url) as client:
        assert client.get_rows("getCollectionValues").table.num_rows == 1


def test_a_foreign_value_is_cut_in_every_error(serve: Serve) -> None:
    long = "x" * 1_000_000
    row = {"SeriesInstanceUID": "1.2", "Collection": long, "TotalSizeInBytes": 1, long: 1}
    server = serve(answer(json.dumps([row])))
    failures = []
    with talking(server.url) as client:
        for call in (
            lambda: client.get_rows("getSeries", Collection="A"),
            lambda: client.get_rows("getSeriesSize", SeriesInstanceUID=f"{long}?"),
        ):
            with pytest.raises(TciaError) as caught:
                call()
            failures.append(caught.value)
        unclaimed = client.get_rows("getSeries", Collection=long).unclaimed
    assert all(len(str(error)) + len(repr(vars(error))) < 40_000 for error in failures)
    assert sum(map(len, unclaimed)) < 400


def test_a_temporary_folder_that_fails_is_an_error_with_a_remedy(client: Client) -> None:
    shutil.rmtree(client._scratch.path)
    with pytest.raises(StorageError, match="set TMPDIR to another folder"):
        client.get_rows("getCollectionValues")
    client._scratch.path.mkdir()


def test_replies_leave_no_file_behind(client: Client, sandbox: Sandbox) -> None:
    folder = client._scratch.path
    client.get_rows("getSeries", Collection=SMALL)
    sandbox.faults.add(Fault("html", times=3))
    with pytest.raises(UnreadableReply):
        client.get_rows("getSeries", Collection=SMALL)
    assert [path.name for path in folder.iterdir()] == ["lock"]
    client.close()
    assert not folder.exists()


# --- Many small replies ---------------------------------------------------------------------------


def uids(client: Client) -> list[str]:
    found: list[str] = (
        client.get_rows("getSeries", Collection=SMALL).table["SeriesInstanceUID"].to_pylist()
    )
    return sorted(found)


@pytest.mark.parametrize("speaks", ["nbia-v4", "nbia-v1", "bindaas-v4"])
@pytest.mark.parametrize("form", FORMATS)
def test_many_questions_give_what_each_would_give_alone(
    speaks: str, form: str, sandbox: Sandbox, tmp_path: Any
) -> None:
    settings = settings_for(sandbox, tmp_path, speaks)
    with Client(settings, form=form, pacing=FAST) as client:
        some = uids(client)[:4]
        together = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", [*some, "1.2.3"])
        alone = [
            client.get_rows("getSeriesSize", SeriesInstanceUID=uid).table.to_pylist()
            for uid in some
        ]
    assert together.failure is None
    assert together.unclaimed == ()
    rows = {row.pop("SeriesInstanceUID"): row for row in together.table.to_pylist()}
    assert rows == {uid: row for uid, (row,) in zip(some, alone, strict=True)} | {
        "1.2.3": {"TotalSizeInBytes": None, "ObjectCount": None}
    }
    assert conform(SERIES_SIZES, together.table, Collection=SMALL).num_rows == 5


def test_no_question_gives_no_row_and_no_request(client: Client, sandbox: Sandbox) -> None:
    replies = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", [])
    assert (replies.table.num_rows, replies.cost.requests, len(sandbox.requests)) == (0, 0, 0)
    assert replies.table.column_names == ["SeriesInstanceUID", "TotalSizeInBytes", "ObjectCount"]


def test_many_questions_cost_what_was_asked_and_received(client: Client, sandbox: Sandbox) -> None:
    some = uids(client)
    sandbox.requests.clear()
    replies = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", some)
    assert replies.cost.requests == sandbox.requests["getSeriesSize"] == len(some)
    assert replies.cost.size_bytes > 30 * len(some)
    assert sandbox.requests.most_at_once <= client.settings.max_connections


def test_the_first_failure_ends_the_asking_and_what_came_before_is_kept(
    client: Client, sandbox: Sandbox
) -> None:
    some = uids(client)
    sandbox.faults.add(Fault("status", series=some[3], status=400, times=0))
    replies = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", some)
    assert isinstance(replies.failure, RequestRefused)
    assert replies.table["SeriesInstanceUID"].to_pylist() == some[:3]


@pytest.mark.parametrize("body", ["<html>", '[{"errorMessage":"x"}]', '{"ObjectCount":1}', "[1]"])
def test_a_small_reply_that_is_no_rows_is_a_failure_with_its_excerpt(
    body: str, serve: Serve
) -> None:
    server = serve(answer(body))
    with talking(server.url) as client:
        replies = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", ["1.2.3"])
    assert isinstance(replies.failure, UnreadableReply)
    assert replies.failure.excerpt == body
    assert len(server.asked) == 3


def test_a_small_reply_of_another_series_is_a_failure(serve: Serve) -> None:
    server = serve(answer('[{"SeriesInstanceUID":"9.9","ObjectCount":1}]'))
    with talking(server.url) as client:
        replies = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", ["1.2.3"])
    assert isinstance(replies.failure, ForeignRows)


def test_fields_of_small_replies_that_no_column_claims_are_named(serve: Serve) -> None:
    server = serve(answer('[{"ObjectCount":1,"New":2}]'))
    with talking(server.url) as client:
        replies = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", ["1.2.3"])
    assert replies.unclaimed == ("New",)
    assert replies.table.to_pylist() == [{"SeriesInstanceUID": "1.2.3", "ObjectCount": 1}]


def test_an_unreadable_value_in_a_small_reply_has_its_series(serve: Serve) -> None:
    server = serve(answer('[{"TotalSizeInBytes":5,"ObjectCount":1.5}]'))
    with talking(server.url) as client:
        replies = client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", ["1.2.3"])
    assert replies.table.to_pylist() == [{"SeriesInstanceUID": "1.2.3", "TotalSizeInBytes": 5}]
    assert replies.promised == ("TotalSizeInBytes", "ObjectCount")
    found = replies.unreadable["ObjectCount"]
    assert found.rows["SeriesInstanceUID"].to_pylist() == ["1.2.3"]
    assert found.texts.to_pylist() == ["1.5"]


@pytest.mark.parametrize(
    ("released", "expectation"),
    [
        ('"garbled"', nullcontext()),
        ("null", pytest.raises(ForeignRows)),
        ('"01-01-1980"', pytest.raises(ForeignRows)),
    ],
)
def test_a_release_date_that_cannot_be_read_does_not_make_a_row_foreign(
    released: str, expectation: Any, serve: Serve
) -> None:
    rows = (
        '[{"SeriesInstanceUID":"1.2","DateReleased":"01-02-2020"},'
        f'{{"SeriesInstanceUID":"1.3","DateReleased":{released}}}]'
    )
    with talking(serve(answer(rows)).url) as client, expectation:
        client.get_rows("getUpdatedSeries", since=date(2020, 1, 1))
