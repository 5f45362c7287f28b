"""What one route has given is not lost when another fails: the best zip is kept and completed."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tcia_assets import catalog, images
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.images.disk import small_disk
from tcia_assets_tests.images.place import COLLECTION, FOLDER, Place, images_in, small_catalogue
from tcia_assets_tests.metadata.test_moves import GOAL, refresh_all

ROUTES = ("getImage", "getImageWithMD5Hash")
# Of one that is short, the last image may be cut, so two are good.
LACKS_OF_SHORT = 2
SHORT_BY_ROUTE = pytest.mark.parametrize("short", ROUTES)
WORSE = pytest.mark.parametrize("worse", ["zip_empty", "zip_license_only", "zip_trailing_bytes"])
MANY = 240
LARGE_GAP = 119


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Place]:
    """As `place`, of one Series of 240 images."""
    with Sandbox(small_catalogue(series=1, images=MANY)) as sandbox:
        there = Place(sandbox, tmp_path)
        there.refresh()
        yield there


# --- Two routes, two bad zips ---------------------------------------------------------------------


@SHORT_BY_ROUTE
@WORSE
def test_single_images_complete_the_better_of_two_bad_zips(
    place: Place, short: str, worse: str
) -> None:
    uid = place.uids[0]
    spoil_routes(place, uid, short, worse)
    place.fetch()

    assert place.rows[uid]["verified_by"] == "md5"
    assert place.sandbox.requests["getSingleImage"] == LACKS_OF_SHORT
    place.demand_complete()


@SHORT_BY_ROUTE
@WORSE
def test_the_better_of_two_bad_zips_is_in_quarantine_and_the_manifest_speaks_of_it(
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


def test_of_two_zips_that_are_as_bad_the_newer_is_kept(place: Place) -> None:
    uid = place.uids[0]
    place.without_single_images()
    place.spoil("zip_license_only", uid)
    place.fetch(uid)

    asked = [s.endpoint for s in place.sandbox.requests.last if s.endpoint in ROUTES]
    assert sorted(asked) == sorted(ROUTES)
    assert reason(place, uid)["endpoint"] == asked[-1]
    demand_agreement(place, uid)


def test_a_better_zip_of_an_earlier_run_is_not_mixed_with_what_the_archive_has_now(
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


# --- How many images may be asked for singly ------------------------------------------------------


def test_half_of_a_large_series_may_come_singly(many: Place) -> None:
    """The last of a short zip may be cut, so that one more is asked for than it lacks."""
    [uid] = many.uids
    many.spoil("zip_short", uid, images=LARGE_GAP)
    many.fetch()

    assert many.sandbox.requests["getSingleImage"] == MANY // 2
    assert many.rows[uid]["verified_by"] == "md5"
    many.demand_complete()


def test_a_larger_gap_is_another_zip(many: Place) -> None:
    [uid] = many.uids
    many.spoil("zip_short", uid, images=LARGE_GAP + 1)
    many.fetch()

    assert many.sandbox.requests["getSingleImage"] == 0
    assert many.rows[uid]["error"] == f"{MANY - LARGE_GAP - 1} images, but the source lists 240"
    assert many.rows[uid]["error"] == reason(many, uid)["reason"]
    many.demand_sound()


# --- The earlier copy -----------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_earlier_copy_has_no_proof_in_the_manifest(place: Place, damage: str) -> None:
    uid = place.uids[0]
    place.fetch()
    content = bytearray(place.zip(uid).read_bytes())
    content[100] ^= 0xFF
    place.zip(uid).write_bytes(content[:-9] if damage == "cut" else content)
    images.verify(COLLECTION, place.warehouse)
    assert place.rows[uid]["status"] == "failed"
    place.spoil("status", uid, status=500)
    place.fetch()

    row = place.rows[uid]
    assert row["status"] == "failed"
    assert {name: row[name] for name in PROOF} == dict.fromkeys(PROOF)
    place.sandbox.faults.clear()
    place.fetch()
    place.demand_complete()


# --- A zip without a row --------------------------------------------------------------------------


def test_a_zip_that_a_killed_run_left_without_a_row_is_kept_if_the_archive_has_the_same(
    place: Place,
) -> None:
    place.fetch()
    asked = place.asked()
    lose_manifest(place)
    place.fetch()
    assert place.asked() == asked
    place.demand_complete()


def test_a_zip_without_a_row_is_fetched_again_if_another_version_is_as_large(place: Place) -> None:
    """Killed between a zip's name and its row; by the next run, the Series has been revised."""
    place.fetch()
    lose_manifest(place)
    place.revise(*place.uids)
    place.refresh()
    place.fetch()
    place.demand_complete()


def test_a_rebuilt_row_is_of_no_version_that_the_zip_cannot_prove(place: Place) -> None:
    place.fetch()
    lose_manifest(place)
    place.revise(*place.uids)
    place.refresh()
    images.rebuild(COLLECTION, place.warehouse, "test")
    place.fetch()
    place.demand_complete()


# --- A zip that moves -----------------------------------------------------------------------------


def test_a_zip_is_not_brought_along_if_the_series_was_revised_meanwhile(place: Place) -> None:
    moved, *_ = place.uids
    place.fetch()
    place.revise(moved)
    place.sandbox.archive.move([moved], to=GOAL)
    refresh_all(place)
    with place.source() as source:
        got = images.fetch(GOAL, Selection(collections=(GOAL,)), source, place.warehouse)

    [row] = got.rows
    assert row["status"] == "complete"
    there = images_in(place.data_dir / row["path"])
    assert sorted(there.values()) == place.true_md5s(moved)


def test_a_zip_is_copied_where_it_cannot_be_linked(place: Place) -> None:
    """The folder of the other Collection is another disk."""
    moved, *_ = place.uids
    place.fetch()
    content = place.zip(moved).read_bytes()
    place.sandbox.archive.move([moved], to=GOAL)
    refresh_all(place)
    asked = place.asked()
    with small_disk(place.folder.parent / quote(GOAL)) as disk:
        with pytest.raises(OSError, match="cross-device"):
            os.link(place.zip(moved), disk / "link")
        with place.source() as source:
            got = images.fetch(GOAL, Selection(collections=(GOAL,)), source, place.warehouse)

        [row] = got.rows
        assert (row["status"], row["verified_by"]) == ("complete", "md5")
        assert (place.data_dir / row["path"]).read_bytes() == content
        assert list(images_in(place.data_dir / row["path"]))
        assert sorted(path.name for path in disk.glob(".*.draft")) == []
        assert place.asked() == asked
        assert not place.zip(moved).exists()


# --- Helpers --------------------------------------------------------------------------------------


def lose_manifest(place: Place) -> None:
    place.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()


PROOF = ("path", "archive_bytes", "image_count", "image_bytes", "sha256", "verified_by")


def spoil_routes(place: Place, uid: str, short: str, worse: str) -> None:
    """One route gives a zip that lacks an image, the other one that is worse."""
    [other] = set(ROUTES) - {short}
    place.spoil("zip_short", uid, endpoint=short, images=1)
    place.spoil(worse, uid, endpoint=other)


def quarantine(place: Place, uid: str) -> Path:
    return place.data_dir / "quarantine" / FOLDER / f"{uid}.zip"


def reason(place: Place, uid: str) -> dict[str, Any]:
    path = quarantine(place, uid).with_suffix(".json")
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return said


def images_of_quarantine(place: Place, uid: str) -> set[str]:
    with zipfile.ZipFile(quarantine(place, uid)) as file:
        return set(file.namelist()) - {"LICENSE", "md5hashes.csv"}


def demand_agreement(place: Place, uid: str) -> None:
    """The manifest says of the zip in quarantine what its file says, and what else was tried."""
    row, why = place.rows[uid], reason(place, uid)["reason"]
    assert row["status"] == "incomplete"
    assert row["error"].startswith(f"{why}; nor could single images complete it: ")
