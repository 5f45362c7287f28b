"""Findings have declared codes and printable messages."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.volume.findings import FINDING_CODES, Finding


def test_undeclared_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Finding("nonsense", "")
    impossible = {code for code in FINDING_CODES if Finding(code, "").makes_impossible}
    assert impossible == {"no_slices", "undecodable_pixels"}
