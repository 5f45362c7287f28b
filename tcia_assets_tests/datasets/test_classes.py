"""Which class a value has, and how classes are numbered."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.classes import Classes, name_of_value
from tcia_assets.errors import UsageError

NAMES = {"late": "[34].*", "early": "[12].*"}


def test_a_value_is_a_class_or_matches_a_class_as_a_whole() -> None:
    assert name_of_value({}, "II") == "II"
    assert [name_of_value(NAMES, value) for value in ("1a", "4", "x1")] == ["early", "late", None]


def test_a_value_of_two_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="'3' matches the classes late, all"):
        name_of_value(NAMES | {"all": ".*"}, "3")


def test_a_sample_has_the_name_and_the_number_of_its_class() -> None:
    classes = Classes(NAMES, {0: "late", 1: "early"})
    assert classes.columns("2") == {"class_name": "early", "class_index": 1}
    without = {"class_name": None, "class_index": None}
    assert classes.columns("x") == classes.columns(None) == Classes({}, {}).columns("2") == without
