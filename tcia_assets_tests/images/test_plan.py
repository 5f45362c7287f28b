"""The plan: what is selected, compared with the manifest, the disk and the run's budget."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets import images
from tcia_assets.errors import UsageError
from tcia_assets.images import Plan, RunBudget, Shard
from tcia_assets.images.plan import MOST_ATTEMPTS
from tcia_assets.metadata.selection import Licenses, Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets_tests.conftest import settings_for
from tcia_assets_tests.images.many import (
    SERIES,
    denying,
    edit_series,
    place_at,
    planned,
    put,
    refresh_list,
    refresh_sizes,
    row,
    selected,
    stored,
    twelve,
    uids_of,
)
from tcia_assets_tests.images.place import COLLECTION, Place

MIT = "MIT Licence"
NC = "Creative Commons Attribution-NonCommercial 4.0 International License"


@pytest.fixture(scope="module")
def twelve_served() -> Iterator[Sandbox]:
    with twelve() as sandbox:
        yield sandbox


@pytest.fixture
def place(twelve_served: Sandbox, tmp_path: Path) -> Place:
    return place_at(twelve_served, tmp_path)


# --- Why a Series is fetched, or not --------------------------------------------------------------


def test_what_was_never_fetched_is_new(place: Place) -> None:
    plan = planned(place)

    assert plan.why == Counter(new=SERIES)
    assert sorted(uids_of(plan.now)) == place.uids
    assert (plan.complete, plan.later, plan.given_up) == (0, (), ())


def test_what_is_here_as_the_archive_has_it_is_complete(place: Place) -> None:
    place.fetch(*place.uids[:3])
    plan = planned(place)

    assert plan.complete == 3
    assert sorted(uids_of(plan.now)) == place.uids[3:]


def test_each_reason_to_fetch_again_has_a_name(place: Place) -> None:
    changed, lost, cut, failed, kept = place.uids[:5]
    place.spoil("status", failed, status=502)
    place.fetch(changed, lost, cut, failed, kept)
    place.sandbox.faults.clear()
    place.sandbox.archive.revise([changed])
    place.refresh()
    place.zip(lost).unlink()
    place.zip(cut).write_bytes(place.zip(cut).read_bytes()[:-1])
    plan = planned(place, selected(series=(changed, lost, cut, failed, kept)))

    assert {w.series_instance_uid: w.why for w in plan.now} == {
        changed: "changed",
        lost: "lost",
        cut: "lost",
        failed: "again",
    }
    assert plan.complete == 1


@pytest.mark.parametrize(
    ("days_after_submission", "days_ago", "why"),
    [(0, 1, None), (0, 2, "changed"), (1, 5, "changed"), (2, 5, None), (0, 0, None)],
)
def test_what_was_fetched_near_its_submission_is_fetched_once_more_when_that_day_is_over(
    place: Place, days_after_submission: int, days_ago: int, why: str | None
) -> None:
    # The archive tells the day only: a second submission on it would look the same.
    uid = place.uids[0]
    place.fetch(uid)
    fetched_at = datetime.now(UTC) - timedelta(days=days_ago)
    submitted = fetched_at - timedelta(days=days_after_submission)
    midnight = submitted.replace(hour=0, minute=0, second=0, microsecond=0)
    prints = {u: r["fingerprint"] for u, r in stored(place).items()}
    edit_series(place, lambda r: r | {"MaxSubmissionTimestamp": midnight})
    put(place, place.rows[uid] | {"fetched_at": fetched_at, "fingerprint": prints[uid]})
    plan = planned(place, selected(series=(uid,)))

    assert [w.why for w in plan.now] == ([why] if why else [])


def test_what_came_as_something_else_too_often_is_given_up_until_it_changes(place: Place) -> None:
    uid, unavailable, failed, *_ = place.uids
    prints = {u: r["fingerprint"] for u, r in stored(place).items()}
    tried: dict[str, Any] = {"attempts": MOST_ATTEMPTS}
    put(
        place,
        row(uid, "incomplete", fingerprint=prints[uid], **tried),
        row(unavailable, "unavailable", fingerprint=prints[unavailable], **tried),
        row(failed, "failed", fingerprint=prints[failed], **tried),
    )
    plan, again = planned(place), planned(place, retry=True)

    assert sorted(uids_of(plan.given_up)) == sorted([uid, unavailable])
    # A failure says something about the archive's day, and nothing about the Series.
    assert failed in uids_of(plan.now)
    assert again.given_up == () and uid in uids_of(again.now)
    place.sandbox.archive.revise([uid])
    place.refresh()
    assert uids_of(planned(place).given_up) == [unavailable]


@pytest.mark.parametrize("has_earlier_copy", [False, True])
def test_a_changed_series_that_never_comes_is_given_up_too(
    place: Place, *, has_earlier_copy: bool
) -> None:
    uid = place.uids[0]
    place.without_single_images()
    if not has_earlier_copy:
        place.spoil("zip_empty", uid)
    place.fetch(uid)
    place.sandbox.archive.revise([uid], image_count=3)
    place.refresh()
    if has_earlier_copy:
        place.spoil("zip_empty", uid)
    for _ in range(MOST_ATTEMPTS):
        place.fetch(uid)

    assert place.rows[uid]["attempts"] == MOST_ATTEMPTS
    assert uids_of(planned(place).given_up) == [uid]
    assert place.zip(uid).exists() == has_earlier_copy
    assert pending(place, series=(uid,)) == []


def test_what_the_newest_list_lacks_is_left_alone(place: Place) -> None:
    kept, gone = place.uids[:2]
    place.fetch(kept)
    # One by one: a list that lacks a fifth at once would be in doubt.
    for uid in (kept, gone):
        place.sandbox.archive.withdraw([uid])
        place.refresh()
    plan = planned(place, selected(series=(kept, gone)))

    assert (plan.now, plan.complete) == ((), 1)
    assert place.zip(kept).is_file()


def test_only_series_never_tried_as_they_are_now_are_pending(place: Place) -> None:
    done, failed, changed = place.uids[:3]
    place.spoil("status", failed, status=502)
    place.fetch(done, failed, changed)
    place.sandbox.archive.revise([changed])
    place.refresh()
    [(collection, count, digest)] = pending(place)

    waiting = [changed, *place.uids[3:]]
    assert (collection, count) == (COLLECTION, len(waiting))
    assert pending(place, series=waiting) == [(collection, count, digest)]


def pending(place: Place, *, after: timedelta = timedelta(0), **chosen: Any) -> list[Any]:
    now = datetime.now(UTC) + after
    return images.pending_images(selected(**chosen), place.warehouse, now)


def test_a_series_that_failed_is_pending_again_after_an_hour_then_two_and_each_time_anew(
    place: Place,
) -> None:
    uid = place.uids[0]
    place.spoil("status", uid, status=502)
    hour, digests = timedelta(hours=1), []
    for attempts in (1, 2, 3):
        place.fetch(uid)
        assert pending(place, series=(uid,), after=0.9 * attempts * hour) == []
        [(_, _, digest)] = pending(place, series=(uid,), after=attempts * hour)
        digests.append(digest)

    assert len(set(digests)) == 3
    place.sandbox.faults.clear()
    place.fetch(uid)
    assert pending(place, series=(uid,), after=24 * hour) == []


def test_the_digest_of_what_is_pending_changes_with_any_series_of_it(place: Place) -> None:
    def digest() -> str:
        [(_, _, found)] = pending(place)
        return found

    before = digest()
    assert digest() == before
    place.sandbox.archive.revise([place.uids[3]])
    place.refresh()
    assert digest() != before


# --- What is selected -----------------------------------------------------------------------------


def licensed(place: Place, names: dict[str, str | None]) -> None:
    def change(found: dict[str, Any]) -> dict[str, Any]:
        uid = found["SeriesInstanceUID"]
        return found | ({"LicenseName": names[uid], "LicenseURI": None} if uid in names else {})

    edit_series(place, change)


def test_denied_licences_are_left_out_and_counted(place: Place) -> None:
    forbidden, untold = place.uids[:2]
    licensed(place, {forbidden: NC, untold: None})
    plan = planned(place, selected(licenses=denying("NC")))

    assert (plan.denied, plan.unlicensed) == (1, 1)
    assert sorted(uids_of(plan.now)) == place.uids[1:]


def test_where_only_some_licences_are_allowed_an_untold_one_is_not(place: Place) -> None:
    mine, untold = place.uids[:2]
    licensed(place, {mine: MIT, untold: None})
    plan = planned(place, selected(licenses=Licenses(allow=(MIT,))))

    assert uids_of(plan.now) == [mine]
    assert (plan.denied, plan.unlicensed) == (SERIES - 2, 1)


def test_lists_from_files_shared_lists_and_fields_add_up_to_one(
    place: Place, tmp_path: Path
) -> None:
    in_tcia, in_csv, shared, named, *_ = place.uids
    tcia, table = tmp_path / "a.tcia", tmp_path / "b.csv"
    tcia.write_text(f"manifestVersion=3.0\nListOfSeriesToDownload=\n{in_tcia}\n9.9\n")
    table.write_text(f"Note,SeriesInstanceUID\nhello,{in_csv}\n")
    place.sandbox.archive.share("mine", [shared])
    refresh_list(place, "mine")
    selection = Selection(
        manifests=(str(tcia), str(table)), shared_lists=("mine",), series=(named, in_csv)
    )

    assert sorted(uids_of(planned(place, selection).now)) == sorted(
        [in_tcia, in_csv, shared, named]
    )


# --- The budget -----------------------------------------------------------------------------------


def test_small_series_come_first(place: Place) -> None:
    large, small, *_ = place.uids
    place.sandbox.archive.revise([large], image_count=9)
    place.sandbox.archive.revise([small], image_count=1)
    place.refresh()
    plan = planned(place)

    assert plan.now[0].series_instance_uid == small
    assert plan.now[-1].series_instance_uid == large


def test_what_exceeds_the_series_of_a_run_is_for_later(place: Place) -> None:
    plan, whole = planned(place, selected(max_series_per_run=5)), planned(place)

    assert (len(plan.now), len(plan.later)) == (5, SERIES - 5)
    assert plan.now + plan.later == whole.now
    assert plan.bytes_now + plan.bytes_later == whole.bytes_now > 0


@pytest.mark.parametrize(("series_of_bytes", "fits"), [(3, 3), (2.99, 2), (0, 1)])
def test_what_exceeds_the_bytes_of_a_run_is_for_later_but_one_always_comes(
    place: Place, series_of_bytes: float, fits: int
) -> None:
    one = planned(place).now[0].image_bytes or 0
    plan = planned(place, selected(max_bytes_per_run=int(one * series_of_bytes) or 1))

    assert len(plan.now) == fits


def test_plans_of_one_run_share_its_series_and_bytes(place: Place) -> None:
    one = planned(place).now[0].image_bytes or 0
    by_series = RunBudget.of(selected(max_series_per_run=SERIES + 2))
    by_bytes = RunBudget.of(selected(max_bytes_per_run=one * (SERIES + 1)))

    assert [len(planned(place, budget=by_series).now) for _ in range(3)] == [SERIES, 2, 0]
    assert [len(planned(place, budget=by_bytes).now) for _ in range(3)] == [SERIES, 1, 0]


def test_a_shared_budget_is_that_of_all_plans_while_it_lasts(place: Place) -> None:
    selection = selected(max_series_per_run=5)
    with images.shared_budget(selection):
        assert [len(planned(place, selection).now) for _ in range(2)] == [5, 0]
    assert len(planned(place, selection).now) == 5


def test_a_disk_without_the_spare_bytes_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No disk of a test can be filled; what is kept free can be more than any has.
    monkeypatch.setattr(sys.modules[Plan.__module__], "_SPARE_BYTES", 1 << 60)
    with pytest.raises(UsageError, match=r"12 Series of [0-9.]+ kB .* make room"):
        images.demand_space([planned(place)], place.data_dir)


def test_what_the_disk_cannot_hold_is_refused_before_the_first_byte(place: Place) -> None:
    edit_series(place, lambda found: found | {"FileSize": 10**15})
    with pytest.raises(UsageError) as refused:
        place.fetch()

    said = str(refused.value)
    assert f"{COLLECTION}: 1 Series of 1000.0 TB do not fit" in said
    assert str(place.data_dir) in said and "max_bytes_per_run" in said
    assert place.asked() == []
    assert place.rows == {} and list(place.data_dir.rglob("*.zip")) == []


def test_what_is_small_enough_for_later_runs_is_not_refused_now(place: Place) -> None:
    huge = place.uids[0]
    edit_series(
        place, lambda r: r | ({"FileSize": 10**15} if r["SeriesInstanceUID"] == huge else {})
    )
    plan = planned(place, selected(max_bytes_per_run=10**9))

    images.demand_space([plan], place.data_dir)
    assert uids_of(plan.later) == [huge]


# --- Sizes that the archive does not list ---------------------------------------------------------


class Bindaas(Place):
    """The same archive in the dialect that tells sizes one by one only."""

    @property
    def settings(self) -> Settings:
        return settings_for(self.sandbox, self.data_dir, "bindaas-v4")


@pytest.fixture
def bindaas(twelve_served: Sandbox, tmp_path: Path) -> Place:
    twelve_served.reset()
    place = Bindaas(twelve_served, tmp_path)
    place.refresh()
    return place


def test_sizes_come_from_series_sizes_where_series_has_none(bindaas: Place) -> None:
    assert planned(bindaas).sizes_unknown == SERIES
    assert planned(bindaas).bytes_now == 0
    refresh_sizes(bindaas, budget=5)
    plan = planned(bindaas)

    assert plan.sizes_unknown == SERIES - 5
    assert all(w.image_bytes for w in plan.now[:5]), "those of unknown size come last"
    assert plan.bytes_now > 0


def test_a_size_that_was_told_of_an_earlier_version_is_none(bindaas: Place) -> None:
    refresh_sizes(bindaas, budget=SERIES)
    # This dialect lists a change by the count only.
    bindaas.sandbox.archive.revise(bindaas.uids[:1], image_count=7)
    bindaas.refresh()

    assert planned(bindaas).sizes_unknown == 1


# --- Shards ---------------------------------------------------------------------------------------

UIDS = st.from_regex(r"\A[0-9]{1,5}([.][0-9]{1,9}){1,9}\Z")


@given(UIDS, st.integers(1, 50))
def test_each_series_is_in_exactly_one_shard(uid: str, count: int) -> None:
    assert sum(Shard(index, count).holds(uid) for index in range(count)) == 1


@pytest.mark.parametrize(
    ("uid", "index"), [("1.2.3", 2), ("1.3.6.1.4.1.14519.5.2.1.1", 2), ("2.25.7", 1)]
)
def test_a_series_is_in_the_same_shard_on_every_machine_and_day(uid: str, index: int) -> None:
    assert [i for i in range(3) if Shard(i, 3).holds(uid)] == [index]


@pytest.mark.parametrize(("index", "count"), [(3, 2), (2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_cannot_be_is_refused(index: int, count: int) -> None:
    with pytest.raises(UsageError, match=f"shard {index} of {count}"):
        Shard(index, count)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_part_the_plan_and_all_its_counts(place: Place, count: int) -> None:
    forbidden, untold, gone, *_ = place.uids
    place.fetch(*place.uids[5:8])
    licensed(place, {forbidden: NC, untold: None})
    tried = {"attempts": MOST_ATTEMPTS, "fingerprint": stored(place)[gone]["fingerprint"]}
    put(place, row(gone, "incomplete", **tried))
    selection = selected(licenses=denying("NC"))
    whole = planned(place, selection)
    parts = [planned(place, selection, shard=Shard(i, count)) for i in range(count)]

    def facts(plan: Plan) -> dict[str, Any]:
        lists = {name: sorted(uids_of(getattr(plan, name))) for name in ("now", "given_up")}
        counts = {name: getattr(plan, name) for name in ("complete", "denied", "unlicensed")}
        return lists | counts | {"bytes": plan.bytes_now}

    summed = facts(parts[0])
    for part in parts[1:]:
        summed = {name: value + facts(part)[name] for name, value in summed.items()}
    for name in ("now", "given_up"):
        summed[name] = sorted(summed[name])
    assert summed == facts(whole)
    assert whole.complete == 3 and whole.denied == 1 and len(whole.given_up) == 1


def test_a_plan_without_any_series_is_about_nothing(place: Place) -> None:
    plan = planned(place, selected(modalities=("XX",)))

    assert not plan.is_about_something
    assert planned(place, selected(licenses=Licenses(allow=(MIT,)))).is_about_something
    assert replace(plan, complete=1).is_about_something


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"collections": ()},
        {"collections": ("Elsewhere",)},
        {"where": "ImageCount < 0"},
        {"licenses": denying("Nobody's")},
        {"licenses": Licenses(allow=(MIT,))},
    ],
)
def test_the_collections_that_a_selection_concerns_are_those_that_have_a_plan(
    place: Place, chosen: dict[str, Any]
) -> None:
    selection = selected(**{"modalities": ("CT",)} | chosen)
    has_plan = planned(place, selection).is_about_something

    assert images.concerned(selection, place.warehouse) == [COLLECTION] * has_plan
