"""A manifest is rebuilt from the zips of its Collection."""

from __future__ import annotations

from typing import Any

import pytest

from tcia_assets import catalog
from tcia_assets.errors import Busy, DataError
from tcia_assets.images import manifest, rebuild
from tcia_assets.images.manifest import merge_rows
from tcia_assets.images.rebuild import (
    RebuildResult,
    quarantine_unreadable_manifests,
    rebuild_manifest,
)
from tcia_assets.images.verify import DamagedZip
from tcia_assets.images.zip_files import collections_on_disk
from tcia_assets_tests.images.many import SERIES, flip, put, row
from tcia_assets_tests.images.place import COLLECTION, Place
from tcia_assets_tests.store.tables import damage

WHEN = ("fetched_at", "attempts")


def rebuilt(place: Place, **chosen: Any) -> RebuildResult:
    return rebuild_manifest(COLLECTION, place.warehouse, place.settings.source_name, **chosen)


def facts(place: Place) -> dict[str, dict[str, Any]]:
    """The manifest without what no file can tell."""
    return {
        uid: {k: v for k, v in each.items() if k not in WHEN} for uid, each in place.rows.items()
    }


def test_a_lost_manifest_is_rebuilt_from_the_zips(fetched: Place) -> None:
    before = facts(fetched)
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    made = rebuilt(fetched)

    assert (made.kept, made.made, made.refused) == (0, SERIES, ())
    assert facts(fetched) == before
    fetched.sandbox.requests.clear()
    fetched.fetch()
    assert fetched.asked() == []


def test_rows_that_are_right_are_kept(fetched: Place) -> None:
    lost, kept = fetched.uids[0], fetched.rows
    put(fetched, row(lost))
    made = rebuilt(fetched)

    assert (made.kept, made.made) == (SERIES - 1, 1)
    assert fetched.rows == kept | {
        lost: kept[lost] | {name: fetched.rows[lost][name] for name in WHEN}
    }


def test_damaged_and_foreign_zips_are_refused_with_the_reason(fetched: Place) -> None:
    bad, foreign = fetched.uids[0], "1.2.3"
    flip(fetched.zip(bad))
    (fetched.folder / f"{foreign}.zip").write_bytes(fetched.zip(fetched.uids[1]).read_bytes())
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    made = rebuilt(fetched)

    assert (made.kept, made.made) == (0, SERIES - 1)
    assert sorted(each.series_instance_uid for each in made.refused) == sorted([bad, foreign])
    assert all(isinstance(each, DamagedZip) and each.problem for each in made.refused)
    assert bad not in fetched.rows and foreign not in fetched.rows
    fetched.sandbox.requests.clear()
    fetched.fetch()
    assert fetched.asked() == [bad]


def test_the_zip_of_a_series_that_has_changed_is_refused_and_fetched_again(fetched: Place) -> None:
    changed = fetched.uids[0]
    fetched.sandbox.archive.revise([changed], image_count=3)
    fetched.refresh()
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()

    [refused] = rebuilt(fetched).refused
    assert refused.series_instance_uid == changed
    fetched.fetch()
    assert fetched.rows[changed]["image_count"] == 3


def test_folders_and_dead_links_are_refused_and_the_other_rows_are_made(fetched: Place) -> None:
    (fetched.folder / "1.2.3.5.zip").mkdir()
    (fetched.folder / "1.2.3.6.zip").symlink_to(fetched.folder / "nowhere")
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    made = rebuilt(fetched)

    assert made.made == SERIES
    assert made.refused == tuple(
        DamagedZip(uid, "it is not a file") for uid in ("1.2.3.5", "1.2.3.6")
    )


def test_rows_made_before_an_interrupt_are_kept(
    fetched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(rebuild, "_WRITE_EVERY_S", -1.0)
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    with pytest.raises(KeyboardInterrupt):
        rebuilt(fetched, report=interrupt)

    assert len(fetched.rows) == 3


def test_an_unreadable_manifest_is_quarantined_and_rebuilt(fetched: Place) -> None:
    before = facts(fetched)
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).write_bytes(b"no Parquet")
    quarantined = quarantine_unreadable_manifests([COLLECTION, "LCTSC"], fetched.warehouse)

    assert quarantined.keys() == {COLLECTION}
    [path] = quarantined[COLLECTION]
    assert path.startswith("quarantine/")
    assert (fetched.data_dir / path).read_bytes() == b"no Parquet"
    assert rebuilt(fetched).made == SERIES
    assert facts(fetched) == before


def test_a_manifest_that_changed_after_it_was_written_is_quarantined_too(fetched: Place) -> None:
    before = facts(fetched)
    damage(fetched.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION))
    with pytest.raises(DataError, match="`tcia-assets verify --rebuild` rebuilds it"):
        manifest.remove_series(fetched.warehouse, COLLECTION, before)

    assert quarantine_unreadable_manifests([COLLECTION], fetched.warehouse)
    assert rebuilt(fetched).made == SERIES
    assert facts(fetched) == before


def test_no_fetch_runs_during_a_rebuild(fetched: Place) -> None:
    def taken(_done: int, _total: int) -> None:
        part = "fetch-0-of-1"
        with (
            pytest.raises(Busy),
            fetched.warehouse.lock(catalog.IMAGE_ARCHIVES, COLLECTION, part=part, wait=0),
        ):
            pass

    assert rebuilt(fetched, report=taken).kept == SERIES


def test_other_collections_are_left_alone(fetched: Place) -> None:
    other = row("1.2.3", Collection="LCTSC")
    merge_rows(fetched.warehouse, "LCTSC", [other])
    path = fetched.warehouse.path(catalog.IMAGE_ARCHIVES, "LCTSC")
    before = path.read_bytes()
    rebuilt(fetched)

    assert path.read_bytes() == before
    assert collections_on_disk(fetched.warehouse) == ["LCTSC", COLLECTION]


def test_a_rebuilt_row_has_no_fingerprint_if_the_version_is_uncertain(
    fetched_three: Place,
) -> None:
    fetched_three.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()
    fetched_three.revise(*fetched_three.uids)
    fetched_three.refresh()
    rebuilt(fetched_three)
    fetched_three.fetch()
    fetched_three.demand_complete()
