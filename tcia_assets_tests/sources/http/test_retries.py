"""When the same question is sent again, after what pause, and what is said in the end."""

from __future__ import annotations

import gzip
import socket
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    NotPublic,
    RemoteError,
    RequestRefused,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.sources import Pacing
from tcia_assets.sources.http import responses
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


# --- The pauses, as a function --------------------------------------------------------------------


@given(attempt=st.integers(1, 60), chance=st.floats(0, 1, exclude_max=True))
def test_pauses_double_up_to_the_longest_and_are_spread(attempt: int, chance: float) -> None:
    pacing = Pacing(first_wait_s=0.5, longest_wait_s=30)
    longest = min(30, 0.5 * 2 ** (attempt - 1))
    wait = pacing.wait_s(ArchiveBroken("busy"), attempt, chance)
    assert longest / 2 <= wait <= longest


def test_pauses_grow() -> None:
    waits = [Pacing().wait_s(ArchiveBroken("busy"), attempt, 0.5) for attempt in range(1, 6)]
    assert waits == sorted(set(waits))


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (7.0, 7.0), (100.0, 60.0)])
def test_what_the_archive_asks_to_wait_is_waited_up_to_a_limit(asked: float, waited: float) -> None:
    error = ArchiveBroken("busy")
    error.retry_after_s = asked
    assert Pacing(longest_retry_after_s=60).wait_s(error, 1, 0.9) == waited


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (ArchiveBroken("down", status=503), 5),
        (ArchiveBroken("cut"), 5),
        (ArchiveBroken("typo?", status=500), 3),
        (UnknownReply("nothing"), 3),
        (UnreadableReply("html"), 3),
        (RequestRefused("no", status=400), 1),
        (NotPublic("no", status=400), 1),
    ],
)
def test_how_often_is_asked_depends_on_what_asking_again_can_help(
    error: RemoteError, attempts: int
) -> None:
    made = 1
    while Pacing().may_retry(error, made):
        made += 1
    assert made == attempts


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
    assert f"tried {attempts} times in 0 s, nothing was changed" in str(error)


@pytest.mark.parametrize("status", [*BUSY, 500])
def test_a_status_that_passes_is_not_reported(status: int, serve: Serve) -> None:
    server = serve([answer("no", status), answer("no", status), GOOD])
    with talking(server.url) as client:
        reply = client.get_rows("getCollectionValues")
    assert reply.table["Collection"].to_pylist() == ["A"]
    assert reply.requests == len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422])
def test_a_refusal_is_never_asked_again(status: int, serve: Serve) -> None:
    said = "Invalid query parameter: 'x'. Allowed parameters are: [Collection]"
    server = serve(answer(said, status, Content_Type="application/json"))
    with talking(server.url) as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert len(server.asked) == 1
    assert (caught.value.status, caught.value.excerpt) == (status, said)
    assert not isinstance(caught.value, NotPublic)
    assert "tried" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "said",
    [
        "Image with given SeriesInstanceUID,1.2.3, is not in public domain.",
        "The user has not been granted the access to image with given SeriesInstanceUID,1.2.3.",
    ],
)
def test_images_that_are_not_public_are_told_from_other_refusals(
    said: str, serve: Serve, tmp_path: Path
) -> None:
    server = serve(answer(said, 400, Content_Type="application/json"))
    with talking(server.url) as client, pytest.raises(NotPublic) as caught:
        client.download("getImage", tmp_path / "zip", SeriesInstanceUID="1.2.3")
    assert len(server.asked) == 1
    assert caught.value.excerpt == said[:200]
    assert not (tmp_path / "zip").exists()


def test_a_long_error_page_is_read_in_part_only(serve: Serve) -> None:
    server = serve(answer(b"x" * 50_000_000, 400))
    with talking(server.url) as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert caught.value.excerpt == "x" * 200


def test_an_error_page_that_is_cut_is_still_that_error(serve: Serve) -> None:
    server = serve(answer("no", 503, promised=1000, then="close"))
    with talking(server.url) as client, pytest.raises(ArchiveBroken) as caught:
        client.get_rows("getCollectionValues")
    assert caught.value.status == 503


def test_an_error_page_in_latin1_or_compressed_is_readable(serve: Serve) -> None:
    packed = gzip.compress("Wartung für alle".encode("latin-1"))
    server = serve(answer(packed, 400, Content_Encoding="gzip"))
    with talking(server.url) as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert caught.value.excerpt == "Wartung für alle"


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


@pytest.mark.parametrize(
    ("said", "longest"),
    [
        ("soon", 0.5),
        ("-5", 0.5),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("99999", 300.0),
    ],
)
def test_retry_after_that_makes_no_sense_is_bounded(
    said: str, longest: float, serve: Serve
) -> None:
    pacing = Noted()
    server = serve([answer("", 429, Retry_After=said), GOOD])
    with talking(server.url, pacing=pacing) as client:
        client.get_rows("getCollectionValues")
    assert 0 <= pacing.waits[0] <= longest


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
    "says gzip and is not": answer('[{"Collection":"A"}]', Content_Encoding="gzip"),
}


@pytest.mark.parametrize("broken", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
def test_a_connection_that_breaks_is_tried_again(broken: Answer, serve: Serve) -> None:
    server = serve([broken, broken, GOOD])
    with talking(server.url, pacing=HASTY if broken.then == "hang" else FAST) as client:
        reply = client.get_rows("getCollectionValues")
    assert reply.table["Collection"].to_pylist() == ["A"]
    assert reply.requests == len(server.asked) == 3


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
    assert f"127.0.0.1:{server.port} gives no answer" in str(caught.value)


@pytest.mark.parametrize("attempts", [1, 4])
def test_an_archive_that_refuses_connections_is_named_with_how_long_was_tried(
    attempts: int,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    url, pacing = f"http://127.0.0.1:{port}", Pacing(attempts=attempts, first_wait_s=0.001)
    with talking(url, pacing=pacing) as client, pytest.raises(ArchiveUnreachable) as caught:
        client.get_rows("getCollectionValues")
    assert str(caught.value).startswith(
        f"127.0.0.1:{port} gives no answer: the host refuses connections; "
        f"tried {attempts} times in 0 s, nothing was changed; {url}"
    )
    assert caught.value.retryable


def test_a_host_whose_certificate_nobody_vouches_for_is_unreachable_in_words() -> None:
    error = requests.exceptions.SSLError("certificate verify failed")
    assert "certificate" in responses.describe(error)


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
    assert "tried 3 times" in str(caught.value)
    server = serve([answer(body), GOOD])
    with talking(server.url) as client:
        assert client.get_rows("getCollectionValues").requests == 2


def test_no_data_found_is_an_answer_only_where_nothing_is_one(serve: Serve) -> None:
    nothing = answer("No data found.", 500)
    server = serve(lambda asked: GOOD if "getCollectionValues" in asked.path else nothing)
    with talking(server.url, "nbia-v1") as client:
        reply = client.get_rows("getUpdatedSeries", since=date(2020, 1, 5))
        assert reply.table.num_rows == 0
        assert "DateReleased" in reply.table.column_names
        assert reply.requests == len(server.asked) == 3
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
