"""Zips that are not selected go, and all tables say so; a killed removal is completed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, REFERENCES, SERIES, TARGETS
from tcia_assets.images import manifest, prune
from tcia_assets.images.plan import plan_collection
from tcia_assets.images.prune import (
    UnselectedZips,
    find_quarantined,
    find_unselected,
    remove_quarantined,
    remove_zips,
)
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.unindexed import count_unindexed
from tcia_assets.images.verify import find_strays, verify_zips
from tcia_assets.images.zip_files import claim, quarantine_path, zip_path
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL

ALL = Selection(collections=(SMALL,))


@pytest.fixture
def warehouse(contours_root: Path, tmp_path: Path) -> Warehouse:
    shutil.copytree(contours_root, tmp_path / "data")
    return Warehouse(tmp_path / "data")


def on_disk(warehouse: Warehouse) -> list[str]:
    return sorted(path.stem for path in (warehouse.root / "archives" / SMALL).glob("*.zip"))


def first_two(warehouse: Warehouse) -> Selection:
    return Selection(series=tuple(on_disk(warehouse)[:2]))


def find(warehouse: Warehouse, selection: Selection, **used: str) -> UnselectedZips:
    return find_unselected(selection, warehouse, used)


def uids_of(warehouse: Warehouse) -> dict[str, set[str]]:
    """The Series that each table about zips has rows of."""
    tables = (IMAGE_ARCHIVES, IMAGES, REFERENCES, TARGETS)
    return {t.name: set(warehouse.read(t)["SeriesInstanceUID"].to_pylist()) for t in tables}


def checksums(warehouse: Warehouse) -> list[str]:
    path = warehouse.root / "archives" / SMALL / "SHA256SUMS"
    return path.read_text().splitlines() if path.is_file() else []


def demand_only(warehouse: Warehouse, uids: list[str]) -> None:
    """Demand that zips, tables, licences, checks and the next fetch agree."""
    assert on_disk(warehouse) == uids
    assert set(map(frozenset, uids_of(warehouse).values())) == {frozenset(uids)}
    verified = verify_zips(SMALL, warehouse)
    assert (verified.checked, verified.damaged) == (len(uids), ())
    assert find_strays(SMALL, warehouse) == []
    assert {line.split()[1] for line in checksums(warehouse)} == {f"{uid}.zip" for uid in uids}
    assert count_unindexed(warehouse) == {} and warehouse.verify().problems == []
    plan = plan_collection(
        SMALL, Selection(collections=(SMALL,), modalities=("RTSTRUCT",)), warehouse
    )
    assert plan.complete == len(uids)
    assert plan.reasons.keys() <= {"new"} and len(plan.now) == 5 - len(uids)
    licences = (warehouse.root / "archives" / SMALL / "LICENSES.md").read_text()
    assert f"{len(uids)} Series" in licences or f"| {len(uids)} |" in licences


def test_nothing_is_found_where_all_is_selected(warehouse: Warehouse) -> None:
    assert find(warehouse, ALL) == UnselectedZips((), (), ())


def test_a_zip_that_is_removed_is_as_if_it_had_never_been_fetched(warehouse: Warehouse) -> None:
    uids, selection = on_disk(warehouse), first_two(warehouse)
    found = find(warehouse, selection)
    assert [file.series_instance_uid for file in found.removable] == uids[2:]
    assert all(
        file.bytes == (warehouse.root / zip_path(SMALL, file.series_instance_uid)).stat().st_size
        for file in found.removable
    )
    assert on_disk(warehouse) == uids

    steps: list[tuple[int, int]] = []
    removed = remove_zips(found.removable, warehouse, report=lambda *step: steps.append(step))
    assert removed == 3 and steps[-1] == (3, 3)
    demand_only(warehouse, uids[:2])
    assert find(warehouse, selection).removable == ()


def test_what_datasets_need_is_apart(warehouse: Warehouse) -> None:
    needed = on_disk(warehouse)[4]
    found = find(warehouse, first_two(warehouse), **{needed: "lung_ct"})
    assert len(found.removable) == 2
    assert [(file.series_instance_uid, user) for file, user in found.needed] == [
        (needed, "lung_ct")
    ]


def test_what_the_source_no_longer_lists_is_apart(warehouse: Warehouse) -> None:
    gone = on_disk(warehouse)[4]
    rows = warehouse.read(SERIES, [SMALL]).to_pylist()
    for row in rows:
        if row["SeriesInstanceUID"] == gone:
            row["missing_since"] = datetime(2026, 1, 1, tzinfo=UTC)
    warehouse.write(SERIES, pa.Table.from_pylist(rows, schema=SERIES.schema), SMALL)
    found = find(warehouse, first_two(warehouse), **{gone: "lung_ct"})
    assert [file.series_instance_uid for file in found.irreplaceable] == [gone]
    assert found.needed == () and len(found.removable) == 2


def test_zips_whose_series_or_manifest_is_not_known_are_left_out(warehouse: Warehouse) -> None:
    selection = first_two(warehouse)
    shutil.copy(
        warehouse.root / zip_path(SMALL, on_disk(warehouse)[4]),
        warehouse.root / zip_path(SMALL, "1.2.3"),
    )
    assert len(find(warehouse, selection).removable) == 3
    warehouse.path(IMAGE_ARCHIVES, SMALL).unlink()
    assert find(warehouse, selection) == UnselectedZips((), (), ())


def test_a_zip_that_another_run_works_on_stays_with_its_row(warehouse: Warehouse) -> None:
    uids, found = on_disk(warehouse), find(warehouse, first_two(warehouse))
    with claim(warehouse.root / zip_path(SMALL, uids[3])):
        assert remove_zips(found.removable, warehouse) == 2
    demand_only(warehouse, [*uids[:2], uids[3]])


def test_a_collection_into_which_a_run_fetches_is_left_alone(warehouse: Warehouse) -> None:
    uids, found = on_disk(warehouse), find(warehouse, first_two(warehouse))
    writer = manifest.ManifestWriter(warehouse, SMALL)
    assert remove_zips(found.removable, warehouse) == 0
    writer.close()
    with warehouse.lock(IMAGE_ARCHIVES, SMALL, part=f"fetch-{Shard()}"):
        assert remove_zips(found.removable, warehouse) == 0
    demand_only(warehouse, uids)


def test_the_rows_of_a_killed_fetch_do_not_come_back(warehouse: Warehouse) -> None:
    uids, selection = on_disk(warehouse), first_two(warehouse)
    row = manifest.read_rows(warehouse, SMALL)[-1]
    journal = warehouse.root / "archives" / SMALL / ".runs" / "0123456789abcdef.journal"
    journal.write_text(f"{row.to_json()}\n")
    assert row.series_instance_uid in uids[2:]
    remove_zips(find(warehouse, selection).removable, warehouse)
    manifest.ManifestWriter(warehouse, SMALL).close()
    demand_only(warehouse, uids[:2])


def test_tables_of_a_lost_manifest_stay(warehouse: Warehouse) -> None:
    warehouse.path(IMAGE_ARCHIVES, SMALL).unlink()
    before = uids_of(warehouse)
    assert remove_zips((), warehouse) == 0
    assert uids_of(warehouse) == before and before["images"]


@pytest.mark.parametrize("place", ["before", "rows", "zip", "tables"])
def test_a_killed_removal_is_completed(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    uids, selection = on_disk(warehouse), first_two(warehouse)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    unlink = Path.unlink
    unlinked: list[Path] = []

    def unlink_one(path: Path, **options: bool) -> None:
        if path.suffix == ".zip":
            unlinked.append(path)
            if len(unlinked) > (place == "zip"):
                raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as patch:
        if place == "before":
            patch.setattr(manifest, "remove_series", killed)
        elif place == "tables":
            patch.setattr(prune, "_follow_manifest", killed)
        else:
            patch.setattr(Path, "unlink", unlink_one)
        with pytest.raises(KeyboardInterrupt):
            remove_zips(find(warehouse, selection).removable, warehouse)
    assert verify_zips(SMALL, warehouse).damaged == ()
    remove_zips(find(warehouse, selection).removable, warehouse)
    demand_only(warehouse, uids[:2])


def test_the_quarantine_is_emptied_but_for_what_a_run_works_on(warehouse: Warehouse) -> None:
    paths = [warehouse.root / quarantine_path(SMALL, uid) for uid in ("1.2", "1.3")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"refused")
        path.with_suffix(".json").write_text("{}")
    files = find_quarantined(warehouse)
    assert [(file.collection, file.bytes) for file in files] == [(SMALL, 2), (SMALL, 7)] * 2
    with claim(warehouse.root / zip_path(SMALL, "1.3")):
        assert remove_quarantined(files, warehouse) == 2
    assert [file.path for file in find_quarantined(warehouse)] == files_of(paths[1])
    assert remove_quarantined(find_quarantined(warehouse), warehouse) == 2
    assert not paths[0].parent.exists()


def files_of(path: Path) -> list[Path]:
    return [path.with_suffix(".json"), path]
