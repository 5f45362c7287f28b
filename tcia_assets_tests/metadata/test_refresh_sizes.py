"""Sizes are requested only of Series that are new or changed, within the budget."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets.catalog import SERIES, SERIES_SIZES
from tcia_assets.errors import RemoteError
from tcia_assets.metadata.budget import RequestBudget, alone_if_large
from tcia_assets.metadata.refresh_sizes import refresh_sizes
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def sizes(mirror: SandboxMirror, limit: int) -> dict[str, int | bool | str]:
    result = refresh_sizes(SMALL, mirror.source, mirror.warehouse, NOW, RequestBudget(limit))
    return dict(result.facts)


def test_sizes_beyond_the_budget_are_left_to_the_next_refresh(mirror: SandboxMirror) -> None:
    mirror.start()
    assert sizes(mirror, 4) == {"asked": 4, "remaining": 6, "unknown": 0}
    assert sizes(mirror, 100) == {"asked": 6, "remaining": 0, "unknown": 0}
    stored = mirror.warehouse.read(SERIES_SIZES, [SMALL])
    assert set(stored["fetched_at"].to_pylist()) == {NOW}
    path = mirror.warehouse.path(SERIES_SIZES, SMALL)
    before = path.read_bytes()
    assert sizes(mirror, 100) == {"asked": 0, "remaining": 0, "unknown": 0}
    assert path.read_bytes() == before


def test_the_size_of_a_changed_series_is_requested_again(mirror: SandboxMirror) -> None:
    mirror.start()
    sizes(mirror, 100)
    [changed] = mirror.archive.revise(collection=SMALL, count=1, image_count=3)
    mirror.refresh(day(2), SMALL)
    assert sizes(mirror, 100)["asked"] == 1
    series = mirror.warehouse.read(SERIES, [SMALL])
    stored = mirror.warehouse.read(SERIES_SIZES, [SMALL])
    is_it = pc.equal(stored["SeriesInstanceUID"], changed)
    assert (
        stored.filter(is_it)["fingerprint"]
        == series.filter(pc.equal(series["SeriesInstanceUID"], changed))["fingerprint"]
    )


def test_sizes_of_chosen_series_leave_the_others_to_be_requested(mirror: SandboxMirror) -> None:
    mirror.start()
    chosen, budget = mirror.uids(SMALL, 2), RequestBudget(100)
    refresh_sizes(SMALL, mirror.source, mirror.warehouse, NOW, budget, only=chosen)

    stored = mirror.warehouse.read(SERIES_SIZES, [SMALL])
    assert sorted(stored["SeriesInstanceUID"].to_pylist()) == sorted(chosen)
    assert sizes(mirror, 100) == {"asked": 8, "remaining": 0, "unknown": 0}


def test_missing_series_need_no_size(mirror: SandboxMirror) -> None:
    mirror.start()
    mirror.archive.hide(mirror.uids(SMALL, 1))
    mirror.refresh(day(2), SMALL)
    assert sizes(mirror, 0)["remaining"] == 9


def test_sizes_received_before_a_failure_are_stored(mirror: SandboxMirror) -> None:
    mirror.start()
    last = mirror.uids(SMALL, 10)[-1]
    mirror.sandbox.faults.add(Fault("html", "getSeriesSize", times=0, series=last))
    with pytest.raises(RemoteError):
        sizes(mirror, 100)
    stored = mirror.warehouse.read(SERIES_SIZES, [SMALL])
    assert isinstance(stored, pa.Table) and 0 < stored.num_rows < 10


def test_other_large_tables_do_not_wait_for_requests(
    mirror: SandboxMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.start()
    monkeypatch.setattr("tcia_assets.metadata.budget._LARGE", 1)
    mirror.sandbox.faults.add(Fault("hang", "getSeriesSize", seconds=1))

    def process_another() -> None:
        with alone_if_large(2):
            assert mirror.sandbox.requests.in_flight

    with ThreadPoolExecutor(2) as pool:
        refreshing = pool.submit(sizes, mirror, 1)
        while not mirror.sandbox.requests["getSeriesSize"]:
            time.sleep(0.01)
        pool.submit(process_another).result(30)
        assert refreshing.result(30)["asked"] == 1
