"""A run over several Collections: one plan each, made once, one budget, and what is incomplete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_run import FetchRun, share_run, shared_run
from tcia_assets.metadata.selection import Selection
from tcia_assets_tests.images.many import SERIES, put, row, selected, uids_of
from tcia_assets_tests.images.place import COLLECTION, Place


def test_a_plan_made_before_the_fetch_is_the_one_that_is_followed(mirror: Place) -> None:
    selection = selected(max_series_per_run=5)
    run = FetchRun(selection)
    run.plan_all(mirror.warehouse)
    [plan] = run.plans
    with mirror.source() as source:
        result = fetch_images(COLLECTION, run, source, mirror.warehouse)

    assert result.plan is plan
    assert run.budget.series == 0
    assert mirror.asked() == sorted(uids_of(plan.now))


def test_a_plan_is_made_anew_if_another_run_has_written_to_the_manifest(mirror: Place) -> None:
    selection = selected(max_series_per_run=5)
    run = FetchRun(selection)
    run.plan_all(mirror.warehouse)
    [old] = run.plans
    with mirror.source() as source:
        fetch_images(COLLECTION, FetchRun(selected(max_series_per_run=6)), source, mirror.warehouse)
        result = fetch_images(COLLECTION, run, source, mirror.warehouse)

    assert result.plan is run.plans[0] is not old
    assert not set(uids_of(result.plan.now)) & set(uids_of(old.now))
    # What the old plan had taken from the budget is given back, and nothing is fetched twice.
    assert (run.budget.series, len(result.rows)) == (0, 5)
    assert len(mirror.asked()) == len(set(mirror.asked())) == 6 + 5


def test_rows_of_a_killed_run_make_a_plan_old(mirror: Place) -> None:
    selection = selected()
    run = FetchRun(selection)
    run.plan_all(mirror.warehouse)
    [old] = run.plans
    uid = mirror.uids[0]
    mirror.folder.mkdir(parents=True)
    line = row(uid, "unavailable", fingerprint=old.now[0].fingerprint).to_json() + "\n"
    (mirror.folder / ".0123456789abcdef.journal").write_text(line)
    with mirror.source() as source:
        result = fetch_images(COLLECTION, run, source, mirror.warehouse)

    assert result.plan is not old
    assert len(result.rows) == SERIES


def test_a_series_larger_than_the_budget_is_still_the_first_in_a_new_plan(mirror: Place) -> None:
    selection = selected(max_bytes_per_run=1)
    run = FetchRun(selection)
    run.plan_all(mirror.warehouse)
    [old] = run.plans
    put(mirror, row("1.2.3"))
    run.plan_all(mirror.warehouse)
    [new] = run.plans

    assert (len(old.now), len(new.now)) == (1, 1)
    assert new is not old


def test_a_shared_run_lasts_as_long_as_its_block() -> None:
    run = FetchRun(selected())
    with share_run(run):
        assert shared_run() is run
        inner = replace(run)
        with share_run(inner):
            assert shared_run() is inner
        assert shared_run() is run
    assert shared_run() is None


def test_each_selected_collection_has_a_plan(mirror: Place) -> None:
    run = FetchRun(selected())

    assert run.plan_all(mirror.warehouse) == []
    [plan] = run.plans
    assert (plan.collection, len(plan.now)) == (COLLECTION, SERIES)


def test_a_selection_without_series_is_refused_with_its_criteria(mirror: Place) -> None:
    run = FetchRun(Selection(collections=(COLLECTION,), where="ImageCount > 1000"))
    with pytest.raises(UsageError, match=r"none has .*where ImageCount > 1000"):
        run.plan_all(mirror.warehouse)


def test_an_unknown_modality_is_refused_with_the_known_ones(mirror: Place) -> None:
    with pytest.raises(UnknownName, match="Modality of a known Series"):
        FetchRun(Selection(modalities=("XX",))).plan_all(mirror.warehouse)


def test_listed_series_that_are_not_in_the_warehouse_are_noted(mirror: Place) -> None:
    known = mirror.uids[0]
    notes = FetchRun(Selection(series=(known, "1.2.3"))).plan_all(mirror.warehouse)

    assert notes == ["1 listed Series are not in the warehouse, or are withdrawn: 1.2.3"]


def test_series_that_did_not_arrive_are_named_with_status_and_reason(mirror: Place) -> None:
    broken = mirror.uids[0]
    mirror.spoil("html", broken)
    run = FetchRun(selected())
    run.plan_all(mirror.warehouse)
    with mirror.source() as source:
        fetch_images(COLLECTION, run, source, mirror.warehouse)

    [line] = run.incomplete_series(mirror.warehouse)
    assert line.startswith(f"{COLLECTION}: {broken} is failed: ")


def test_a_run_cannot_select_by_what_is_known_only_after_it() -> None:
    with pytest.raises(UsageError, match="series_acquisition"):
        FetchRun(Selection(where="KVP = 120"))
