from __future__ import annotations

import pytest

from tcia_assets.sources.http.text import decode, excerpt


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("é".encode(), "é"),
        (b"\xef\xbb\xbf\xc3\xa9", "é"),
        ("é".encode("latin-1"), "é"),
        (bytes(range(256)), bytes(range(256)).decode("latin-1")),
        (b"", ""),
    ],
)
def test_a_body_is_utf8_or_else_latin1(body: bytes, text: str) -> None:
    assert decode(body) == text


def test_the_beginning_of_a_body_is_one_short_line() -> None:
    assert excerpt(b"<html>\n  <b>Down</b>\n" + b"x" * 10**6) == "<html> <b>Down</b> " + "x" * 181
    assert excerpt(b"") == ""
