"""Label patterns match whole names; invalid ones are refused."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.errors import UnknownName, UsageError


def test_invalid_patterns_are_refused() -> None:
    with pytest.raises(UsageError, match="regular expression"):
        LabelPatterns.compile({"tumour": "("})
    with pytest.raises(UnknownName, match="tumor"):
        LabelPatterns.compile({"tumour": "x"}, priority=["tumor"])
    with pytest.raises(UsageError, match="0"):
        LabelPatterns.compile({})
