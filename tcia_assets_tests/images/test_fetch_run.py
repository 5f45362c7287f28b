"""A run over several Collections: one plan each, made once, and one budget."""

from __future__ import annotations

from dataclasses import replace

from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_run import FetchRun, share_run, shared_run
from tcia_assets_tests.images.many import SERIES, put, row, selected, uids_of
from tcia_assets_tests.images.place import COLLECTION, Place


def test_a_plan_made_before_the_fetch_is_the_one_that_is_followed(mirror: Place) -> None:
    selection = selected(max_series_per_run=5)
    run = FetchRun(selection)
    [plan] = run.plan_all(mirror.warehouse)
    with mirror.source() as source:
        result = fetch_images(COLLECTION, run, source, mirror.warehouse)

    assert result.plan is plan
    assert run.budget.series == 0
    assert mirror.asked() == sorted(uids_of(plan.now))


def test_a_plan_is_made_anew_if_another_run_has_written_to_the_manifest(mirror: Place) -> None:
    selection = selected(max_series_per_run=5)
    run = FetchRun(selection)
    [old] = run.plan_all(mirror.warehouse)
    with mirror.source() as source:
        fetch_images(COLLECTION, FetchRun(selected(max_series_per_run=6)), source, mirror.warehouse)
        result = fetch_images(COLLECTION, run, source, mirror.warehouse)

    assert result.plan is run.plans[COLLECTION] is not old
    assert not set(uids_of(result.plan.now)) & set(uids_of(old.now))
    # What the old plan had taken from the budget is given back, and nothing is fetched twice.
    assert (run.budget.series, len(result.rows)) == (0, 5)
    assert len(mirror.asked()) == len(set(mirror.asked())) == 6 + 5


def test_rows_of_a_killed_run_make_a_plan_old(mirror: Place) -> None:
    selection = selected()
    run = FetchRun(selection)
    [old] = run.plan_all(mirror.warehouse)
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
    [old] = run.plan_all(mirror.warehouse)
    put(mirror, row("1.2.3"))
    [new] = run.plan_all(mirror.warehouse)

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
