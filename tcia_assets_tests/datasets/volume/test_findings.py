"""Findings have declared codes and printable messages."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.volume import FINDING_CODES, Finding


def test_undeclared_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Finding("nonsense", "")
    assert {code.name for code in FINDING_CODES.values() if code.makes_impossible} == {
        "no_slices",
        "undecodable_pixels",
    }
