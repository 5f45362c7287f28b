"""A fetch from the buckets that is killed goes on with the objects that it had."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.zip_files import draft_path, parts_path
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import open_image_sources, open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.place import COLLECTION, QUICK, small_catalogue
from tcia_assets_tests.images.two_sources import TwoSources

OBJECTS, KILLS, PATIENCE_S = 2500, 20, 120


@pytest.fixture
def large(tmp_path: Path) -> Iterator[TwoSources]:
    """Return a data folder with the metadata of one Series of many objects."""
    with Sandbox(small_catalogue(1, OBJECTS)) as sandbox:
        there = TwoSources(sandbox, tmp_path, image_sources=("idc",))
        there.refresh()
        there.write_index()
        yield there


def fetch(settings: Settings) -> None:
    """Run a fetch in its own process."""
    with open_source(settings, pacing=QUICK) as source, open_image_sources(source) as (first,):
        session = FetchSession(Selection(collections=(COLLECTION,)))
        fetch_images(COLLECTION, session, first, Warehouse(settings.root))


def started(place: TwoSources) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tcia_assets_tests.images.test_bucket_crash"])
    child = context.Process(target=fetch, args=(place.settings,))
    child.start()
    return child


@pytest.mark.slow
def test_a_fetch_killed_many_times_loses_no_object(large: TwoSources) -> None:
    (uid,) = large.uids
    chance = random.Random(7)
    received = killed = 0
    for _ in range(KILLS):
        before = large.sandbox.requests["object"]
        child = started(large)
        # Not before it has begun: to import takes longer than all objects.
        end = time.monotonic() + PATIENCE_S
        due = before + chance.randint(1, OBJECTS // KILLS)
        while large.sandbox.requests["object"] < due and child.is_alive():
            assert time.monotonic() < end, "the child does not begin"
            time.sleep(0.001)
        if child.is_alive():
            os.kill(int(child.pid or 0), signal.SIGKILL)
            killed += 1
        child.join(PATIENCE_S)
        assert not large.zip(uid).exists() or child.exitcode == 0
        assert large.rows.get(uid, {"status": "complete"})["status"] == "complete"
    assert killed == KILLS
    parts = len(list(parts_path(large.zip(uid)).iterdir()))
    received = large.sandbox.requests["object"]
    assert parts > OBJECTS // KILLS
    result = large.fetch()
    large.demand_complete()
    # What a kill costs is what was under way: as many objects as connections.
    again = large.sandbox.requests["object"] - OBJECTS
    assert again <= KILLS * 2 * large.idc_connections
    assert result.received_bytes < large.rows[uid]["image_bytes"]
    assert large.sandbox.requests["object"] - received <= OBJECTS - parts + large.idc_connections


@pytest.mark.slow
def test_a_series_of_many_pages_is_whole(large: TwoSources) -> None:
    large.fetch()
    large.demand_complete()
    (row,) = large.rows.values()
    assert (row["image_count"], row["verified_by"]) == (OBJECTS, "md5")
    assert large.sandbox.requests["list"] == 3


@pytest.mark.slow
def test_a_kill_while_packing_costs_no_object(large: TwoSources) -> None:
    (uid,) = large.uids
    child, end = started(large), time.monotonic() + PATIENCE_S
    while not draft_path(large.zip(uid)).exists():
        assert child.is_alive()
        assert time.monotonic() < end
        time.sleep(0.001)
    os.kill(int(child.pid or 0), signal.SIGKILL)
    child.join(PATIENCE_S)
    large.sandbox.requests.clear()
    assert large.fetch().received_bytes == 0
    assert large.sandbox.requests["object"] == 0
    large.demand_complete()
