"""When the same question is sent again, after what pause, and what is said in the end."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime

import pytest

from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    RemoteError,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.progress import notes_to
from tcia_assets.sources import Pacing
from tcia_assets_tests.sources.conftest import FAST, HASTY, Serve, talking
from tcia_assets_tests.sources.scripted import HANGING, RESET, Answer, answer, chunked, in_turn

GOOD = answer('[{"Collection":"A"}]')
BUSY = [408, 425, 429, 502, 503, 504]


@dataclass(frozen=True)
class Noted(Pacing):
    """Waits no longer than a moment, and notes how long it should have."""

    waits: list[float] = field(default_factory=list)
    longest_retry_after_s: float = 300.0

    def wait_s(self, error: RemoteError, attempt: int, chance: float) -> float:
        self.waits.append(super().wait_s(error, attempt, chance))
        return 0.001


# --- Statuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "attempts"),
    [*((status, 5) for status in BUSY), (500, 3), (501, 5), (599, 5)],
)
def test_a_status_that_may_pass_is_asked_again_and_at_last_reported(
    status: int, attempts: int, serve: Serve
) -> None:
    server = serve(answer("<html>\n<h1>No</h1></html>", status))
    with talking(server.url) as client, pytest.raises(ArchiveBroken) as caught:
        client.get_rows("getCollectionValues")
    assert len(server.asked) == attempts
    error = caught.value
    assert not isinstance(error, ArchiveUnreachable)
    assert (error.status, error.excerpt) == (status, "<html> <h1>No</h1></html>")
    assert error.url.startswith(f"{server.url}/nbia-api/services/v4/getCollectionValues")
    assert f"gave up after {attempts} attempts in 0 s; nothing was changed" in str(error)


@pytest.mark.parametrize("status", [*BUSY, 500])
def test_a_status_that_passes_is_not_reported(status: int, serve: Serve) -> None:
    server = serve([answer("no", status), answer("no", status), GOOD])
    with talking(server.url) as client:
        reply = client.get_rows("getCollectionValues")
    assert reply.table["Collection"].to_pylist() == ["A"]
    assert reply.cost.requests == len(server.asked) == 3


# --- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_honoured(status: int, serve: Serve) -> None:
    pacing = Noted()
    server = serve([answer("", status, Retry_After="7"), GOOD])
    with talking(server.url, pacing=pacing) as client:
        client.get_rows("getCollectionValues")
    assert pacing.waits == [7.0]


def test_retry_after_as_a_date_is_honoured(serve: Serve) -> None:
    pacing = Noted()
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    server = serve([answer("", 429, Retry_After=then), GOOD])
    with talking(server.url, pacing=pacing) as client:
        client.get_rows("getCollectionValues")
    assert 90 < pacing.waits[0] <= 100


def test_a_long_wait_is_noted_with_its_cause_its_length_and_the_attempt(serve: Serve) -> None:
    notes: list[str] = []
    server = serve([answer("", 429, Retry_After="999999999"), RESET, GOOD])
    pacing = replace(FAST, longest_silent_wait_s=0.005)
    with notes_to(notes.append), talking(server.url, pacing=pacing) as client:
        client.get_rows("getCollectionValues")
    [noted] = notes  # none of the short wait after the second failure
    assert noted == (
        f"127.0.0.1:{server.port}: the source is busy or down (status 429); "
        "waiting 0 s before attempt 2 of 5"
    )


# --- Connections ----------------------------------------------------------------------------------


BROKEN_BODIES = {
    "reset at once": RESET,
    "closed at once": Answer(b"", "close"),
    "cut in the headers": Answer(b"HTTP/1.1 200 OK\r\nContent-Le", "close"),
    "cut in the body": answer('[{"Collection":"A"}', promised=1000, then="close"),
    "reset in the body": answer('[{"Collection":"A"}', promised=1000, then="reset"),
    "without the last chunk": chunked(b'[{"Collection":"A"}]', is_whole=False),
    "hangs at once": HANGING,
    "hangs in the body": answer('[{"Collection":"A"}', promised=1000, then="hang"),
    "no HTTP": Answer(b"SSH-2.0-OpenSSH\r\n\r\n", "close"),
}


@pytest.mark.parametrize("broken", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
def test_a_connection_that_breaks_is_tried_again(broken: Answer, serve: Serve) -> None:
    server = serve([broken, broken, GOOD])
    with talking(server.url, pacing=HASTY if broken.then == "hang" else FAST) as client:
        reply = client.get_rows("getCollectionValues")
    assert reply.table["Collection"].to_pylist() == ["A"]
    assert reply.cost.requests == len(server.asked) == 3


@pytest.mark.parametrize(
    # Headers that are cut look like a whole answer of zero bytes, which is unknown and safe too.
    "broken",
    [pytest.param(body, id=name) for name, body in BROKEN_BODIES.items() if "headers" not in name],
)
def test_a_connection_that_always_breaks_is_an_unreachable_archive(
    broken: Answer, serve: Serve
) -> None:
    pacing = replace(HASTY if broken.then == "hang" else FAST, attempts=2)
    server = serve(broken)
    with (
        talking(server.url, pacing=pacing) as client,
        pytest.raises(ArchiveUnreachable, match="nothing was changed") as caught,
    ):
        client.get_rows("getCollectionValues")
    assert len(server.asked) == 2
    assert caught.value.status is None
    assert f"no response from 127.0.0.1:{server.port}" in str(caught.value)


@pytest.mark.parametrize(("attempts", "tries"), [(1, "1 attempt"), (4, "4 attempts")])
def test_an_archive_that_refuses_connections_is_named_with_how_long_was_tried(
    attempts: int, tries: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    url, pacing = f"http://127.0.0.1:{port}", Pacing(attempts=attempts, first_wait_s=0.001)
    with talking(url, pacing=pacing) as client, pytest.raises(ArchiveUnreachable) as caught:
        client.get_rows("getCollectionValues")
    assert str(caught.value).startswith(
        f"no response from 127.0.0.1:{port}: the host refuses connections; "
        f"gave up after {tries} in 0 s; nothing was changed; {url}"
    )
    assert caught.value.retryable


def test_redirects_in_a_circle_end(serve: Serve) -> None:
    server = serve(answer("", 302, Location="/again"))
    pacing = Pacing(attempts=1)
    with (
        talking(server.url, pacing=pacing) as client,
        pytest.raises(ArchiveUnreachable, match="too many redirects"),
    ):
        client.get_rows("getCollectionValues")


def test_a_redirect_is_followed(serve: Serve) -> None:
    server = serve(
        lambda asked: GOOD if asked.path == "/moved" else answer("", 301, Location="/moved")
    )
    with talking(server.url) as client:
        assert client.get_rows("getCollectionValues").table.num_rows == 1


# --- Replies that are no rows ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", UnknownReply),
        ("[]", UnknownReply),
        ("<html><h1>Down for maintenance</h1></html>", UnreadableReply),
        ('[{"Collection":"A"},', UnreadableReply),
        ('{"errorMessage":"java.lang.Null"}', UnreadableReply),
    ],
)
def test_a_reply_without_rows_is_asked_again_a_few_times(
    body: str, error: type[RemoteError], serve: Serve
) -> None:
    server = serve(answer(body))
    with talking(server.url) as client, pytest.raises(error) as caught:
        client.get_rows("getCollectionValues")
    assert len(server.asked) == 3
    assert caught.value.excerpt == body if body not in {"", "[]"} else caught.value.excerpt == ""
    assert "gave up after 3 attempts" in str(caught.value)
    server = serve([answer(body), GOOD])
    with talking(server.url) as client:
        assert client.get_rows("getCollectionValues").cost.requests == 2


def test_no_data_found_is_an_answer_only_where_nothing_is_one(serve: Serve) -> None:
    nothing = answer("No data found.", 500)
    server = serve(lambda asked: GOOD if "getCollectionValues" in asked.path else nothing)
    with talking(server.url, "nbia-v1") as client:
        reply = client.get_rows("getUpdatedSeries", since=date(2020, 1, 5))
        assert reply.table.num_rows == 0
        assert "DateReleased" in reply.table.column_names
        assert reply.cost.requests == len(server.asked) == 3
        with pytest.raises(ArchiveBroken):
            client.get_rows("getSeries", Collection="A")


def test_another_500_is_a_failure_even_where_nothing_is_an_answer(serve: Serve) -> None:
    server = serve(answer("Server was not able to process your request\nnull", 500))
    with talking(server.url, "nbia-v1") as client, pytest.raises(ArchiveBroken) as caught:
        client.get_rows("getUpdatedSeries", since=date(2020, 1, 5))
    assert len(server.asked) == 3
    assert caught.value.excerpt == "Server was not able to process your request null"


def test_different_failures_in_a_row_count_together(serve: Serve) -> None:
    server = serve(in_turn(RESET, answer("", 503), answer("<html>"), GOOD))
    with talking(server.url, pacing=FAST) as client, pytest.raises(UnreadableReply):
        client.get_rows("getCollectionValues")
    assert len(server.asked) == 3
