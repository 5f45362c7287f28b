"""What is on disk, looked at again: by its hash, by inflating it, by the archive's own word."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets import catalog, images
from tcia_assets.errors import Busy, UsageError
from tcia_assets.images import Damage
from tcia_assets.images.headers import image_rows
from tcia_assets.images.manifest import fold
from tcia_assets.images.md5_hierarchy import hash_of
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.conftest import settings_for
from tcia_assets_tests.images.many import SERIES, place_at, put, row, twelve
from tcia_assets_tests.images.place import COLLECTION, Place, md5

# The function has the module's name.
_MODULE: Any = sys.modules[images.verify.__module__]
WHEN = ("fetched_at", "attempts")


@pytest.fixture(scope="module")
def twelve_served() -> Iterator[Sandbox]:
    with twelve() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def fetched_once(twelve_served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("fetched")
    there = place_at(twelve_served, data_dir)
    there.fetch()
    image_rows.index_images(COLLECTION, there.warehouse)
    return data_dir


@pytest.fixture
def place(twelve_served: Sandbox, fetched_once: Path, tmp_path: Path) -> Place:
    """All twelve Series are here, and their headers are read."""
    data_dir = tmp_path / "data"
    shutil.copytree(fetched_once, data_dir)
    twelve_served.reset()
    there = Place(twelve_served, data_dir)
    there.warehouse.ensure_views()
    return there


def verified(place: Place, **chosen: Any) -> images.Verified:
    return images.verify(COLLECTION, place.warehouse, **chosen)


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


# --- verify ---------------------------------------------------------------------------------------


def test_what_is_as_it_was_proven_is_not_touched(place: Place) -> None:
    rows = place.rows
    done: list[tuple[int, int]] = []
    found = verified(place, report=lambda *so_far: done.append(so_far))

    assert (found.checked, found.damaged, found.strays) == (SERIES, (), ())
    assert found.checked_bytes == sum(row["archive_bytes"] for row in rows.values())
    assert done == [(n, SERIES) for n in range(1, SERIES + 1)]
    assert place.rows == rows


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip, "its zip has changed since it was proven: another SHA-256"),
        (Path.unlink, "its zip is gone"),
        (lambda path: path.write_bytes(path.read_bytes() + b"."), "bytes where"),
        (lambda path: path.write_bytes(b""), "its zip has 0 bytes where"),
    ],
)
def test_what_is_damaged_is_failed_and_the_next_fetch_repairs_exactly_that(
    place: Place, damage: Callable[[Path], object], said: str, *, deep: bool
) -> None:
    uid, before = place.uids[3], place.rows
    damage(place.zip(uid))
    [found] = verified(place, deep=deep).damaged

    assert found.series_instance_uid == uid and said in found.problem
    assert place.rows[uid]["status"] == "failed" and said in place.rows[uid]["error"]
    assert {u: r for u, r in place.rows.items() if u != uid} == {
        u: r for u, r in before.items() if u != uid
    }
    place.sandbox.requests.clear()
    place.fetch()
    assert place.asked() == [uid]
    place.demand_complete()


def test_a_deep_look_finds_what_the_manifest_has_wrong(place: Place) -> None:
    uid = place.uids[0]
    put(place, place.rows[uid] | {"image_count": 7})

    assert verified(place).damaged == ()
    [damage] = verified(place, deep=True).damaged
    assert damage.series_instance_uid == uid and "7" in damage.problem


def test_zips_that_no_row_knows_are_told(place: Place) -> None:
    stray = place.folder / "1.2.3.zip"
    stray.write_bytes(place.zip(place.uids[0]).read_bytes())
    (place.folder / "notes.txt").write_text("mine")

    found = verified(place)
    assert (found.strays, found.damaged) == (("1.2.3.zip",), ())
    assert stray.is_file()


def test_what_never_came_is_not_looked_for(place: Place) -> None:
    put(place, row("1.2.3", "unavailable"))

    found = verified(place)
    assert (found.checked, found.damaged) == (SERIES, ())


def test_what_is_fetched_again_during_the_look_is_not_marked(place: Place) -> None:
    uid = place.uids[0]
    flip(place.zip(uid))
    newer = place.rows[uid] | {"sha256": "0" * 64, "fetched_at": datetime.now(UTC)}
    found = verified(place, report=lambda *_: put(place, newer))

    assert found.damaged == ()
    assert place.rows[uid] == newer


def test_damage_does_not_replace_the_verdict_of_a_series_that_is_not_complete(place: Place) -> None:
    uid = place.uids[0]
    put(place, place.rows[uid] | {"status": "unavailable", "error": "hidden", "attempts": 3})
    before = place.rows
    flip(place.zip(uid))

    assert [each.series_instance_uid for each in verified(place).damaged] == [uid]
    assert place.rows == before


def test_a_zip_that_cannot_be_read_is_a_problem_in_words(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(_MODULE, "sha256_of", refuses)
    problems = {each.problem for each in verified(place).damaged}
    assert problems == {"its zip cannot be read: Permission denied"}


class _Day(datetime):
    """A day to be had again."""

    day_of_month = 3

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2026, 3, cls.day_of_month, 12, tzinfo=tz or UTC)


def test_a_sample_is_the_same_all_day_and_in_time_all_are_looked_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = _MODULE._problem

    def noted(row: dict[str, Any], root: Path, *, deep: bool) -> str:
        looked.append(row["SeriesInstanceUID"])
        return str(look(row, root, deep=deep))

    monkeypatch.setattr(_MODULE, "_problem", noted)
    monkeypatch.setattr(_MODULE, "datetime", _Day)
    days = []
    for day in range(1, 29):
        monkeypatch.setattr(_Day, "day_of_month", day)
        looked.clear()
        verified(place, sample=3)
        days.append(sorted(looked))
        looked.clear()
        assert verified(place, sample=3).checked == 3
        assert sorted(looked) == days[-1]

    assert all(len(day) == 3 for day in days)
    assert days[0] != days[1]
    assert sorted({uid for day in days for uid in day}) == place.uids


def test_a_sample_larger_than_what_there_is_is_all(place: Place) -> None:
    assert verified(place, sample=100).checked == SERIES


# --- rebuild --------------------------------------------------------------------------------------


def rebuilt(place: Place, **chosen: Any) -> images.Rebuilt:
    return images.rebuild(COLLECTION, place.warehouse, place.settings.source, **chosen)


def facts(place: Place) -> dict[str, dict[str, Any]]:
    """The manifest without what no file can tell."""
    return {
        uid: {k: v for k, v in each.items() if k not in WHEN} for uid, each in place.rows.items()
    }


def test_a_lost_manifest_is_made_anew_from_the_zips(place: Place) -> None:
    before = facts(place)
    place.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    made = rebuilt(place)

    assert (made.kept, made.made, made.refused) == (0, SERIES, ())
    assert facts(place) == before
    place.sandbox.requests.clear()
    place.fetch()
    assert place.asked() == []


def test_rows_that_are_right_are_kept_as_they_are(place: Place) -> None:
    lost, kept = place.uids[0], place.rows
    put(place, row(lost))
    made = rebuilt(place)

    assert (made.kept, made.made) == (SERIES - 1, 1)
    assert place.rows == kept | {lost: kept[lost] | {name: place.rows[lost][name] for name in WHEN}}


def test_zips_that_are_not_whole_are_refused_with_the_reason(place: Place) -> None:
    bad, foreign = place.uids[0], "1.2.3"
    flip(place.zip(bad))
    (place.folder / f"{foreign}.zip").write_bytes(place.zip(place.uids[1]).read_bytes())
    place.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    made = rebuilt(place)

    assert (made.kept, made.made) == (0, SERIES - 1)
    assert sorted(each.series_instance_uid for each in made.refused) == sorted([bad, foreign])
    assert all(isinstance(each, Damage) and each.problem for each in made.refused)
    assert bad not in place.rows and foreign not in place.rows
    place.sandbox.requests.clear()
    place.fetch()
    assert place.asked() == [bad]


def test_a_series_that_has_changed_since_is_refused_and_fetched_again(place: Place) -> None:
    changed = place.uids[0]
    place.sandbox.archive.revise([changed], image_count=3)
    place.refresh()
    place.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()

    [refused] = rebuilt(place).refused
    assert refused.series_instance_uid == changed
    place.fetch()
    assert place.rows[changed]["image_count"] == 3


def test_odd_files_are_refused_and_the_rest_is_made(place: Place) -> None:
    (place.folder / "1.2.3.5.zip").mkdir()
    (place.folder / "1.2.3.6.zip").symlink_to(place.folder / "nowhere")
    place.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    made = rebuilt(place)

    assert made.made == SERIES
    assert made.refused == tuple(Damage(uid, "it is no file") for uid in ("1.2.3.5", "1.2.3.6"))


def test_what_a_rebuild_has_made_outlives_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(_MODULE, "_FOLD_EVERY_S", -1.0)
    place.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    with pytest.raises(KeyboardInterrupt):
        rebuilt(place, report=interrupt)

    assert len(place.rows) == 3


def test_a_manifest_that_cannot_be_read_is_kept_aside_and_made_anew(place: Place) -> None:
    path, before = place.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION), facts(place)
    path.write_bytes(b"no Parquet")
    made = rebuilt(place)

    assert (place.data_dir / made.set_aside).read_bytes() == b"no Parquet"
    assert made.set_aside.startswith("quarantine/") and made.made == SERIES
    assert facts(place) == before


def test_no_fetch_runs_during_a_rebuild(place: Place) -> None:
    def taken(_done: int, _total: int) -> None:
        part = "fetch-0-of-1"
        with (
            pytest.raises(Busy),
            place.warehouse.lock(catalog.IMAGE_ARCHIVES, COLLECTION, part=part, wait=0),
        ):
            pass

    assert rebuilt(place, report=taken).kept == SERIES


def test_other_collections_are_not_touched(place: Place) -> None:
    other = row("1.2.3", Collection="LCTSC")
    fold(place.warehouse, "LCTSC", [other])
    path = place.warehouse.path(catalog.IMAGE_ARCHIVES, "LCTSC")
    before = path.read_bytes()
    rebuilt(place)

    assert path.read_bytes() == before
    assert images.collections_on_disk(place.warehouse) == ["LCTSC", COLLECTION]


# --- audit ----------------------------------------------------------------------------------------


def audited(place: Place, **chosen: Any) -> images.Audited:
    place.sandbox.requests.clear()
    with place.source() as source:
        return images.audit(COLLECTION, source, place.warehouse, **chosen)


def questions(place: Place) -> int:
    return place.sandbox.requests["getMD5Hierarchy"]


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=8))
def test_the_hash_of_a_node_does_not_know_the_order_of_its_children(parts: list[bytes]) -> None:
    hashes = [md5(part) for part in parts]

    assert hash_of(hashes) == hash_of(reversed(hashes)) == hash_of(h.upper() for h in hashes)
    assert hash_of(hashes) == md5("".join(sorted(hashes)).encode())


def test_one_question_proves_a_whole_collection(place: Place) -> None:
    found = audited(place)

    assert (found.equal, found.differing, found.unasked) == (SERIES, (), 0)
    assert found.questions == questions(place) == 1


def test_only_what_differs_is_walked_down(place: Place) -> None:
    changed = place.uids[0]
    place.sandbox.archive.revise([changed])
    found = audited(place)

    assert (found.equal, found.differing) == (SERIES - 1, (changed,))
    assert 1 < found.questions == questions(place) < SERIES + 3


def test_a_row_of_images_that_is_wrong_differs(place: Place) -> None:
    uid = place.uids[0]
    table = place.warehouse.read(catalog.IMAGES, [COLLECTION])
    mine = pc.equal(table["SeriesInstanceUID"], uid)
    wrong = pc.if_else(mine, pa.scalar("0" * 32), table["md5"])
    at = table.schema.get_field_index("md5")
    place.warehouse.write(
        catalog.IMAGES, table.set_column(at, table.schema.field(at), wrong), COLLECTION
    )

    assert audited(place).differing == (uid,)


def test_of_what_is_partly_here_all_that_is_here_is_asked_about(place: Place) -> None:
    gone = place.uids[0]
    place.zip(gone).unlink()
    verified(place)
    found = audited(place)

    assert (found.equal, found.differing, found.unasked) == (SERIES - 1, (), 0)


def test_images_of_another_zip_than_the_manifests_prove_nothing(place: Place) -> None:
    uid = place.uids[0]
    put(place, place.rows[uid] | {"sha256": "0" * 64})

    assert audited(place).equal == SERIES - 1


def test_a_sample_asks_for_so_many_series(place: Place) -> None:
    found = audited(place, sample=4)

    assert (found.equal, found.unasked, questions(place)) == (4, 0, 4)


def test_when_the_questions_are_used_up_the_rest_is_said_to_be_unasked(place: Place) -> None:
    place.sandbox.archive.revise(place.uids)
    found = audited(place, most_questions=3)

    assert found.questions == questions(place) == 3
    assert found.equal + len(found.differing) + found.unasked == SERIES
    assert found.unasked > 0


def test_nothing_here_means_nothing_asked(twelve_served: Sandbox, tmp_path: Path) -> None:
    empty = place_at(twelve_served, tmp_path)
    empty.warehouse.ensure_views()
    found = audited(empty)

    assert (found.equal, found.differing, found.unasked, questions(empty)) == (0, (), 0, 0)


def test_a_series_that_the_archive_has_withdrawn_differs_and_the_rest_is_compared(
    place: Place,
) -> None:
    gone = place.uids[0]
    place.sandbox.archive.withdraw([gone])
    found = audited(place)

    assert (found.equal, found.differing, found.unknown) == (SERIES - 1, (gone,), (gone,))
    assert found.failure == ""


def test_an_archive_that_fails_ends_the_audit_with_what_was_found(place: Place) -> None:
    place.sandbox.faults.add(Fault("status", "getMD5Hierarchy", times=0, status=404))
    found = audited(place)

    assert (found.equal, found.differing, found.unasked) == (0, (), SERIES)
    assert "404" in found.failure and found.questions == 1


def test_what_is_not_indexed_is_counted_and_a_sample_needs_no_index(place: Place) -> None:
    place.warehouse.path(catalog.IMAGES, COLLECTION).unlink()

    assert audited(place).not_compared == SERIES
    sampled = audited(place, sample=4)
    assert (sampled.equal, sampled.not_compared) == (4, 0)


def test_a_dialect_without_hashes_says_so(place: Place) -> None:
    class Bindaas(Place):
        @property
        def settings(self) -> Any:
            return settings_for(self.sandbox, self.data_dir, "bindaas-v4")

    with pytest.raises(UsageError, match=r"bindaas-v4@.* gives no MD5 hashes"):
        audited(Bindaas(place.sandbox, place.data_dir))
