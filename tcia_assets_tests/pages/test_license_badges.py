"""Licences in plain words."""

from __future__ import annotations

import pytest

from tcia_assets.pages.license_badges import LIMITED, OPEN, UNKNOWN, badge


@pytest.mark.parametrize(
    ("name", "short", "kind", "asks"),
    [
        ("Creative Commons Attribution 4.0 International License", "CC BY 4.0", OPEN, "Credit"),
        ("CC BY-NC 3.0", "CC BY-NC 3.0", LIMITED, "No commercial use"),
        ("CC-BY-NC-ND-4.0", "CC BY-NC-ND 4.0", LIMITED, "Do not distribute changed"),
        ("CC0 1.0", "CC0 1.0", OPEN, "Nothing"),
        ("TCIA Restricted License", "TCIA Restricted License", UNKNOWN, "Read its terms"),
        ("", "No licence stated", UNKNOWN, "ask TCIA"),
    ],
)
def test_a_licence_says_what_it_asks(name: str, short: str, kind: str, asks: str) -> None:
    found = badge(name)
    assert (found.short, found.kind) == (short, kind)
    assert asks in " ".join(found.asks)


def test_a_licence_without_a_name_is_known_by_its_address() -> None:
    found = badge(None, "http://creativecommons.org/licenses/by/3.0/")
    assert (found.short, found.url) == ("CC BY 3.0", "http://creativecommons.org/licenses/by/3.0/")
    assert badge("Mine", "javascript:alert(1)").url == ""
