"""Tokens and keys: when they are fetched, and that they show nowhere."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    RemoteError,
    RequestRefused,
    TciaError,
    TooLarge,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Target
from tcia_assets.sources.nbia.credentials import ApiKey, Bearer, Credentials
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.sources.conftest import FAST, HASTY, SECRETS, Serve, talking
from tcia_assets_tests.sources.scripted import HANGING, Answer, Asked, answer

GOOD = answer('[{"Collection":"A"}]')
SINCE = date(1990, 1, 1)


def token(value: str = "t0k3n-s3cr3t", expires_in: object = 300) -> Answer:
    return answer(json.dumps({"access_token": value, "expires_in": expires_in}))


def is_token(asked: Asked) -> bool:
    return asked.path == "/nbia-api/oauth/token"


@pytest.fixture
def opened(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The sandbox with nothing counted and its tokens' usual life."""
    sandbox.requests.clear()
    life = sandbox.authenticator.expires_in
    yield sandbox
    sandbox.authenticator.expires_in = life


def account(sandbox: Sandbox) -> dict[str, Any]:
    access = sandbox.authenticator
    return {"username": access.username, "password": access.password, "api_key": access.api_key}


# --- A token's life, with a clock of the test's ---------------------------------------------------


class Account:
    """A token server, and a clock that a test moves."""

    def __init__(self, *lives: float) -> None:
        self.now, self.lives, self.sent = 1000.0, list(lives), 0

    def send(self, _url: str, form: dict[str, str]) -> dict[str, object]:
        assert form == {
            "username": "me",
            "password": "p4ss",
            "client_id": "NBIA",
            "grant_type": "password",
        }
        self.sent += 1
        return {"access_token": f"t{self.sent}", "expires_in": self.lives[self.sent - 1]}

    def bearer(self) -> Bearer:
        return Bearer("http://host/oauth/token", "me", "p4ss", self.send, lambda: self.now)


class Request:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


def signed(credentials: Credentials) -> dict[str, str]:
    headers: dict[str, str] = credentials.sign(Request()).headers
    return headers


def test_a_token_is_kept_for_four_fifths_of_its_life() -> None:
    account = Account(300, 100, 100)
    bearer = account.bearer()
    used = []
    for now in (0, 100, 239.9, 240.1, 300, 320, 320.2):
        account.now = 1000 + now
        used.append(signed(bearer)["Authorization"])
    assert used == ["Bearer t1"] * 3 + ["Bearer t2"] * 3 + ["Bearer t3"]


def test_a_token_that_is_renewed_is_fetched_once_for_all_that_used_the_old_one() -> None:
    account = Account(300, 300, 300)
    bearer = account.bearer()
    with ThreadPoolExecutor(2) as one, ThreadPoolExecutor(1) as other:
        one.submit(signed, bearer).result()
        other.submit(signed, bearer).result()
        one.submit(bearer.renew).result()
        assert one.submit(signed, bearer).result() == {"Authorization": "Bearer t2"}
        other.submit(bearer.renew).result()  # its token is the old one, which is gone already
        assert other.submit(signed, bearer).result() == {"Authorization": "Bearer t2"}


def test_what_may_be_an_expired_token_is_told_from_other_errors() -> None:
    bearer = Account(300).bearer()
    assert bearer.may_have_expired(RequestRefused("no", status=401, url="http://host/v2/x"))
    assert bearer.may_have_expired(UnknownReply("nothing"))
    assert not bearer.may_have_expired(RequestRefused("no", status=403))
    assert not bearer.may_have_expired(ArchiveBroken("down", status=503))
    wrong_password = RequestRefused("no token", status=401, url="http://host/oauth/token")
    assert not bearer.may_have_expired(wrong_password)
    for other in (Credentials(), ApiKey("key")):
        assert not other.may_have_expired(RequestRefused("no", status=401))


# --- Tokens over HTTP -----------------------------------------------------------------------------


def test_a_token_is_fetched_once_and_used_by_all_threads(opened: Sandbox) -> None:
    with (
        talking(opened.url, "nbia-v2", **account(opened)) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        replies = list(threads.map(lambda _: client.get_rows("getCollectionValues"), range(16)))
    assert len({str(reply.table) for reply in replies}) == 1
    assert (opened.requests["token"], opened.requests["getCollectionValues"]) == (1, 16)


def test_the_token_is_asked_for_below_the_host_of_the_archive_in_a_form(serve: Serve) -> None:
    server = serve(lambda asked: token() if is_token(asked) else GOOD)
    with talking(server.url, "nbia-v2") as client:
        client.get_rows("getCollectionValues")
    first, second = server.asked
    assert (first.method, first.target) == ("POST", "/nbia-api/oauth/token")
    assert sorted(first.body.split("&")) == [
        "client_id=NBIA",
        "grant_type=password",
        "password=p4ss-s3cr3t",
        "username=us3r",
    ]
    assert "Authorization" not in first.headers
    assert second.headers["Authorization"] == "Bearer t0k3n-s3cr3t"


def test_an_expired_token_that_is_refused_is_renewed_once(opened: Sandbox) -> None:
    with talking(opened.url, "nbia-v2", **account(opened)) as client:
        client.get_rows("getCollectionValues")
        opened.authenticator.expire()
        assert client.get_rows("getCollectionValues").cost.requests == 2
    assert opened.requests["token"] == 2


def test_an_expired_token_that_is_answered_with_nothing_is_renewed_once(opened: Sandbox) -> None:
    with talking(opened.url, "nbia-v2", **account(opened)) as client:
        before = client.get_rows("getSeries", Collection=SMALL).table
        opened.authenticator.expire()
        after = client.get_rows("getSeries", Collection=SMALL)
    assert after.table.num_rows == before.num_rows > 0
    assert after.cost.requests == 2
    assert opened.requests["token"] == 2


def test_an_expired_token_never_looks_like_no_news(opened: Sandbox) -> None:
    with talking(opened.url, "nbia-v2", **account(opened)) as client:
        before = client.get_rows("getUpdatedSeries", since=SINCE).table
        opened.authenticator.expire()
        after = client.get_rows("getUpdatedSeries", since=SINCE).table
    assert after.num_rows == before.num_rows > 0


def test_images_with_an_expired_token_are_asked_for_again(opened: Sandbox, tmp_path: Path) -> None:
    with talking(opened.url, "nbia-v2", **account(opened)) as client:
        uid = client.get_rows("getSeries", Collection=SMALL).table["SeriesInstanceUID"][0].as_py()
        opened.authenticator.expire()
        got = client.download("getImage", Target(tmp_path / "zip"), SeriesInstanceUID=uid)
    assert got.requests == 2
    assert opened.requests["token"] == 2


def test_a_token_that_is_refused_twice_is_the_end(serve: Serve) -> None:
    server = serve(lambda asked: token() if is_token(asked) else answer("", 401))
    with talking(server.url, "nbia-v2") as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert [is_token(asked) for asked in server.asked] == [True, False, True, False]
    assert caught.value.status == 401


def test_an_open_dialect_that_is_refused_does_not_ask_again(serve: Serve) -> None:
    server = serve(answer("", 401))
    with talking(server.url) as client, pytest.raises(RequestRefused):
        client.get_rows("getCollectionValues")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_wrong_password_is_tried_once_and_named(status: int, serve: Serve) -> None:
    server = serve(answer('{"error":"invalid_grant p4ss-s3cr3t"}', status))
    with talking(server.url, "nbia-v2") as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert len(server.asked) == 1
    assert "TCIA_USERNAME and TCIA_PASSWORD" in str(caught.value)
    assert "p4ss-s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "error", "attempts"),
    [
        (answer("", 503), ArchiveBroken, 5),
        (answer("", 500), ArchiveBroken, 3),
        (answer("", 429), ArchiveBroken, 5),
        (answer("<html>"), UnreadableReply, 3),
        (answer("[]"), UnreadableReply, 3),
        (answer("{}"), UnreadableReply, 3),
        (token(expires_in="300"), UnreadableReply, 3),
        (token("x" * (1 << 20)), TooLarge, 1),
        (answer(gzip.compress(bytes(9 << 20)), Content_Encoding="gzip"), TooLarge, 1),
        (token("with\nline"), UnreadableReply, 3),
        (token("é"), UnreadableReply, 3),
        (Answer(b"", "reset"), ArchiveUnreachable, 5),
        pytest.param(HANGING, ArchiveUnreachable, 5, marks=pytest.mark.slow),
    ],
)
def test_a_token_server_that_fails_is_asked_as_often_as_the_archive(
    given: Answer, error: type[RemoteError], attempts: int, serve: Serve
) -> None:
    server = serve(given)
    pacing = HASTY if given is HANGING else FAST
    with talking(server.url, "nbia-v2", pacing=pacing) as client, pytest.raises(error) as caught:
        client.get_rows("getCollectionValues")
    assert len(server.asked) == attempts
    assert all(is_token(asked) for asked in server.asked)
    assert caught.value.url == f"{server.url}/nbia-api/oauth/token"


def test_a_password_never_follows_a_redirect(serve: Serve) -> None:
    other = serve(token())
    server = serve(answer("", 307, Location=f"{other.url}/nbia-api/oauth/token"))
    with talking(server.url, "nbia-v2") as client, pytest.raises(RequestRefused):
        client.get_rows("getCollectionValues")
    assert other.asked == []


# --- Keys -----------------------------------------------------------------------------------------


def test_a_key_travels_as_a_header_only(opened: Sandbox, serve: Serve) -> None:
    server = serve(GOOD)
    with talking(server.url, "bindaas-v3") as client:
        client.get_rows("getCollectionValues")
    (asked,) = server.asked
    assert asked.headers["api_key"] == SECRETS["api_key"]
    assert SECRETS["api_key"] not in asked.target
    with talking(opened.url, "bindaas-v3", **account(opened)) as client:
        assert client.get_rows("getCollectionValues").table.num_rows > 1


def test_a_wrong_key_is_refused_at_once(opened: Sandbox) -> None:
    with talking(opened.url, "bindaas-v3") as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert caught.value.status == 401
    assert len(opened.requests) == 1


@pytest.mark.parametrize("speaks", ["nbia-v2", "bindaas-v3"])
def test_secrets_follow_a_redirect_on_the_same_host(speaks: str, serve: Serve) -> None:
    def handler(asked: Asked) -> Answer:
        if is_token(asked):
            return token()
        return GOOD if asked.path == "/moved" else answer("", 302, Location="/moved")

    server = serve(handler)
    with talking(server.url, speaks) as client:
        client.get_rows("getCollectionValues")
    assert server.asked[-1].path == "/moved"
    assert {"Authorization", "api_key"} & server.asked[-1].headers.keys()


@pytest.mark.parametrize("speaks", ["nbia-v2", "bindaas-v3"])
def test_a_redirect_to_another_host_is_not_followed(speaks: str, serve: Serve) -> None:
    other = serve(GOOD)
    location = f"{other.url}/moved"
    server = serve(lambda asked: token() if is_token(asked) else answer("", 302, Location=location))
    with talking(server.url, speaks) as client, pytest.raises(UnreadableReply) as caught:
        client.get_rows("getCollectionValues")
    assert f"another host, '127.0.0.1:{other.port}', is not followed" in str(caught.value)
    assert other.asked == []


@pytest.mark.parametrize("speaks", ["nbia-v4", "bindaas-v3"])
def test_a_netrc_adds_no_password(
    speaks: str, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password n3trc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(
        lambda asked: GOOD if asked.path == "/moved" else answer("", 302, Location="/moved")
    )
    with talking(server.url, speaks) as client:
        client.get_rows("getCollectionValues")
    assert all("Authorization" not in asked.headers for asked in server.asked)


# --- Secrets show nowhere -------------------------------------------------------------------------

ALL_SECRETS = [*SECRETS.values(), "t0k3n-s3cr3t"]
ECHO = " ".join([*ALL_SECRETS, *(quote_plus(f"{each}/&") for each in ALL_SECRETS)])
IN_BASE64 = " ".join(
    base64.b64encode(f"{'u' * before}:{each}!".encode()).decode()
    for each in ALL_SECRETS
    for before in range(3)
)
ENDS: dict[str, Answer] = {
    "a good answer": GOOD,
    "a refusal": answer(f"Invalid key {ECHO}", 401),
    "a failure": answer(f"no {ECHO}", 500),
    "busy": answer(f"no {ECHO}", 503),
    "a page": answer(f"<html>{ECHO}</html>"),
    "in Base64": answer(f"no {IN_BASE64}", 401),
    "in a redirect": answer("", 302, Location=f"/again/{ECHO.replace(' ', '/')}"),
    "in a redirect elsewhere": answer("", 302, Location=f"http://{ALL_SECRETS[0]}.org/{ECHO}"),
    "a value that is none": answer(f'[{{"Collection":"A", "SeriesInstanceUID": "{ECHO}"}}]'),
    "cut rows": answer(f'[{{"Collection":"{ECHO}"'),
    "a cut body": answer(ECHO, promised=1000, then="close"),
    "reset": Answer(b"", "reset"),
    "a circle": answer("", 302, Location="/again"),
}


@pytest.mark.parametrize("speaks", ["nbia-v2", "bindaas-v3"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_no_secret_shows_in_a_url_an_error_or_a_log(
    speaks: str, end: Answer, serve: Serve, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(lambda asked: token() if is_token(asked) else end)
    texts = []
    with talking(server.url, speaks) as client:
        for put in (
            lambda: client.get_rows("getCollectionValues"),
            lambda: client.get_rows("getSeries", Collection="A"),
            lambda: client.get_rows_for_each("getSeriesSize", "SeriesInstanceUID", ["1.2"]),
            lambda: client.download("getImage", Target(tmp_path / "zip"), SeriesInstanceUID="1.2"),
        ):
            try:
                texts.append(repr(put()))
            except TciaError as error:
                texts += [str(error), repr(error), repr(vars(error))]
                texts += traceback.format_exception(error)
        texts += [repr(client), repr(client.settings), repr(vars(client))]
    texts += [asked.target for asked in server.asked]
    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    texts += [caplog.text, *(repr(vars(record)) for record in caplog.records)]
    secret = (
        [SECRETS["api_key"]] if speaks == "bindaas-v3" else [SECRETS["password"], "t0k3n-s3cr3t"]
    )
    for each in list(secret):
        secret += [base64.b64encode(each.encode()[k:]).decode()[:8] for k in range(3)]
    for text in texts:
        assert not any(each in text for each in secret)


def test_credentials_show_no_secret_of_theirs() -> None:
    bearer = Account(300).bearer()
    signed(bearer)
    for shown in (repr(bearer), str(bearer), repr(ApiKey("k3y"))):
        assert not any(secret in shown for secret in ("p4ss", "k3y", "'t1'"))
    assert bearer.redact("wrong p4ss") == "wrong ***"
    assert ApiKey("k3y").redact("key k3y?") == "key ***?"
    assert Credentials().redact("as it is") == "as it is"


def test_a_secret_that_an_excerpt_cuts_in_two_does_not_show_its_beginning() -> None:
    key = ApiKey("abcdefgh12345678")

    assert key.redact("no such key: abcdefgh123") == "no such key: ***"
    assert key.redact("no such key: abcdefgh12345678, sorry") == "no such key: ***, sorry"
