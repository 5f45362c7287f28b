"""A plan that the disk cannot hold is refused before the first byte."""

from __future__ import annotations

import pytest

from tcia_assets.errors import UsageError
from tcia_assets.images.disk_space import check_disk_space
from tcia_assets_tests.images.many import (
    edit_series,
    planned,
    selected,
    uids_of,
)
from tcia_assets_tests.images.place import COLLECTION, Place


def test_a_disk_without_spare_bytes_is_an_error(
    mirror: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No disk of a test can be filled; what is kept free can be more than any has.
    monkeypatch.setattr("tcia_assets.images.disk_space.SPARE_BYTES", 1 << 60)
    with pytest.raises(UsageError, match=r"12 Series of [0-9.]+ kB .* make room"):
        check_disk_space([planned(mirror)], mirror.warehouse)


def test_a_plan_that_the_disk_cannot_hold_is_refused_before_the_first_byte(mirror: Place) -> None:
    edit_series(mirror, lambda found: found | {"FileSize": 10**15})
    with pytest.raises(UsageError) as refused:
        mirror.fetch()

    said = str(refused.value)
    assert f"{COLLECTION}: 1 Series of 1000.0 TB do not fit" in said
    assert str(mirror.data_dir) in said and "max_bytes_per_run" in said
    assert mirror.asked() == []
    assert mirror.rows == {} and list(mirror.data_dir.rglob("*.zip")) == []


def test_series_for_later_runs_do_not_count(mirror: Place) -> None:
    huge = mirror.uids[0]
    edit_series(
        mirror, lambda r: r | ({"FileSize": 10**15} if r["SeriesInstanceUID"] == huge else {})
    )
    plan = planned(mirror, selected(max_bytes_per_run=10**9))

    check_disk_space([plan], mirror.warehouse)
    assert uids_of(plan.later) == [huge]
