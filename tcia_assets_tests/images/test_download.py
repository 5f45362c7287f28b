"""All routes are tried, and the best refused zip is in quarantine."""

from __future__ import annotations

import hashlib
import json
import zipfile

import pytest

from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.images.place import Place, md5
from tcia_assets_tests.images.refused_zips import (
    ROUTES,
    quarantine,
    reason,
    spoil_routes,
)


def images_of_quarantine(place: Place, uid: str) -> set[str]:
    with zipfile.ZipFile(quarantine(place, uid)) as file:
        return set(file.namelist()) - {"LICENSE", "md5hashes.csv"}


def demand_agreement(place: Place, uid: str) -> None:
    """The manifest says of the zip in quarantine what its file says, and what else was tried."""
    row, why = place.rows[uid], reason(place, uid)["reason"]
    assert row["status"] == "incomplete"
    assert row["error"].startswith(f"{why}; nor could single images complete it: ")


def test_a_refused_zip_is_in_quarantine_until_the_series_is_complete(
    mirror: Place,
) -> None:
    uid = mirror.uids[0]
    mirror.without_single_images()
    mirror.spoil("zip_short", uid)
    mirror.fetch(uid)
    [refused] = (mirror.data_dir / "quarantine").rglob("*.zip")
    said = json.loads(refused.with_suffix(".json").read_text())

    assert zipfile.is_zipfile(refused)
    assert said["SeriesInstanceUID"] == uid
    assert said["endpoint"] in {"getImage", "getImageWithMD5Hash"}
    assert said["source"] == mirror.settings.source_name
    assert "1 images, but the source lists 2" in said["reason"]
    assert "1 images, but the source lists 2" in mirror.rows[uid]["error"]
    mirror.sandbox.faults.clear()
    mirror.fetch(uid)
    assert mirror.quarantined(uid) == (False, False)


def test_the_better_of_two_refused_zips_is_in_quarantine_and_named_in_the_manifest(
    eight: Place,
) -> None:
    eight.without_single_images()
    spoilt = spoil_routes(eight)
    eight.fetch()

    for uid, short in spoilt.items():
        said = reason(eight, uid)
        assert len(images_of_quarantine(eight, uid)) == 3
        assert (said["reason"], said["endpoint"]) == ("3 images, but the source lists 4", short)
        demand_agreement(eight, uid)
    eight.demand_sound()
    eight.sandbox.faults.clear()
    eight.fetch()
    eight.demand_complete()


def test_of_two_equally_bad_zips_the_newer_is_in_quarantine(place: Place) -> None:
    uid = place.uids[0]
    place.without_single_images()
    place.spoil("zip_license_only", uid)
    place.fetch(uid)

    asked = [s.endpoint for s in place.sandbox.requests.last if s.endpoint in ROUTES]
    assert sorted(asked) == sorted(ROUTES)
    assert reason(place, uid)["endpoint"] == asked[-1]
    demand_agreement(place, uid)


def test_a_refused_zip_of_an_earlier_run_is_not_completed(
    place: Place,
) -> None:
    uid = place.uids[0]
    place.without_single_images()
    place.spoil("zip_short", uid)
    place.fetch()
    assert len(images_of_quarantine(place, uid)) == 3
    place.sandbox.faults.clear()
    place.revise(uid)
    place.refresh()
    place.sandbox.requests.clear()
    place.spoil("zip_license_only", uid)
    place.fetch()

    assert place.sandbox.requests["getSingleImage"] == 4
    place.demand_complete()


def test_a_route_that_fails_for_a_series_leaves_the_other_one(place: Place) -> None:
    """NBIA answers 500 where it fails on one Series, as on a licence that it lacks."""
    uid = place.uids[0]
    place.spoil("status", uid, endpoint="getImage", status=500)
    place.fetch()

    assert place.sandbox.requests["getImageWithMD5Hash"] == 1
    place.demand_complete()


# --- Zips that have all images, but not their MD5 list --------------------------------------------


def asked_for(place: Place, uid: str) -> list[str]:
    return [
        seen.endpoint
        for seen in place.sandbox.requests.last
        if seen.endpoint in {*ROUTES, "getMD5Hierarchy"}
        and seen.parameters.get("SeriesInstanceUID") == uid
    ]


def test_the_hash_of_the_source_proves_a_zip_without_md5_list(place: Place) -> None:
    """One small request, and no second download."""
    uid = place.uids[0]
    place.spoil("zip_no_md5s", uid)
    place.fetch(uid)

    assert (place.rows[uid]["status"], place.rows[uid]["verified_by"]) == ("complete", "md5")
    assert asked_for(place, uid) == ["getImage", "getMD5Hierarchy"]
    place.sandbox.requests.clear()
    place.fetch(uid)
    assert asked_for(place, uid) == []
    assert place.leftovers() == []


def without_hashes(place: Place) -> None:
    place.sandbox.faults.add(Fault("status", "getMD5Hierarchy", times=0, status=404))


def test_without_a_hash_another_route_with_md5_list_is_tried(place: Place) -> None:
    uid = place.uids[0]
    without_hashes(place)
    place.spoil("zip_no_md5s", uid, endpoint="getImage")
    place.fetch()

    assert asked_for(place, uid) == ["getImage", "getMD5Hierarchy", "getImageWithMD5Hash"]
    assert place.rows[uid]["verified_by"] == "md5"
    place.demand_complete()


@pytest.mark.parametrize("other", ["zip_no_md5s", "zip_short", "zip_trailing_bytes", "status"])
def test_without_any_md5_count_and_size_prove_the_first_zip(place: Place, other: str) -> None:
    uid = place.uids[0]
    without_hashes(place)
    place.spoil("zip_no_md5s", uid, endpoint="getImage")
    place.spoil(other, uid, endpoint="getImageWithMD5Hash")
    place.fetch(uid)

    row = place.rows[uid]
    assert (row["status"], row["verified_by"]) == ("complete", "count+size")
    with zipfile.ZipFile(place.zip(uid)) as kept:
        assert sorted(md5(kept.read(n)) for n in kept.namelist() if n.endswith(".dcm")) == (
            place.true_md5s(uid)
        )
        assert "LICENSE" in kept.namelist()  # of the first route
    assert hashlib.sha256(place.zip(uid).read_bytes()).hexdigest() == row["sha256"]
    assert (place.leftovers(), place.quarantined(uid)) == ([], (False, False))


def test_a_route_that_lists_no_md5s_is_not_tried_for_a_better_proof(place: Place) -> None:
    old = Place(place.sandbox, place.data_dir / "v1", dialect="nbia-v1")
    old.refresh()
    uid = old.uids[0]
    old.spoil("zip_no_md5s", uid)
    old.fetch(uid)

    assert old.rows[uid]["verified_by"] == "count+size"
    assert asked_for(old, uid) == ["getImageWithMD5Hash"]
