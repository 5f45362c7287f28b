"""Images come from the buckets of the IDC, and from the next source where one fails."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tcia_assets.errors import UsageError
from tcia_assets.images.disk_space import SPARE_BYTES, check_disk_space
from tcia_assets.images.manifest import merge_rows, remove_series
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.plan import plan_collection
from tcia_assets.images.zip_files import parts_path
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox import faults
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.images.place import COLLECTION
from tcia_assets_tests.images.two_sources import TwoSources

ZIPS = ("getImage", "getImageWithMD5Hash", "getSingleImage")


@pytest.fixture(scope="session")
def index_root(small_served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the metadata of three Series and an index release of them."""
    small_served.reset()
    there = TwoSources(small_served, tmp_path_factory.mktemp("two_sources"))
    there.refresh()
    there.write_index()
    there.warehouse.query("FROM series")  # it writes the files that all later ones need
    return there.data_dir


@pytest.fixture
def place(small_served: Sandbox, index_root: Path, tmp_path: Path) -> Iterator[TwoSources]:
    small_served.reset()
    shutil.copytree(index_root, tmp_path, dirs_exist_ok=True)
    there = TwoSources(small_served, tmp_path, image_sources=("idc",))
    yield there
    small_served.reset()


@pytest.fixture(scope="session")
def bucket_root(
    index_root: Path, small_served: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a copy of that folder with the zips of all three Series, made from the buckets."""
    small_served.reset()
    root = tmp_path_factory.mktemp("from_buckets")
    shutil.copytree(index_root, root, dirs_exist_ok=True)
    TwoSources(small_served, root, image_sources=("idc",)).fetch()
    return root


@pytest.fixture
def fetched_place(place: TwoSources, bucket_root: Path) -> TwoSources:
    shutil.copytree(bucket_root, place.data_dir, dirs_exist_ok=True)
    return place


def sources(place: TwoSources) -> Counter[str]:
    return Counter(row["source"].partition("@")[0] for row in place.rows.values())


def test_images_of_the_buckets_are_those_of_nbia(place: TwoSources) -> None:
    result = place.fetch()
    place.demand_complete()
    host = place.sandbox.url.removeprefix("http://")
    for uid, row in place.rows.items():
        assert (row["source"], row["verified_by"]) == (f"idc-v25@{host}", "md5")
        assert row["attempts"] == 0
        assert row["image_count"] == 4, uid
    assert result.received_bytes == sum(row["image_bytes"] for row in place.rows.values())
    assert place.asked_of(*ZIPS) == []
    place.sandbox.requests.clear()
    place.fetch()
    assert not place.sandbox.requests.last, "a second fetch needs no request"


def test_metadata_and_images_come_from_the_idc_alone(place: TwoSources) -> None:
    place.kind, place.image_sources = "idc", ()
    shutil.rmtree(place.data_dir / "warehouse")
    place.refresh()
    place.fetch()
    place.demand_complete()
    for row in place.rows.values():
        assert row["verified_by"] == "md5"
        assert row["source"].startswith("idc-v25@")
        assert row["crdc_series_uuid"]
    assert set(place.sandbox.requests.counts) == {"list", "object"}


def test_the_same_release_gives_the_same_zips(fetched_place: TwoSources) -> None:
    place = fetched_place
    first = {uid: place.zip(uid).read_bytes() for uid in place.uids}
    for uid in place.uids:
        place.zip(uid).unlink()
    place.verify()
    place.idc_connections = 1
    place.fetch()
    assert {uid: place.zip(uid).read_bytes() for uid in place.uids} == first


# --- Several sources ------------------------------------------------------------------------------


def test_the_next_source_has_what_the_first_fails_to_send(place: TwoSources) -> None:
    place.image_sources = ("nbia", "idc")
    for endpoint in ZIPS:
        place.spoil("status", place.uids[0], endpoint=endpoint, status=404)
    place.fetch()
    place.demand_complete()
    assert sources(place) == {"nbia-v4": 2, "idc-v25": 1}
    assert place.rows[place.uids[0]]["source"].startswith("idc-v25@127.0.0.1:")


def test_a_series_that_the_idc_redacted_comes_from_nbia(place: TwoSources) -> None:
    place.image_sources = ("idc", "nbia")
    place.sandbox.idc.redact([place.uids[1]])
    place.fetch()
    place.demand_complete()
    assert sources(place) == {"idc-v25": 2, "nbia-v4": 1}


def test_a_version_that_the_idc_does_not_have_yet_comes_from_nbia(place: TwoSources) -> None:
    place.image_sources = ("idc", "nbia")
    place.revise(place.uids[2], image_count=5)
    place.refresh()
    place.sandbox.requests.clear()
    place.fetch()
    place.demand_complete()
    assert sources(place) == {"idc-v25": 2, "nbia-v4": 1}
    # Two objects lists, as any route is tried twice; no object of it was fetched in vain.
    assert place.asked_of("getImage") == [place.uids[2]]
    assert place.sandbox.requests["object"] == 8


def test_the_index_is_not_read_while_the_first_source_has_all(place: TwoSources) -> None:
    place.image_sources = ("nbia", "idc")
    for path in (place.data_dir / "index").iterdir():
        path.unlink()
    place.fetch()
    place.demand_complete()


def test_a_series_that_no_source_provides_has_the_reason_of_each(place: TwoSources) -> None:
    place.image_sources = ("idc", "nbia")
    uid = place.uids[0]
    place.sandbox.idc.redact([uid])
    for endpoint in ZIPS:
        place.spoil("status", uid, endpoint=endpoint, status=404)
    place.fetch(uid)
    row = place.rows[uid]
    assert row["status"] == "failed"
    assert "idc-v25@" in row["error"]
    assert "0 objects of 0 bytes, but the index says 4" in row["error"]
    assert "nbia-v4@" in row["error"]
    place.sandbox.reset()


def test_an_outage_of_one_source_is_no_verdict_on_a_series(place: TwoSources) -> None:
    place.image_sources = ("nbia", "idc")
    uid = place.uids[0]
    place.spoil("zip_short", uid, images=1)
    place.without_single_images()
    place.add_fault("status", status=503)
    place.fetch(uid)
    assert place.rows[uid]["status"] == "failed"


def test_a_zip_of_one_source_is_complete_for_the_other(place: TwoSources) -> None:
    place.image_sources = ("nbia",)
    place.fetch()
    before = place.rows
    _forget_version(place)
    place.image_sources = ("idc",)
    place.sandbox.requests.clear()
    result = place.fetch()
    assert (len(result.fetched), result.received_bytes) == (3, 0)
    assert place.sandbox.requests["object"] == 0
    for uid, row in place.rows.items():
        assert row["sha256"] == before[uid]["sha256"]
        assert (row["source"], row["status"]) == (before[uid]["source"], "complete")
    _forget_version(place)
    place.image_sources = ("nbia",)
    place.fetch()
    place.demand_complete()


def _forget_version(place: TwoSources) -> None:
    """Let the manifest say that all zips are of another version."""
    rows = [
        replace(ManifestRow.from_record(row), fingerprint="other", image_count=99)
        for row in place.rows.values()
    ]
    merge_rows(place.warehouse, COLLECTION, rows, over_newer=True)


def test_a_zip_that_a_killed_run_left_is_taken_over_from_any_source(
    fetched_place: TwoSources,
) -> None:
    place, uid = fetched_place, fetched_place.uids[0]
    content = place.zip(uid).read_bytes()
    remove_series(place.warehouse, COLLECTION, [uid])
    place.zip(uid).write_bytes(content)
    place.image_sources = ("nbia", "idc")
    assert place.fetch().received_bytes == 0
    assert place.rows[uid]["sha256"] == hashlib.sha256(content).hexdigest()
    place.demand_complete()


# --- Faults ---------------------------------------------------------------------------------------

STORED = {**faults.BUCKETS, **faults.LISTINGS, **faults.OBJECTS, **faults.STORED}
KINDS = STORED.keys() - {"range_ignored", "range_shifted"} | {"status", "reset", "cut", "html"}
QUICK_KINDS = ["object_flipped", "etag_in_parts"]
HARMLESS = {"list_folder", "etag_unquoted", "list_one_page"}
# What cannot be proven by MD5 then.
WEAKER = {"etag_in_parts", "etag_missing"}


@pytest.mark.parametrize(
    "kinds",
    [
        QUICK_KINDS,
        *(pytest.param([kind], marks=pytest.mark.slow) for kind in sorted(KINDS - {*QUICK_KINDS})),
    ],
    ids=",".join,
)
def test_a_fault_leaves_no_wrong_byte_and_loses_nothing(
    place: TwoSources, kinds: list[str]
) -> None:
    spoilt = dict(zip(place.uids, kinds, strict=False))
    for uid, kind in spoilt.items():
        place.add_fault(kind, series=uid)
    place.fetch()
    for uid, row in place.rows.items():
        kind = spoilt.get(uid, "none")
        is_fetched = kind in HARMLESS | WEAKER | {"none"}
        assert (row["status"] == "complete") == is_fetched, (kind, row["error"])
        assert row["error"] or is_fetched
        if is_fetched:
            assert row["verified_by"] == ("count+size" if kind in WEAKER else "md5")
    place.sandbox.faults.clear()
    place.fetch(retry=True)
    if WEAKER.isdisjoint(kinds):
        place.demand_complete()
    else:
        assert {row["status"] for row in place.rows.values()} == {"complete"}


def test_a_fault_that_passes_costs_a_retry_only(place: TwoSources) -> None:
    for kind, uid in zip(("slow_down", "object_short"), place.uids, strict=False):
        place.add_fault(kind, times=1, series=uid)
    place.fetch()
    place.demand_complete()


def test_an_object_that_fails_keeps_the_others(place: TwoSources) -> None:
    uid = place.uids[0]
    facts = place.sandbox.archive.find(uid)
    assert facts is not None
    sop = next(uid for uid, _ in place.sandbox.archive.objects(facts))
    place.add_fault("no_such_key", sop_instance=sop)
    place.fetch(uid)
    assert place.rows[uid]["status"] == "unavailable"
    assert len(list(parts_path(place.zip(uid)).iterdir())) == 3
    place.sandbox.faults.clear()
    place.sandbox.requests.clear()
    result = place.fetch(uid)
    assert place.sandbox.requests["object"] == 1
    assert result.received_bytes * 4 == place.rows[uid]["image_bytes"]
    place.demand_sound()


# --- The disk -------------------------------------------------------------------------------------


def test_the_room_for_packing_is_reckoned_with(
    place: TwoSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_collection(COLLECTION, Selection(collections=(COLLECTION,)), place.warehouse)
    size = plan.bytes_now
    usage = SimpleNamespace(free=size + SPARE_BYTES + 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check_disk_space([plan], place.warehouse, place.settings.replace(image_sources=("nbia",)))
    with pytest.raises(UsageError, match="do not fit"):
        check_disk_space([plan], place.warehouse, place.settings)
    parts = parts_path(place.zip(place.uids[0]))
    parts.mkdir(parents=True)
    (parts / "1.dcm").write_bytes(bytes(size))
    check_disk_space([plan], place.warehouse, place.settings)
