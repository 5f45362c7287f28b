"""All routes are tried, and the best refused zip is in quarantine."""

from __future__ import annotations

import json
import zipfile

from tcia_assets_tests.images.place import Place
from tcia_assets_tests.images.refused_zips import (
    ROUTES,
    SHORT_BY_ROUTE,
    WORSE,
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


@SHORT_BY_ROUTE
@WORSE
def test_the_better_of_two_refused_zips_is_in_quarantine_and_named_in_the_manifest(
    place: Place, short: str, worse: str
) -> None:
    uid = place.uids[0]
    place.without_single_images()
    spoil_routes(place, uid, short, worse)
    place.fetch()

    said = reason(place, uid)
    assert len(images_of_quarantine(place, uid)) == 3
    assert (said["reason"], said["endpoint"]) == ("3 images, but the source lists 4", short)
    demand_agreement(place, uid)
    place.demand_sound()
    place.sandbox.faults.clear()
    place.fetch()
    place.demand_complete()


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
