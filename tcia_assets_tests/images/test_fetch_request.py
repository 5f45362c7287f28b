"""A fetch of a whole selection: what is planned, what is reported, and what stays incomplete."""

from __future__ import annotations

import pytest

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_request import incomplete_series, override_selection, plan_run
from tcia_assets.images.fetch_run import FetchRun
from tcia_assets.metadata.selection import Selection
from tcia_assets_tests.images.many import SERIES, selected
from tcia_assets_tests.images.place import COLLECTION, Place


def test_criteria_replace_the_fields_of_a_selection_and_leave_the_others() -> None:
    base = Selection(collections=("LCTSC",), modalities=("CT",))
    changed = override_selection(base, {"modalities": ["RTSTRUCT"], "max_series_per_run": 3})

    assert changed.collections == ("LCTSC",)
    assert changed.modalities == ("RTSTRUCT",)
    assert changed.max_series_per_run == 3


def test_both_conditions_in_sql_must_hold() -> None:
    base = Selection(where="ImageCount > 1 OR ImageCount < 0")
    changed = override_selection(base, {"where": "Modality = 'CT'"})

    assert changed.where == "(ImageCount > 1 OR ImageCount < 0\n) AND (Modality = 'CT'\n)"


@pytest.mark.parametrize("empty", [None, "", []])
def test_an_empty_criterion_is_no_criterion(empty: object) -> None:
    base = Selection(modalities=("CT",))
    assert override_selection(base, {"modalities": empty}) == base
    with pytest.raises(UsageError, match="name Collections"):
        override_selection(None, {"modalities": empty})


def test_each_selected_collection_has_a_plan(mirror: Place) -> None:
    request = plan_run(FetchRun(selected()), mirror.warehouse)

    [plan] = request.plans
    assert (plan.collection, len(plan.now), request.notes) == (COLLECTION, SERIES, ())


def test_a_selection_without_series_is_refused_with_its_criteria(mirror: Place) -> None:
    run = FetchRun(Selection(collections=(COLLECTION,), where="ImageCount > 1000"))
    with pytest.raises(UsageError, match=r"none has .*where ImageCount > 1000"):
        plan_run(run, mirror.warehouse)


def test_an_unknown_modality_is_refused_with_the_known_ones(mirror: Place) -> None:
    with pytest.raises(UnknownName, match="Modality of a known Series"):
        plan_run(FetchRun(Selection(modalities=("XX",))), mirror.warehouse)


def test_listed_series_that_are_not_in_the_warehouse_are_noted(mirror: Place) -> None:
    known = mirror.uids[0]
    request = plan_run(FetchRun(Selection(series=(known, "1.2.3"))), mirror.warehouse)

    assert request.notes == ("1 listed Series are not in the warehouse, or are withdrawn: 1.2.3",)


def test_series_that_did_not_arrive_are_named_with_status_and_reason(mirror: Place) -> None:
    broken = mirror.uids[0]
    mirror.spoil("html", broken)
    request = plan_run(FetchRun(selected()), mirror.warehouse)
    with mirror.source() as source:
        fetch_images(COLLECTION, request.run, source, mirror.warehouse)

    [line] = incomplete_series(request, mirror.warehouse)
    assert line.startswith(f"{COLLECTION}: {broken} is failed: ")
