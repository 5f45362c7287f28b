from __future__ import annotations

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


def test_without_credentials_nothing_is_signed_renewed_or_redacted() -> None:
    nothing = Credentials()
    request = object()
    assert nothing.sign(request) is request
    assert not nothing.may_have_expired(RequestRefused("no", status=401))
    nothing.renew()
    assert nothing.redact("as it is") == "as it is"
    assert nothing.headers == ()
