from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from tcia_assets.errors import RequestRefused
from tcia_assets.sources.http.credentials import Credentials


class Secret(Credentials):
    def _secrets(self) -> list[str]:
        return ["abcdefgh12345678", "s3cr3t"]


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("key abcdefgh12345678 or s3cr3t, sorry", "key *** or ***, sorry"),
        ("cut within the key: abcdefgh123", "cut within the key: ***"),
        ("cut after three letters: s3c", "cut after three letters: ***"),
        ("two letters are not worth it: s3", "two letters are not worth it: s3"),
        ("only at the end: s3cr and so on", "only at the end: s3cr and so on"),
        ("", ""),
    ],
)
def test_secrets_are_redacted_wholly_and_at_a_cut(text: str, redacted: str) -> None:
    assert Secret().redact(text) == redacted


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "user: "])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_in_base64_is_redacted(before: str, encode: Callable[[bytes], bytes]) -> None:
    text = encode(f"{before}abcdefgh12345678\xff?".encode("latin-1")).decode()
    redacted = Secret().redact(f"basic {text} no")

    assert "***" in redacted
    shown = redacted.removeprefix("basic ").partition("***")[0]
    assert b"ab" not in base64.b64decode(shown[: len(shown) // 4 * 4])


def test_an_encoded_secret_is_redacted() -> None:
    class Odd(Credentials):
        def _secrets(self) -> list[str]:
            return ["a/b c'd"]

    assert Odd().redact("a%2Fb%20c%27d a%2Fb+c%27d a/b c'd") == "*** *** ***"


def test_without_credentials_nothing_is_signed_renewed_or_redacted() -> None:
    nothing = Credentials()
    request = object()
    assert nothing.sign(request) is request
    assert not nothing.may_have_expired(RequestRefused("no", status=401))
    nothing.renew()
    assert nothing.redact("as it is") == "as it is"
    assert nothing.headers == ()
