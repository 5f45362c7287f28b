"""Texts name TCIA only where some Series are from there."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.origin import Origin


@pytest.mark.parametrize(
    ("imported_from", "origin", "advice"),
    [
        ([], Origin.TCIA, "TCIA"),
        ([None, None], Origin.TCIA, "TCIA"),
        (["local-folder@localhost"], Origin.FOLDER, "whoever owns the data"),
        ([None, "local-folder@localhost"], Origin.BOTH, "TCIA, or whoever owns the data,"),
    ],
)
def test_the_origin_is_that_of_all_series(
    imported_from: list[str | None], origin: Origin, advice: str
) -> None:
    found = Origin.of(imported_from)
    assert (found, found.advice) == (origin, advice)
    assert found.has_tcia == (found != "a folder that was imported")
