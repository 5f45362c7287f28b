"""Quantities as people read them; examples are in the docstrings."""

from __future__ import annotations

import pytest

from tcia_assets.units import are, counted, format_bytes, format_duration


@pytest.mark.parametrize(
    ("count", "text"), [(1_000, "1.0 kB"), (10**15, "1000.0 TB"), (0.4, "0 B")]
)
def test_the_unit_is_the_largest_that_is_not_above_the_number(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 rows are"), (1, "1 row is"), (2, "2 rows are")])
def test_one_is_no_plural(count: int, text: str) -> None:
    assert f"{counted(count, 'row')} {are(count)}" == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1 s"), (59.4, "59 s"), (60, "1 min"), (3_600, "1.0 h")]
)
def test_a_duration_has_the_unit_that_people_would_use(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
