"""Findings have declared codes and printable messages."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.volume.findings import FINDING_CODES, IMPOSSIBLE, Finding


def test_undeclared_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Finding("nonsense", "")


def test_codes_without_a_volume_are_declared() -> None:
    assert sorted(IMPOSSIBLE) == [
        "no_slices",
        "undecodable_pixels",
        "values_beyond_dtype",
        "volume_not_found",
    ]
    assert FINDING_CODES.keys() >= IMPOSSIBLE
