"""Machines that share a bucket: what one has fetched, no other fetches again."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from datetime import timedelta

import pytest

from tcia_assets.catalog import IMAGES
from tcia_assets.errors import StorageError
from tcia_assets.images import shared_rows
from tcia_assets.images.fetch import fetch_images, record_fetches_of_others
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.headers.image_rows import index_images
from tcia_assets.images.run_limits import Shard
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.disks import filled, small_disk
from tcia_assets_tests.images.bucket_place import Machine, beside
from tcia_assets_tests.images.place import COLLECTION, FOLDER, QUICK, Place
from tcia_assets_tests.s3_proxy import Fault, Proxy, is_put


def test_a_fetch_leaves_nothing_but_objects_and_repeating_it_requests_nothing(
    machine: Machine,
) -> None:
    one = machine()
    one.fetch()
    one.demand_complete()
    one.fetch()
    assert one.asked("getImage", "getImageWithMD5Hash") == one.uids


@pytest.mark.slow
def test_headers_of_zips_just_fetched_are_read_without_a_request(
    machine: Machine, served_s3: Proxy
) -> None:
    one = machine()
    one.fetch()
    served_s3.seen.clear()
    assert index_images(COLLECTION, one.warehouse).objects == 4 * len(one.uids)
    assert served_s3.seen == []


def test_shards_on_machines_without_a_common_folder_know_of_each_other(machine: Machine) -> None:
    one, two, late = machine(), machine(), machine()
    with one.source() as source:
        one.fetch_by(source, shard=Shard(0, 2))
        two.fetch_by(source, shard=Shard(1, 2))
        one.fetch_by(source, shard=Shard(0, 2))
        late.fetch_by(source)
    late.demand_complete()
    for each, shard in ((one, Shard(0, 2)), (two, Shard(1, 2))):
        mine = {uid: row for uid, row in late.rows.items() if shard.contains(uid)}
        assert mine and each.rows == mine, (
            "of the other part, whose zips it would have to read, none"
        )
    one.fetch()
    assert one.rows == late.rows
    assert one.asked() == one.uids, "each once"
    licences = late.warehouse.archives.open(f"{FOLDER}/LICENSES.md").read().decode()
    assert f"{len(one.uids)} Series" in licences or f"| {len(one.uids)} |" in licences


@pytest.mark.slow
def test_a_machine_that_is_lost_with_its_disk_loses_no_zip(
    machine: Machine, served_s3: Proxy
) -> None:
    one = machine()
    journals = Fault("status", is_put("/journal/"), times=99, code="AccessDenied")
    served_s3.faults.append(journals)
    with pytest.raises(StorageError, match=r"journal.*AccessDenied"):
        one.fetch()
    assert sorted(one.objects) == one.uids, "all were put, and no row of them"
    served_s3.faults.clear()
    shutil.rmtree(one.data_dir)
    two = machine()
    two.fetch()
    two.demand_complete()
    assert two.asked() == two.uids, "each once: the other machine finds the objects"


@pytest.mark.slow
def test_rows_that_could_not_be_passed_are_passed_by_the_next_run(
    machine: Machine, served_s3: Proxy
) -> None:
    one, two = machine(), machine()
    served_s3.faults.append(Fault("status", is_put("/journal/"), times=99))
    with pytest.raises(StorageError):
        one.fetch()
    served_s3.faults.clear()
    one.fetch()
    two.fetch()
    assert one.rows == two.rows
    assert one.asked() == one.uids


@pytest.mark.slow
def test_another_machine_that_puts_the_same_series_at_the_same_time_is_no_conflict(
    machine: Machine, served_s3: Proxy
) -> None:
    one, two = machine(), machine()
    uid = one.uids[0]
    served_s3.faults.append(Fault("before", is_put(f"{uid}.zip"), happens=lambda: two.fetch(uid)))
    one.fetch(uid)

    assert one.asked() == [uid, uid]
    one.demand_sound()
    two.demand_sound()
    assert one.rows[uid]["sha256"] == two.rows[uid]["sha256"], "that of the zip that is there"


@pytest.mark.slow
def test_a_series_that_has_changed_is_put_over_its_old_zip(machine: Machine) -> None:
    one = machine()
    one.fetch()
    uid = one.uids[0]
    before = one.rows[uid]["sha256"]
    one.revise(uid)
    one.refresh()
    one.fetch()
    one.demand_complete()
    assert one.rows[uid]["sha256"] != before


def test_a_fetch_that_learns_of_zips_of_others_may_have_more_new_ones_than_its_own(
    machine: Machine,
) -> None:
    one, two = machine(), machine()
    first, second, third = one.uids
    one.fetch(first)
    with one.source() as source:
        done = one.fetch_by(source, third, on_row=lambda _: two.fetch(second))
    assert done.new_zips is None
    one.demand_complete()


def test_a_warehouse_that_fetches_nothing_learns_of_it_too(machine: Machine) -> None:
    one, main = machine(), machine()
    one.fetch()
    record_fetches_of_others(main.warehouse)
    assert main.rows == one.rows
    record_fetches_of_others(main.warehouse)
    main.demand_complete()


def test_a_shard_downloads_the_rows_of_others_once(machine: Machine, served_s3: Proxy) -> None:
    whole, one = machine(), machine()
    whole.fetch()
    with one.source() as source:
        one.fetch_by(source, shard=Shard(0, 2))
        served_s3.seen.clear()
        one.fetch_by(source, shard=Shard(0, 2))
        assert [r.path for r in served_s3.seen if r.method == "GET" and "/journal/" in r.path] == []
        one.fetch_by(source)
    assert one.rows == whole.rows


@pytest.mark.slow
def test_old_files_of_rows_are_removed_by_those_who_have_merged_them(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = machine(), machine(), machine()
    one.fetch()
    two.fetch()
    with three.source() as source:
        three.fetch_by(source, shard=Shard(0, 2))
    monkeypatch.setattr(shared_rows, "_KEPT", timedelta(0))
    time.sleep(1.1)  # the server's clock ticks in seconds
    one.fetch()
    assert one.warehouse.archives.list(f"journal/{FOLDER}") == []
    two.fetch()
    with three.source() as source:
        three.fetch_by(source, shard=Shard(0, 2))
    for each in (one, two, three):
        folder = each.data_dir / "archives" / "journal"
        assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert one.rows.keys() == two.rows.keys() == set(one.uids)


@pytest.mark.slow
def test_a_bucket_that_refuses_leaves_no_row_and_the_next_run_goes_on(
    machine: Machine, served_s3: Proxy
) -> None:
    one = machine()
    served_s3.faults.append(Fault("status", is_put(".zip"), times=99))
    with pytest.raises(StorageError, match="403 AccessDenied"):
        one.fetch()
    assert one.rows == {}
    assert one.objects == []
    served_s3.faults.clear()
    one.fetch()
    one.demand_complete()


@pytest.mark.slow
def test_files_of_rows_that_are_damaged_are_named(machine: Machine) -> None:
    from tcia_assets.errors import DataError

    one = machine()
    one.warehouse.archives.put_text(f"journal/{FOLDER}/x.jsonl", "no row\n")
    (one.data_dir / "archives" / "journal" / FOLDER / "x.jsonl").unlink()
    with pytest.raises(DataError, match=r"s3://.*/x\.jsonl has the line 'no row'"):
        one.fetch()
    assert one.asked() == []


def test_nothing_is_passed_where_the_zips_are_in_a_folder(place: Place) -> None:
    place.fetch()
    assert not (place.data_dir / "archives" / "journal").exists()
    assert [path.name for path in (place.data_dir / "archives").iterdir()] == [FOLDER]


@pytest.mark.slow
def test_zips_are_read_before_they_leave_the_cache(
    mirror: Place, bucket: str, served_s3: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = beside(mirror, tmp_path_factory.mktemp("machine") / "data", bucket)
    # Less than all zips; more than a half of it and what three threads fetch at the same time.
    one.cache_bytes, one.max_connections = 80_000, 1
    with one.source() as source:
        one.fetch_by(
            source,
            # Recording a row may take longer than fetching a Series.
            on_row=lambda _: time.sleep(0.3),
            on_cache_filling=lambda: index_images(COLLECTION, one.warehouse),
        )
    index_images(COLLECTION, one.warehouse)
    assert sum(row["archive_bytes"] for row in one.rows.values()) > 80_000
    assert [r for r in served_s3.seen if r.method == "GET" and ".zip" in r.path] == []
    assert one.warehouse.row_count(IMAGES, COLLECTION) == 2 * len(one.uids)


@pytest.mark.slow
def test_a_fetch_whose_zips_cannot_be_read_ends_and_the_next_one_goes_on(machine: Machine) -> None:
    def fail() -> None:
        raise StorageError("cannot read")

    one = machine()
    one.cache_bytes, one.max_connections = 10_000, 1
    with one.source() as source, pytest.raises(StorageError, match="cannot read"):
        one.fetch_by(source, on_cache_filling=fail)
    one.demand_sound()
    one.fetch()
    one.demand_complete()
    assert one.asked() == one.uids, "each once"


# --- Kills and full disks -------------------------------------------------------------------------


def fetch(settings: Settings, collection: str) -> None:
    """Run a fetch in its own process."""
    with open_source(settings, pacing=QUICK) as source:
        session = FetchSession(Selection(collections=(collection,)))
        fetch_images(collection, session, source, Warehouse.of(settings))


@pytest.mark.slow
def test_a_fetch_that_is_killed_twenty_times_fetches_no_complete_series_again(
    wide: Place, bucket: str, served_s3: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = beside(wide, tmp_path_factory.mktemp("machine") / "data", bucket)
    context, chance, killed = multiprocessing.get_context("spawn"), random.Random(7), 0
    for _ in range(20):
        child = context.Process(target=fetch, args=(one.settings, COLLECTION))
        due = len(served_s3.seen) + chance.randint(1, 12)
        child.start()
        while len(served_s3.seen) < due and child.is_alive():
            time.sleep(0.001)
        complete = set(one.objects)
        if child.is_alive():
            os.kill(int(child.pid or 0), signal.SIGKILL)
            killed += 1
        child.join(60)
        assert complete <= set(one.objects)
        assert {u for u, row in one.rows.items() if row["status"] == "complete"} <= complete
    before = Counter(one.asked())
    complete = set(one.objects)
    one.fetch()
    one.demand_complete()
    again = Counter(one.asked()) - before
    assert killed > 5
    assert complete.isdisjoint(again), "what was put is not requested again"


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_the_next_run_goes_on(
    mirror: Place,
    bucket: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if others had filled the disk since the plan.
    monkeypatch.setattr("tcia_assets.images.disk_space.SPARE_BYTES", -(1 << 40))
    with small_disk(tmp_path_factory.mktemp("place") / "disk", "24m") as disk:
        one = beside(mirror, disk / "data", bucket)
        with filled(disk, but_for=40_000), pytest.raises(StorageError, match=r"No space|is full"):
            one.fetch()
        complete = {uid for uid, row in one.rows.items() if row["status"] == "complete"}
        assert complete <= set(one.objects)
        asked = one.asked()
        one.fetch()
        one.demand_complete()
        assert all(one.asked().count(uid) == asked.count(uid) for uid in complete)
