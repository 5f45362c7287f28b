"""The data folder: layout, permissions, disk, locks, leftovers, unindexed zips.

Nothing is written there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tcia_assets.catalog import IMAGE_ARCHIVES, TABLES
from tcia_assets.doctor.archive_checks import archives_step
from tcia_assets.doctor.step_result import StepResult, differs, join_names, ok, unknown
from tcia_assets.doctor.steps import Once, Step
from tcia_assets.errors import StorageError, TciaError
from tcia_assets.images.disk_space import SPARE_BYTES
from tcia_assets.images.journal import has_dead_journal, has_living_journal
from tcia_assets.images.unindexed import count_outdated, count_unindexed
from tcia_assets.settings import Settings
from tcia_assets.spec import Table
from tcia_assets.store.files import find_dead_drafts
from tcia_assets.store.locks import is_locked
from tcia_assets.store.partitions import LAYOUT
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted, format_bytes

_WRITTEN = (
    "warehouse",
    "archives",
    "cache",
    "quarantine",
    "datasets",
    "catalogue",
    "dagster",
    ".locks",
)


class FolderExamination:
    """The steps about the data folder of the settings."""

    def __init__(self, settings: Settings) -> None:
        root = settings.root
        self._warehouse = Once("a data folder that can be read", lambda: _open(root))
        self.steps = [
            Step("data folder", lambda: _folder(root, self._warehouse.get())),
            Step("permissions", lambda: _permissions(root)),
            Step("disk", lambda: _disk(root)),
            archives_step(settings),
            Step("temporary folder", lambda: _temporary(settings)),
            Step("locks", lambda: _locks(root)),
            Step("leftovers", lambda: _leftovers(root)),
            Step("dagster home", lambda: _dagster_home(root)),
            # At the end: with millions of images it takes long.
            Step("unindexed zips", lambda: _unindexed(self._warehouse.need())),
        ]

    def stop(self) -> None:
        """End a query that is running."""
        with suppress(TciaError):
            self._warehouse.get().stop()


def stored_keys(settings: Settings, table: Table) -> list[str]:
    """Return the keys of a table's partitions; none if the data folder cannot be read."""
    with suppress(TciaError, OSError):
        return Warehouse(settings.root, read_only=True).keys(table)
    return []


def _open(root: Path) -> Warehouse:
    existing = _existing(root)
    if not existing.is_dir():
        raise StorageError(f"{existing} is not a folder: set TCIA_DATA_DIR")
    return Warehouse(root, read_only=True)


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def _folder(root: Path, warehouse: Warehouse) -> StepResult:
    if not root.exists():
        advice = "the first refresh makes it; if there should be data, correct TCIA_DATA_DIR"
        return ok("data folder", f"{root} does not exist yet", advice)
    tables = sum(bool(warehouse.keys(t)) if t.partitioned_by else warehouse.has(t) for t in TABLES)
    version = root / "warehouse" / "VERSION"
    layout = version.read_text("ascii").strip() if version.is_file() else "none yet"
    seen = f"{root}: {tables} tables, layout {layout}"
    if old := warehouse.migrate(dry_run=True):
        seen += f", {old} folders of an earlier layout than {LAYOUT}"
        return ok("data folder", seen, "`tcia-assets migrate` renames them, if readers need it")
    return ok("data folder", seen)


def _permissions(root: Path) -> StepResult:
    folders = [root, *(root / name for name in _WRITTEN)]
    folders += [child for name in ("warehouse", "archives") for child in (root / name).glob("*/")]
    places = [place for place in folders if place.is_dir()] or [_existing(root)]
    closed = [str(p) for p in places if not os.access(p, os.R_OK | os.W_OK | os.X_OK)]
    if closed:
        problem = f"cannot be written to: {join_names(closed)}"
        advice = "correct owner or permissions, or mount the disk for writing"
        return differs("permissions", problem, advice)
    return ok("permissions", f"{len(places)} folders can be written to")


def _disk(root: Path) -> StepResult:
    free = shutil.disk_usage(_existing(root)).free
    seen = f"{format_bytes(free)} free"
    if free < SPARE_BYTES:
        kept = f"{format_bytes(SPARE_BYTES)} are kept free, so nothing is fetched: make room"
        return differs("disk", seen, kept)
    return ok("disk", seen)


def _temporary(settings: Settings) -> StepResult:
    folder = tempfile.gettempdir()
    free, most = shutil.disk_usage(folder).free, settings.max_reply_bytes
    seen = f"{format_bytes(free)} free in {folder}"
    if free < most:
        advice = f"a reply may have {format_bytes(most)}: make room, or set TMPDIR"
        return differs("temporary folder", seen, advice)
    return ok("temporary folder", seen)


def _locks(root: Path) -> StepResult:
    held = [name for name, is_held in _lock_files(root) if is_held]
    if held:
        advice = "another run is working; what it holds is free when it ends, however it ends"
        return ok("locks", f"held now: {join_names(held)}", advice)
    return ok("locks", "none is held")


def _lock_files(root: Path) -> Iterator[tuple[str, bool]]:
    folder = root / ".locks"
    for path in sorted(folder.rglob("*.lock")):
        with suppress(FileNotFoundError):
            yield path.relative_to(folder).with_suffix("").as_posix(), is_locked(path)


def _leftovers(root: Path) -> StepResult:
    found = []
    folders = [f for f in sorted((root / "archives").glob("*/")) if not has_living_journal(f)]
    if journals := [f.name for f in folders if has_dead_journal(f)]:
        found.append(f"journals of killed runs in {join_names(journals)}")
    if parts := sum(len(list(f.glob(".*.zip.*"))) for f in folders):
        found.append(counted(parts, "unfinished zip"))
    if drafts := len(find_dead_drafts(root / "warehouse")):
        found.append(f"{counted(drafts, 'unfinished file')} of tables")
    refused = len(list((root / "quarantine").glob("*/*.zip")))
    kept = f"{counted(refused, 'refused zip')} in quarantine" if refused else ""
    if found:
        advice = "the next `tcia-assets fetch` and `refresh` complete or remove them"
        return differs("leftovers", "; ".join([*found, kept] if kept else found), advice)
    return ok("leftovers", kept or "none", "a file beside each has the reason" if kept else "")


def _unindexed(warehouse: Warehouse) -> StepResult:
    name = "unindexed zips"
    if not (warehouse.keys(IMAGE_ARCHIVES) or (warehouse.root / "archives").exists()):
        return ok(name, "no images are stored")
    try:
        unindexed, outdated = count_unindexed(warehouse), count_outdated(warehouse)
    except StorageError:
        return unknown(name, "the views are not current", "`tcia-assets status` makes them anew")
    if unindexed:
        problem = f"{sum(unindexed.values())} in {join_names(list(unindexed))}"
        return differs(
            name,
            problem,
            "not all tables have them yet, as after an interrupted run or an upgrade: "
            "`tcia-assets fetch` completes them",
        )
    if outdated:
        problem = f"none; {sum(outdated.values())} were read before images had all its columns"
        return ok(name, problem, "each `tcia-assets fetch` reads some of them again")
    return ok(name, "none")


def _dagster_home(root: Path) -> StepResult:
    name, chosen = "dagster home", os.environ.get("DAGSTER_HOME")
    home = Path(chosen) if chosen else root / "dagster"
    if chosen and not (home.is_absolute() and home.is_dir()):
        problem = f"DAGSTER_HOME is {chosen!r}"
        return differs(name, problem, "it must be the absolute path of a folder, or unset")
    if not home.exists():
        return ok(name, "does not exist yet")
    if not os.access(home, os.W_OK):
        return differs(name, f"{home} cannot be written to", "correct owner or permissions")
    return ok(name, str(home))
