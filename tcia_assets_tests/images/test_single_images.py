"""Single images complete a refused zip, up to a limit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.images.place import Place, small_catalogue
from tcia_assets_tests.images.refused_zips import (
    reason,
    spoil_routes,
)

LACKS_OF_SHORT = 2
MANY = 240
LARGE_GAP = 119


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Place]:
    """As `place`, of one Series of 240 images."""
    with Sandbox(small_catalogue(series=1, images=MANY)) as sandbox:
        there = Place(sandbox, tmp_path)
        there.refresh()
        yield there


def test_single_images_complete_the_better_of_two_bad_zips(eight: Place) -> None:
    spoilt = spoil_routes(eight)
    eight.fetch()

    assert {eight.rows[uid]["verified_by"] for uid in spoilt} == {"md5"}
    asked = (r for r in eight.sandbox.requests.last if r.endpoint == "getSingleImage")
    assert Counter(r.parameters["SeriesInstanceUID"] for r in asked) == dict.fromkeys(
        spoilt, LACKS_OF_SHORT
    )
    eight.demand_complete()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("null_row", times=0, value=""), "1 of [0-9]+ rows have no SOPInstanceUID"),
        (Fault("bad_value", times=0, value=""), "1 of [0-9]+ rows have no SOPInstanceUID"),
        (Fault("bad_value", times=0, value="a/b"), "'a/b' is not a DICOM UID"),
    ],
    ids=lambda value: f"{value.kind} {value.value}" if isinstance(value, Fault) else "",
)
def test_a_list_of_objects_with_an_unusable_uid_fails_its_series_alone(
    place: Place, fault: Fault, said: str
) -> None:
    uid, *others = place.uids
    place.spoil("zip_short", uid, images=1)
    place.sandbox.faults.add(
        replace(fault, endpoint="getSOPInstanceUIDs", series=uid, column="SOPInstanceUID")
    )
    place.fetch()

    assert place.rows[uid]["status"] == "incomplete"
    assert re.search(f"nor could single images complete it: .*{said}", place.rows[uid]["error"])
    assert {place.rows[each]["status"] for each in others} == {"complete"}


@pytest.mark.slow
def test_half_of_a_large_series_may_be_downloaded_singly(many: Place) -> None:
    """The last of a short zip may be cut, so that one more is asked for than it lacks."""
    [uid] = many.uids
    many.spoil("zip_short", uid, images=LARGE_GAP)
    many.fetch()

    assert many.sandbox.requests["getSingleImage"] == MANY // 2
    assert many.rows[uid]["verified_by"] == "md5"
    many.demand_complete()


def test_a_zip_that_lacks_more_is_not_completed(many: Place) -> None:
    [uid] = many.uids
    many.spoil("zip_short", uid, images=LARGE_GAP + 1)
    many.fetch()

    assert many.sandbox.requests["getSingleImage"] == 0
    assert many.rows[uid]["error"] == f"{MANY - LARGE_GAP - 1} images, but the source lists 240"
    assert many.rows[uid]["error"] == reason(many, uid)["reason"]
    many.demand_sound()
