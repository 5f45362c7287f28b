"""The mirror, NBIA and the IDC are compared by hashes, and each state says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.catalog import SOURCE_EQUALITY
from tcia_assets.images.equality import Equality, compare_mirror, compare_sources
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.idc.index_files import write_index
from tcia_assets.sources import Source, open_source
from tcia_assets_tests.images.place import COLLECTION, QUICK, Place

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SERIES, OBJECTS = 3, 4


@pytest.fixture
def fetched(fetched_three: Place) -> Place:
    return fetched_three


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


@contextmanager
def idc(place: Place, index: Path) -> Iterator[Source]:
    """Open the IDC of the sandbox, in its current release."""
    write_index(place.sandbox.idc, index)
    settings = place.settings.replace(
        source="idc", idc_index=str(index), idc_base_url=place.sandbox.idc_base_url
    )
    with open_source(settings, pacing=QUICK) as source:
        yield source


def mirrored(place: Place, index: Path) -> Equality:
    with idc(place, index) as source:
        return compare_mirror(COLLECTION, source, place.warehouse, NOW)


def both(place: Place, index: Path) -> Equality:
    with place.source() as nbia, idc(place, index) as source:
        return compare_sources(COLLECTION, nbia, source, place.warehouse, NOW)


def stored(place: Place) -> list[dict[str, Any]]:
    return place.warehouse.read(SOURCE_EQUALITY, [COLLECTION]).to_pylist()


def test_zips_fetched_from_nbia_are_what_the_idc_has(fetched: Place, index: Path) -> None:
    found = mirrored(fetched, index)

    assert (found.count("equal"), found.not_compared, found.failure) == (SERIES, 0, "")
    rows = stored(fetched)
    assert len(rows) == SERIES
    for row in rows:
        assert (row["left_source"], row["right_source"]) == ("mirror", "idc")
        assert row["left_hash"] == row["right_hash"] != ""
        assert row["left_objects"] == row["right_objects"] == OBJECTS
        assert (row["idc_version"], row["compared_at"], row["reason"]) == (25, NOW, None)


def test_nbia_and_the_idc_are_compared_by_one_request_to_nbia(fetched: Place, index: Path) -> None:
    fetched.sandbox.requests.clear()
    found = both(fetched, index)

    assert found.count("equal") == SERIES
    assert fetched.sandbox.requests["getMD5Hierarchy"] == 1
    assert {(row["left_source"], row["right_source"]) for row in stored(fetched)} == {
        ("nbia", "idc")
    }


def test_other_bytes_under_the_same_count_differ(fetched: Place, index: Path) -> None:
    uid = fetched.uids[0]
    fetched.sandbox.archive.revise([uid])
    fetched.sandbox.idc.publish()

    found = mirrored(fetched, index)
    (row,) = [row for row in found.rows if row["state"] != "equal"]
    assert (row["SeriesInstanceUID"], row["state"]) == (uid, "differs")
    assert row["left_hash"] != row["right_hash"]
    assert both(fetched, index).count("equal") == SERIES


def test_what_nbia_released_after_the_idc_lags(fetched: Place, index: Path) -> None:
    uid = fetched.uids[0]
    fetched.sandbox.archive.revise([uid])
    fetched.refresh()  # the day of its submission is today, long after the release

    (row,) = [row for row in both(fetched, index).rows if row["state"] != "equal"]
    assert (row["SeriesInstanceUID"], row["state"]) == (uid, "lag")
    assert "after the IDC's on 2026-09-26" in row["reason"]


def test_a_series_that_the_idc_never_had_lags_and_one_that_it_lost_is_absent(
    fetched: Place, index: Path
) -> None:
    lost = fetched.uids[0]
    fetched.sandbox.idc.publish(without=[lost])
    (row,) = [row for row in mirrored(fetched, index).rows if row["state"] != "equal"]

    assert (row["SeriesInstanceUID"], row["state"]) == (lost, "absent")
    assert row["reason"] == "the IDC does not have it since v26"
    assert row["right_objects"] is None


def test_a_bucket_without_md5s_makes_the_state_unknown(fetched: Place, index: Path) -> None:
    fetched.sandbox.faults.add(Fault("etag_in_parts", times=1))
    found = mirrored(fetched, index)

    assert (found.count("unknown"), found.count("equal")) == (1, SERIES - 1)
    (row,) = [row for row in found.rows if row["state"] == "unknown"]
    assert "does not list the MD5" in row["reason"]


def test_a_later_comparison_replaces_an_earlier_one_of_the_same_places(
    fetched: Place, index: Path
) -> None:
    mirrored(fetched, index)
    both(fetched, index)
    fetched.sandbox.archive.revise([fetched.uids[0]])
    fetched.sandbox.idc.publish()
    mirrored(fetched, index)

    states = [(row["left_source"], row["state"]) for row in stored(fetched)]
    assert len(states) == 2 * SERIES
    assert states.count(("mirror", "differs")) == 1
    assert states.count(("nbia", "equal")) == SERIES
