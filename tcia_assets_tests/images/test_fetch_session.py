"""A fetch over several Collections: one plan each, made once, one budget, what is incomplete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession, current_session, use_session
from tcia_assets.metadata.selection import Selection
from tcia_assets_tests.images.many import SERIES, put, row, selected, uids_of
from tcia_assets_tests.images.place import COLLECTION, Place


def test_a_plan_made_before_the_fetch_is_the_one_that_is_followed(mirror: Place) -> None:
    selection = selected(max_series_per_run=5)
    session = FetchSession(selection)
    session.plan_all(mirror.warehouse)
    [plan] = session.plans
    with mirror.source() as source:
        result = fetch_images(COLLECTION, session, source, mirror.warehouse)

    assert result.plan is plan
    assert session.budget.series == 0
    assert mirror.asked() == sorted(uids_of(plan.now))


def test_a_plan_is_made_anew_if_another_run_has_written_to_the_manifest(mirror: Place) -> None:
    selection = selected(max_series_per_run=5)
    session = FetchSession(selection)
    session.plan_all(mirror.warehouse)
    [old] = session.plans
    with mirror.source() as source:
        fetch_images(
            COLLECTION, FetchSession(selected(max_series_per_run=6)), source, mirror.warehouse
        )
        result = fetch_images(COLLECTION, session, source, mirror.warehouse)

    assert result.plan is session.plans[0] is not old
    assert not set(uids_of(result.plan.now)) & set(uids_of(old.now))
    # What the old plan had taken from the budget is given back, and nothing is fetched twice.
    assert (session.budget.series, result.recorded.total()) == (0, 5)
    assert len(mirror.asked()) == len(set(mirror.asked())) == 6 + 5


def test_rows_of_a_killed_run_make_a_plan_old(mirror: Place) -> None:
    selection = selected()
    session = FetchSession(selection)
    session.plan_all(mirror.warehouse)
    [old] = session.plans
    uid = mirror.uids[0]
    (mirror.folder / ".runs").mkdir(parents=True)
    line = row(uid, "unavailable", fingerprint=old.now[0].fingerprint).to_json() + "\n"
    (mirror.folder / ".runs" / "0123456789abcdef.journal").write_text(line)
    with mirror.source() as source:
        result = fetch_images(COLLECTION, session, source, mirror.warehouse)

    assert result.plan is not old
    assert result.recorded.total() == SERIES


def test_a_series_larger_than_the_budget_is_still_the_first_in_a_new_plan(mirror: Place) -> None:
    selection = selected(max_bytes_per_run=1)
    session = FetchSession(selection)
    session.plan_all(mirror.warehouse)
    [old] = session.plans
    put(mirror, row("1.2.3"))
    session.plan_all(mirror.warehouse)
    [new] = session.plans

    assert (len(old.now), len(new.now)) == (1, 1)
    assert new is not old


def test_a_session_is_current_as_long_as_its_block() -> None:
    session = FetchSession(selected())
    with use_session(session):
        assert current_session() is session
        inner = replace(session)
        with use_session(inner):
            assert current_session() is inner
        assert current_session() is session
    assert current_session() is None


def test_each_selected_collection_has_a_plan(mirror: Place) -> None:
    session = FetchSession(selected())

    assert session.plan_all(mirror.warehouse) == []
    [plan] = session.plans
    assert (plan.collection, len(plan.now)) == (COLLECTION, SERIES)


def test_a_selection_without_series_is_refused_with_its_criteria(mirror: Place) -> None:
    session = FetchSession(Selection(collections=(COLLECTION,), where="ImageCount > 1000"))
    with pytest.raises(UsageError, match=r"none has .*where ImageCount > 1000"):
        session.plan_all(mirror.warehouse)


def test_an_unknown_modality_is_refused_with_the_known_ones(mirror: Place) -> None:
    with pytest.raises(UnknownName, match="Modality of a known Series"):
        FetchSession(Selection(modalities=("XX",))).plan_all(mirror.warehouse)


def test_listed_series_that_are_not_in_the_warehouse_are_noted(mirror: Place) -> None:
    known = mirror.uids[0]
    notes = FetchSession(Selection(series=(known, "1.2.3"))).plan_all(mirror.warehouse)

    assert notes == ["1 listed Series is not in the warehouse, or is withdrawn: 1.2.3"]


def test_series_that_did_not_arrive_are_named_with_status_and_reason(mirror: Place) -> None:
    broken = mirror.uids[0]
    mirror.spoil("html", broken)
    session = FetchSession(selected())
    session.plan_all(mirror.warehouse)
    with mirror.source() as source:
        fetch_images(COLLECTION, session, source, mirror.warehouse)

    [line] = session.incomplete_series(mirror.warehouse)
    assert line.startswith(f"{COLLECTION}: {broken} is failed: ")


def test_a_session_cannot_select_by_what_is_known_only_after_it() -> None:
    with pytest.raises(UsageError, match="series_acquisition"):
        FetchSession(Selection(where="KVP = 120"))
