"""What a plan takes, leaves and gives up, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.images.plan import MAX_ATTEMPTS, selected_collections
from tcia_assets.images.run_reasons import pending_images
from tcia_assets.metadata.licenses import Licenses
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets_tests.conftest import settings_for
from tcia_assets_tests.images.many import (
    SERIES,
    denying,
    edit_series,
    planned,
    put,
    refresh_list,
    refresh_sizes,
    row,
    selected,
    stored,
    uids_of,
)
from tcia_assets_tests.images.place import COLLECTION, Place

MIT = "MIT Licence"
NC = "Creative Commons Attribution-NonCommercial 4.0 International License"


def pending(place: Place, *, after: timedelta = timedelta(0), **chosen: Any) -> list[Any]:
    now = datetime.now(UTC) + after
    return pending_images(selected(**chosen), place.warehouse, now)


def licensed(place: Place, names: dict[str, str | None]) -> None:
    def change(found: dict[str, Any]) -> dict[str, Any]:
        uid = found["SeriesInstanceUID"]
        return found | ({"LicenseName": names[uid], "LicenseURI": None} if uid in names else {})

    edit_series(place, change)


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


def test_a_series_without_a_row_is_new(mirror: Place) -> None:
    plan = planned(mirror)

    assert plan.reasons == Counter(new=SERIES)
    assert sorted(uids_of(plan.now)) == mirror.uids
    assert (plan.complete, len(plan.later), len(plan.given_up)) == (0, 0, 0)


def test_a_current_zip_is_complete(mirror: Place) -> None:
    mirror.fetch(*mirror.uids[:3])
    plan = planned(mirror)

    assert plan.complete == 3
    assert sorted(uids_of(plan.now)) == mirror.uids[3:]


def test_each_reason_to_fetch_again_has_a_name(mirror: Place) -> None:
    changed, lost, cut, failed, kept = mirror.uids[:5]
    mirror.spoil("status", failed, status=502)
    mirror.fetch(changed, lost, cut, failed, kept)
    mirror.sandbox.faults.clear()
    mirror.sandbox.archive.revise([changed])
    mirror.refresh()
    mirror.zip(lost).unlink()
    mirror.zip(cut).write_bytes(mirror.zip(cut).read_bytes()[:-1])
    mirror.verify()
    plan = planned(mirror, selected(series=(changed, lost, cut, failed, kept)))

    assert {w.series_instance_uid: w.reason for w in plan.now} == {
        changed: "changed",
        lost: "lost",
        cut: "lost",
        failed: "again",
    }
    assert plan.complete == 1


def test_a_series_fetched_near_its_submission_is_fetched_again_when_that_day_is_over(
    mirror: Place,
) -> None:
    # The archive tells the day only: a second submission on it would look the same.
    cases = {  # days after the submission, days ago
        (0, 1): None,
        (0, 2): "changed",
        (1, 5): "changed",
        (2, 5): None,
        (0, 0): None,
    }
    by_uid = dict(zip(mirror.uids, cases, strict=False))
    mirror.fetch(*by_uid)
    now, prints = datetime.now(UTC), {u: r["fingerprint"] for u, r in stored(mirror).items()}

    def submitted(uid: str) -> datetime:
        day = now - timedelta(days=sum(by_uid.get(uid, (0, 0))))
        return day.replace(hour=0, minute=0, second=0, microsecond=0)

    edit_series(mirror, lambda r: r | {"MaxSubmissionTimestamp": submitted(r["SeriesInstanceUID"])})
    for uid, (_, days_ago) in by_uid.items():
        fetched_at = now - timedelta(days=days_ago)
        put(mirror, mirror.rows[uid] | {"fetched_at": fetched_at, "fingerprint": prints[uid]})
    plan = planned(mirror, selected(series=tuple(by_uid)))

    reasons = {each.series_instance_uid: each.reason for each in plan.now}
    assert {case: reasons.get(uid) for uid, case in by_uid.items()} == cases


def test_a_series_refused_too_often_is_given_up_until_it_changes(mirror: Place) -> None:
    uid, unavailable, failed, *_ = mirror.uids
    prints = {u: r["fingerprint"] for u, r in stored(mirror).items()}
    tried: dict[str, Any] = {"attempts": MAX_ATTEMPTS}
    put(
        mirror,
        row(uid, "incomplete", fingerprint=prints[uid], **tried),
        row(unavailable, "unavailable", fingerprint=prints[unavailable], **tried),
        row(failed, "failed", fingerprint=prints[failed], **tried),
    )
    plan, again = planned(mirror), planned(mirror, retry=True)

    assert sorted(uids_of(plan.given_up)) == sorted([uid, unavailable])
    # A failure says something about the archive's day, and nothing about the Series.
    assert failed in uids_of(plan.now)
    assert not again.given_up and uid in uids_of(again.now)
    mirror.sandbox.archive.revise([uid])
    mirror.refresh()
    assert uids_of(planned(mirror).given_up) == [unavailable]


def test_a_changed_series_that_always_fails_is_given_up_too(mirror: Place) -> None:
    with_earlier_copy, without = both = mirror.uids[:2]
    mirror.without_single_images()
    mirror.spoil("zip_empty", without)
    mirror.fetch(*both)
    mirror.sandbox.archive.revise(both, image_count=3)
    mirror.refresh()
    mirror.spoil("zip_empty", with_earlier_copy)
    mirror.fetch(*both)
    # As many more fetches leave it, but for the last one.
    put(mirror, *(mirror.rows[uid] | {"attempts": MAX_ATTEMPTS - 1} for uid in both))
    mirror.fetch(*both)

    assert [mirror.rows[uid]["attempts"] for uid in both] == [MAX_ATTEMPTS] * 2
    assert sorted(uids_of(planned(mirror).given_up)) == both
    assert [mirror.zip(uid).exists() for uid in both] == [True, False]
    assert pending(mirror, series=tuple(both)) == []


def test_a_series_missing_from_the_newest_listing_is_left_alone(mirror: Place) -> None:
    kept, gone = mirror.uids[:2]
    mirror.fetch(kept)
    # One by one: a list that lacks a fifth at once would be in doubt.
    for uid in (kept, gone):
        mirror.sandbox.archive.withdraw([uid])
        mirror.refresh()
    plan = planned(mirror, selected(series=(kept, gone)))

    assert (len(plan.now), plan.complete) == (0, 1)
    assert mirror.zip(kept).is_file()


def test_denied_licences_are_left_out_and_counted(mirror: Place) -> None:
    forbidden, untold = mirror.uids[:2]
    licensed(mirror, {forbidden: NC, untold: None})
    plan = planned(mirror, selected(licenses=denying("NC")))

    assert (plan.denied, plan.unlicensed) == (1, 1)
    assert sorted(uids_of(plan.now)) == mirror.uids[1:]


def test_an_unknown_licence_is_not_among_the_allowed_ones(mirror: Place) -> None:
    mine, untold = mirror.uids[:2]
    licensed(mirror, {mine: MIT, untold: None})
    plan = planned(mirror, selected(licenses=Licenses(allow=(MIT,))))

    assert uids_of(plan.now) == [mine]
    assert (plan.denied, plan.unlicensed) == (SERIES - 2, 1)


def test_series_lists_shared_lists_and_fields_are_combined(mirror: Place, tmp_path: Path) -> None:
    in_tcia, in_csv, shared, named, *_ = mirror.uids
    tcia, table = tmp_path / "a.tcia", tmp_path / "b.csv"
    tcia.write_text(f"manifestVersion=3.0\nListOfSeriesToDownload=\n{in_tcia}\n9.9\n")
    table.write_text(f"Note,SeriesInstanceUID\nhello,{in_csv}\n")
    mirror.sandbox.archive.share("mine", [shared])
    refresh_list(mirror, "mine")
    selection = Selection(
        manifests=(str(tcia), str(table)), shared_lists=("mine",), series=(named, in_csv)
    )

    assert sorted(uids_of(planned(mirror, selection).now)) == sorted(
        [in_tcia, in_csv, shared, named]
    )


def test_small_series_come_first(mirror: Place) -> None:
    large, small, *_ = mirror.uids
    mirror.sandbox.archive.revise([large], image_count=9)
    mirror.sandbox.archive.revise([small], image_count=1)
    mirror.refresh()
    plan = planned(mirror)

    assert plan.now[0].series_instance_uid == small
    assert plan.now[-1].series_instance_uid == large


def test_sizes_come_from_series_sizes_where_series_has_none(bindaas: Place) -> None:
    assert planned(bindaas).sizes_unknown == SERIES
    assert planned(bindaas).bytes_now == 0
    refresh_sizes(bindaas, budget=5)
    plan = planned(bindaas)

    assert plan.sizes_unknown == SERIES - 5
    assert all(w.image_bytes for w in plan.now[:5]), "those of unknown size come last"
    assert plan.bytes_now > 0


def test_the_size_of_an_earlier_version_is_not_used(bindaas: Place) -> None:
    refresh_sizes(bindaas, budget=SERIES)
    # This dialect lists a change by the count only.
    bindaas.sandbox.archive.revise(bindaas.uids[:1], image_count=7)
    bindaas.refresh()

    assert planned(bindaas).sizes_unknown == 1


def test_a_plan_without_selected_series_is_empty(mirror: Place) -> None:
    plan = planned(mirror, selected(modalities=("XX",)))

    assert not plan.has_selected_series
    assert planned(mirror, selected(licenses=Licenses(allow=(MIT,)))).has_selected_series
    assert replace(plan, complete=1).has_selected_series


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
def test_the_selected_collections_are_those_with_a_plan(
    mirror: Place, chosen: dict[str, Any]
) -> None:
    selection = selected(**{"modalities": ("CT",)} | chosen)
    has_plan = planned(mirror, selection).has_selected_series

    assert selected_collections(selection, mirror.warehouse) == [COLLECTION] * has_plan
