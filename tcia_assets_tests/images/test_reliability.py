"""What happens with bad replies and bad disks: only complete zips get their final path.

Each case is a row of docs/reliability.md, which has the expected status and message. All over real
HTTP; a scripted server sends what the sandbox cannot.
"""

from __future__ import annotations

import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets import catalog
from tcia_assets.errors import ArchiveBroken, StorageError, UsageError
from tcia_assets.images.fetch import FetchResult
from tcia_assets.images.plan import MAX_ATTEMPTS
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sandbox.zip_stream import Entry, zip_chunks
from tcia_assets.sources import open_source
from tcia_assets_tests.disks import filled, read_only, small_disk
from tcia_assets_tests.images.conftest import PlaceOf
from tcia_assets_tests.images.many import place_at, put
from tcia_assets_tests.images.outcomes import OUTCOMES
from tcia_assets_tests.images.place import COLLECTION, QUICK, Place, images_in, small_catalogue
from tcia_assets_tests.sources.scripted import Answer, Scripted, chunked

HERE = Path(__file__).parent
NOT_PUBLIC = (
    "The user has not been granted the access to image with given SeriesInstanceUID,1.2.3. "
    "Please contact System Admin to resolve this issue."
)


@dataclass(frozen=True, eq=False)
class Case:
    """A fault in all replies about a Series."""

    title: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    pacing: dict[str, float] = field(default_factory=dict)


def status(code: int, **settings: Any) -> dict[str, Any]:
    return {"status": code, **settings}


IN_PLAIN_TEXT = {
    "content_type": "text/plain",
    "body": "Server was not able to process your request",
}
CASES = [
    Case("Zip that lacks images", "zip_short", {"images": 2}),
    Case("Last image cut, with a right CRC", "zip_last_cut"),
    Case("Empty zip of 22 bytes", "zip_empty"),
    Case("Zip of a LICENSE only", "zip_license_only"),
    Case("Flipped byte", "zip_flipped_byte"),
    Case("Wrong MD5 list", "zip_wrong_md5"),
    Case("Bytes behind the zip", "zip_trailing_bytes"),
    Case("Body that ends early", "unterminated", {"after_bytes": 2000}),
    Case("Connection reset in the body", "reset", {"after_bytes": 2000}),
    Case("No byte within the read time-out", "hang", {"seconds": 9}, {"read_timeout_s": 0.8}),
    Case("A byte a second", "drip", {"seconds": 0.1}, {"slowest_read_s": 0.3}),
    Case("HTML with status 200", "html"),
    Case("Zero bytes with status 200", "empty"),
    Case("Not public", "status", status(400, body=NOT_PUBLIC)),
    Case("Status 500 with a text", "status", status(500, **IN_PLAIN_TEXT)),
    Case("Status 502 with HTML", "status", status(502)),
    Case("Status 504 with HTML", "status", status(504)),
    Case("Status 429 that does not end", "status", status(429, retry_after="1")),
    Case("Member named ../outside.dcm", "zip_traversal"),
    Case("Member with an absolute name", "zip_absolute"),
    Case("Member with a drive letter", "zip_drive"),
    Case("Two members of one name", "zip_duplicate"),
    Case("Symbolic link", "zip_symlink"),
    Case("Zip within the zip", "zip_nested"),
]
# What makes these zips bad is tested in `acceptance` too, in milliseconds.
TESTED_TWICE = {
    "Empty zip of 22 bytes",
    "Zip of a LICENSE only",
    "Flipped byte",
    "Bytes behind the zip",
    "Status 502 with HTML",
    "Status 504 with HTML",
    "Member with an absolute name",
    "Member with a drive letter",
    "Two members of one name",
    "Symbolic link",
    "Zip within the zip",
}


def test_the_document_lists_exactly_what_is_tested() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py"))
    assert [title for title in OUTCOMES if f'"{title}"' not in tests] == []
    assert [case.title for case in CASES if case.title not in OUTCOMES] == []


# --- What the source may send ---------------------------------------------------------------------


def refuse(place: Place, earlier_zips: Path, cases: list[Case]) -> None:
    """Fetch two Series for each case, one of which has an earlier zip, and the Series left over."""
    place.without_single_images()
    spoilt = with_cases(place, earlier_zips, cases)
    before = {earlier: place.zip(earlier).read_bytes() for earlier, _ in spoilt.values()}
    place.fetch(**{name: value for case in cases for name, value in case.pacing.items()})

    place.demand_sound()
    for case, (earlier, new) in spoilt.items():
        for uid in (earlier, new):
            demand(place, uid, case.title)
            assert place.rows[uid]["attempts"] == 1, case.title
        assert place.zip(earlier).read_bytes() == before[earlier], case.title
        assert not place.zip(new).exists(), case.title
    left_over = set(place.uids).difference(*spoilt.values())
    assert {place.rows[uid]["status"] for uid in left_over} == {"complete"}
    demand_nothing_outside(place)
    place.sandbox.faults.clear()
    place.fetch()
    place.demand_complete()


def with_cases(place: Place, earlier_zips: Path, cases: list[Case]) -> dict[Case, tuple[str, str]]:
    """Spoil two Series for each case, one of which has an earlier zip; return their UIDs."""
    pairs = zip(place.uids[1::2], place.uids[2::2], strict=False)
    spoilt = dict(zip(cases, pairs, strict=False))
    shutil.copytree(earlier_zips, place.data_dir, dirs_exist_ok=True)
    place.revise(*(earlier for earlier, _ in spoilt.values()))
    place.refresh()
    for case, uids in spoilt.items():
        place.spoil(case.kind, *uids, **case.settings)
    return spoilt


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param([c for c in CASES if not (c.pacing or c.title in TESTED_TWICE)], id="some"),
        pytest.param(
            [c for c in CASES if c.title in TESTED_TWICE], marks=pytest.mark.slow, id="others"
        ),
    ],
)
def test_a_refused_zip_gets_no_final_path_and_the_manifest_has_the_reason(
    many: Place, one_of_each_fetched: Path, cases: list[Case]
) -> None:
    refuse(many, one_of_each_fetched, cases)


def test_a_reply_that_is_too_slow_gives_no_zip_and_the_manifest_has_the_reason(
    eight: Place, half_of_eight_fetched: Path
) -> None:
    refuse(eight, half_of_eight_fetched, [case for case in CASES if case.pacing])


def test_single_images_complete_a_zip_and_the_hash_of_the_source_verifies_it(
    eight: Place, half_of_eight_fetched: Path
) -> None:
    cases = [c for c in CASES if c.title in OUTCOMES and OUTCOMES[c.title].is_completed_at_once]
    spoilt = with_cases(eight, half_of_eight_fetched, cases)
    eight.fetch()

    assert {row["verified_by"] for row in eight.rows.values()} == {"md5"}
    asked = (r for r in eight.sandbox.requests.last if r.endpoint == "getMD5Hierarchy")
    assert sorted(r.parameters["SeriesInstanceUID"] for r in asked) == sorted(
        uid for both in spoilt.values() for uid in both
    )
    eight.demand_complete()


def test_the_retry_after_of_a_429_is_respected(place: Place) -> None:
    [uid, *_] = place.uids
    place.sandbox.faults.add(Fault("status", series=uid, status=429, retry_after="1"))
    place.fetch()

    assert place.asked("getImage").count(uid) == 2
    place.demand_complete()


def test_a_count_that_never_matches_is_given_up_until_retried_or_corrected(
    place: Place,
) -> None:
    title = "`ImageCount` that never matches"
    place.sandbox.faults.add(Fault("wrong_count"))
    place.refresh()
    for attempt in (1, MAX_ATTEMPTS):
        # As all fetches but the last one leave it.
        put(place, *(row | {"attempts": attempt - 1} for row in place.rows.values()))
        place.fetch()
        place.demand_sound()
        for uid in place.uids:
            demand(place, uid, title)
            assert place.rows[uid]["attempts"] == attempt
    asked = len(place.asked())
    got = place.fetch()

    assert (len(got.plan.given_up), len(place.asked())) == (3, asked)
    place.fetch(retry=True)
    assert len(place.asked()) > asked
    assert {row["attempts"] for row in place.rows.values()} == {MAX_ATTEMPTS + 1}
    place.refresh()
    place.fetch()
    place.demand_complete()


def test_images_are_identified_by_content_and_not_by_name(place: Place) -> None:
    """The sandbox gives the images other names in each download, as NBIA does."""
    [uid, *_] = place.uids
    place.revise(uid, image_count=6)  # in two of a million runs three orders are the same
    place.refresh()
    place.fetch(uid)
    named = [images_in(place.zip(uid))]
    place.spoil("zip_short", uid, endpoint="getImage")
    for _ in range(2):
        place.zip(uid).unlink()
        place.verify()
        place.fetch(uid)
        named.append(images_in(place.zip(uid)))

    assert len({tuple(sorted(each.items())) for each in named}) > 1
    assert len({tuple(sorted(each.values())) for each in named}) == 1
    place.sandbox.faults.clear()
    place.fetch()
    place.demand_complete()


def test_a_zip_of_another_revision_is_refused_until_the_next_refresh(
    fetched_three: Place,
) -> None:
    place, changing = fetched_three, fetched_three.uids[1]
    place.revise(changing)
    place.refresh()
    before = place.zip(changing).read_bytes()
    place.when_asked("getImage", lambda: place.revise(changing, image_count=3))
    place.fetch()

    demand(place, changing, "Series revised while it is fetched, to fewer images")
    place.demand_sound()
    assert place.zip(changing).read_bytes() == before
    place.refresh()
    place.fetch()
    place.demand_complete()
    assert place.rows[changing]["image_count"] == 3


def test_a_lost_zip_that_cannot_be_fetched_has_no_path_in_the_manifest(
    fetched_three: Place,
) -> None:
    place, uid = fetched_three, fetched_three.uids[0]
    place.zip(uid).unlink()
    place.verify()
    place.spoil("status", uid, status=500)
    place.fetch()

    assert place.rows[uid]["status"] == "failed"
    place.demand_sound()
    place.sandbox.faults.clear()
    place.fetch()
    place.demand_complete()


def test_a_mix_of_two_revisions_is_not_verified_by_md5_and_is_fetched_again(place: Place) -> None:
    """The zip lacks two images; before they are downloaded singly, all images change."""
    uid = place.uids[0]
    place.spoil("zip_short", uid, images=2)
    place.when_asked("getSingleImage", lambda: place.revise(uid))
    place.fetch()

    row = place.rows[uid]
    assert (row["status"], row["verified_by"]) == ("complete", "count+size")
    assert sorted(images_in(place.zip(uid)).values()) != place.true_md5s(uid)
    place.sandbox.faults.clear()
    place.refresh()
    place.fetch()
    place.demand_complete()


# --- Zips that cost more than they should ---------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "make"),
    [
        ("10 GB from 10 MB", "bomb"),
        # `acceptance` refuses the same.
        pytest.param("A million members", "many", marks=pytest.mark.slow),
        ("Endless zip", "endless"),
    ],
)
def test_a_zip_that_would_cost_too_much_is_refused_early(
    place: Place, title: str, make: str
) -> None:
    [uid, *_] = place.uids
    if make != "endless":
        without_sizes(place)
    with Scripted(HOSTILE[make]()) as server:
        fetched_from(place, server, uid)

    demand(place, uid, title)
    place.demand_sound()
    place.refresh()
    place.fetch()
    place.demand_complete()


def bomb() -> Answer:
    """Return three members of 3.5 GB of zeros in 3.5 MB each, with wrong CRCs."""
    members = [Entry(f"{n}.dcm", zeros(ZEROS), deflated=(0, ZEROS)) for n in range(3)]
    return chunked(b"".join(zip_chunks(members)))


ZEROS = 213 << 24


def zeros(size: int) -> Iterator[bytes]:
    deflate, block = zlib.compressobj(wbits=-zlib.MAX_WBITS), 1 << 24
    piece = deflate.compress(bytes(block)) + deflate.flush(zlib.Z_FULL_FLUSH)
    yield piece * (size // block)
    yield deflate.flush()


def many() -> Answer:
    """Return a zip with a million empty members."""
    count, name = 10**6, b"0"
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + name
    line = (
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
        + name
    )
    start, size = count * len(local), count * len(line)
    end = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start
    ) + struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
    end += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, start, 0)
    return chunked(local * count, line * count, end)


def endless() -> Answer:
    """Return a reply that begins as a zip and does not end."""
    block = (b"40000\r\n" + bytes(1 << 18) + b"\r\n") * 4
    whole = chunked(b"PK\x03\x04", is_whole=False)
    return replace(whole, tail=lambda: iter(lambda: block, b""), then="close")


HOSTILE = {"bomb": bomb, "many": many, "endless": endless}


def without_sizes(place: Place) -> None:
    """Remove FileSize from the stored Series, as some dialects do not send it."""
    series = place.warehouse.read(catalog.SERIES, [COLLECTION])
    at = series.schema.get_field_index("FileSize")
    unknown = pa.nulls(series.num_rows, pa.int64())
    series = series.set_column(at, series.schema.field(at), unknown)
    place.warehouse.write(catalog.SERIES, series, COLLECTION)


def fetched_from(place: Place, server: Scripted, *uids: str) -> FetchResult:
    settings = place.settings.replace(base_url=f"{server.url}/nbia-api/services/v4")
    with open_source(settings, pacing=QUICK) as source:
        return place.fetch_by(source, *uids)


# --- The disk -------------------------------------------------------------------------------------


def test_a_plan_that_a_small_disk_cannot_hold_is_refused_before_the_first_byte(
    place: Place, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        small = Place(place.sandbox, disk)
        small.refresh()
        with pytest.raises(UsageError) as refused:
            small.fetch()

        OUTCOMES["Plan that the disk cannot hold"].demand_said_in(str(refused.value))
        assert small.asked() == []
        small.demand_sound()


@pytest.mark.parametrize(
    "step_kb", [60, pytest.param(12, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_disk_that_fills_up_ends_the_run_and_the_next_one_goes_on(
    place: Place, tmp_path: Path, step_kb: int
) -> None:
    outcome = OUTCOMES["Disk full meanwhile"]
    ended = 0
    with small_disk(tmp_path / "disk") as disk:
        small = Place(place.sandbox, disk)
        small.refresh()
        [earlier, *_] = small.uids
        for free in range(0, 120, step_kb):
            for left in ("archives", "warehouse/image_archives", "quarantine"):
                shutil.rmtree(disk / left, ignore_errors=True)
            without_sizes(small)
            small.fetch(earlier)
            small.revise(earlier)
            small.refresh()
            without_sizes(small)
            with filled(disk, but_for=free << 10):
                try:
                    small.fetch()
                except StorageError as error:
                    ended += 1
                    outcome.demand_said_in(str(error))
                assert all(images_in(path) for path in disk.glob("archives/*/*.zip"))
                assert small.zip(earlier).exists()
            small.fetch()
            small.demand_complete()
    assert ended >= 36 // step_kb + 1


def test_a_read_only_data_folder_ends_the_run_and_changes_nothing(
    place: Place, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "1400m") as disk:
        small = Place(place.sandbox, disk)
        small.refresh()
        small.fetch(*small.uids[:2])
        before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
        with read_only(disk), pytest.raises(StorageError) as refused:
            small.fetch()

        OUTCOMES["Data folder read-only"].demand_said_in(str(refused.value))
        assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before
        small.fetch()
        small.demand_complete()


# --- The run --------------------------------------------------------------------------------------


def test_a_source_that_is_down_ends_the_run_with_each_failure_recorded(
    wide: Place,
) -> None:
    good = wide.uids[:3]
    wide.fetch(*good)
    wide.spoil("status", *wide.uids[3:], status=503)
    with pytest.raises(ArchiveBroken) as broken:
        wide.fetch(first_wait_s=0.05, longest_wait_s=0.05)

    OUTCOMES["Archive down"].demand_said_in(str(broken.value))
    failed = [row for row in wide.rows.values() if row["status"] == "failed"]
    # Running requests finish as well; the other Series are not requested.
    assert 17 <= len(failed) < len(wide.uids) - len(good)
    assert {row["SeriesInstanceUID"] for row in failed} == set(wide.asked()) - set(good)
    wide.demand_sound()
    wide.sandbox.faults.clear()
    wide.fetch()
    wide.demand_complete()


def test_an_interrupt_does_not_wait_for_replies(place: Place) -> None:
    """Also if it arrives while a row is recorded, and not while the run waits for one."""
    first, *hanging = place.uids
    place.spoil("hang", *hanging, seconds=600)

    def interrupted(_row: object) -> None:
        raise KeyboardInterrupt

    ended: list[type[BaseException]] = []

    def run() -> None:
        try:
            with place.source(read_timeout_s=600) as source:
                place.fetch_by(source, on_row=interrupted)
        except BaseException as error:  # noqa: BLE001
            ended.append(type(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)

    assert ended == [KeyboardInterrupt]
    place.demand_sound()
    assert list(place.rows) == [first]
    place.sandbox.faults.clear()
    place.fetch()
    place.demand_complete()


# --- Helpers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half_of_eight_fetched(eight_served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the zips of the first Series of eight, and of every other one."""
    there = place_at(eight_served, tmp_path_factory.mktemp("half_of_eight"))
    there.fetch(there.uids[0], *there.uids[1::2])
    return there.data_dir


@pytest.fixture(scope="session")
def many_served() -> Iterator[Sandbox]:
    """Serve a Series and two more for each of eleven cases."""
    with Sandbox(small_catalogue(23, 4)) as sandbox:
        yield sandbox


@pytest.fixture
def many(many_served: Sandbox, place_of: PlaceOf) -> Place:
    """Return a data folder that has the metadata of 23 Series of four images, and no zips."""
    return place_of(many_served)


@pytest.fixture(scope="session")
def one_of_each_fetched(many_served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the zips of the first Series and of one for each case."""
    there = place_at(many_served, tmp_path_factory.mktemp("one_of_each"))
    there.fetch(there.uids[0], *there.uids[1::2])
    return there.data_dir


def demand(place: Place, uid: str, title: str) -> None:
    """Check the manifest and the disk against the document."""
    outcome, row = OUTCOMES[title], place.rows[uid]
    assert row["status"] == outcome.status
    outcome.demand_said_in(row["error"])
    assert place.quarantined(uid) == (outcome.is_quarantined,) * 2


def demand_nothing_outside(place: Place) -> None:
    assert list(place.data_dir.rglob("outside.dcm")) == []
    assert not (place.data_dir.parent / "outside.dcm").exists()
    assert not Path("/tmp/outside.dcm").exists()
