"""The sections of a declaration, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tcia_assets.datasets.declaration_sections import (
    CohortQuery,
    LicenseKeys,
    TargetSettings,
)
from tcia_assets.datasets.volume.label_grid import LabelChoices


def cohort(tmp_path: Path, **keys: Any) -> CohortQuery:
    return CohortQuery.model_validate(keys, context={"folder": tmp_path})


def test_a_query_in_sql_may_end_in_a_comment(tmp_path: Path) -> None:
    query = cohort(tmp_path, sql="SELECT SeriesInstanceUID FROM current_series -- all ;")
    assert query.statement.endswith("-- all\n)")
    assert query.selection is None and query.tables == {}


def test_criteria_are_an_image_selection(tmp_path: Path) -> None:
    query = cohort(tmp_path, collections=["LCTSC"], max_series_bytes="1000")
    assert query.selection is not None
    assert query.selection.max_series_bytes == 1000
    assert query.content == {"collections": ["LCTSC"], "max_series_bytes": "1000"}
    assert " UNION " not in query.statement


def test_listed_series_stay_visible_if_the_warehouse_lacks_them(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("SeriesInstanceUID\n1.2.3\n")
    query = cohort(tmp_path, manifests=["list.csv"])
    assert " UNION " in query.statement
    assert query.tables["selected_series"]["SeriesInstanceUID"].to_pylist() == ["1.2.3"]


def test_a_target_keeps_the_order_of_labels() -> None:
    target = TargetSettings(kind="SEG", labels={"b": "x", "a": "y"})
    assert target.model_dump()["labels"] == [["b", "x"], ["a", "y"]]
    assert target.patterns.by_number == {1: "b", 2: "a"}


@pytest.mark.parametrize("where", ["true) OR (true", "EXISTS (FROM read_text('/x'))", "a, b"])
def test_the_masks_of_a_target_are_chosen_by_one_condition_over_tables(where: str) -> None:
    with pytest.raises(ValidationError, match="it must be one SQL condition"):
        TargetSettings(kind="SEG", labels={"a": "y"}, where=where)


def test_a_target_says_what_is_between_slices_and_how_readers_are_combined() -> None:
    target = TargetSettings(kind="SEG", labels={"a": "y"})
    assert target.choices == LabelChoices("nothing", "union")
    chosen = TargetSettings(kind="SEG", labels={"a": "y"}, between="nearest", readers="first")
    assert chosen.choices == LabelChoices("nearest", "first")


def test_licences_are_denied_or_allowed() -> None:
    assert LicenseKeys.model_validate({"deny": "NC"}).deny == ("NC",)
    with pytest.raises(ValidationError, match="is not a licence's name"):
        LicenseKeys.model_validate({"allow": ["..."]})
