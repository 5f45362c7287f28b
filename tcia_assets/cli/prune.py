"""`tcia-assets prune`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import click

from tcia_assets.catalog import SHARED_LISTS
from tcia_assets.cli.terminal import (
    format_minute,
    make_grid,
    out,
    print_note,
    printable,
    progress_bar,
    right_aligned,
)
from tcia_assets.cli.workspace import EMPTY_WAREHOUSE, open_mirror
from tcia_assets.errors import UsageError
from tcia_assets.images.prune import (
    QuarantinedFile,
    RemovableZip,
    UnselectedZips,
    find_quarantined,
    find_unselected,
    remove_quarantined,
    remove_zips,
)
from tcia_assets.metadata.selection import check_shared_lists
from tcia_assets.metadata.selection_parser import parse_selection
from tcia_assets.store.data_folder import missing_folder
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted, format_bytes

if TYPE_CHECKING:
    from tcia_assets.datasets.versions import Version  # needs numpy, an extra

# How many versions of each dataset stay in a list of everything that could be removed.
_LISTED_KEEP = 1


@dataclass(frozen=True)
class _Found:
    """What could be removed; `zips` is None without a selection, `removed_zips` is part of it."""

    versions: Sequence[Version]
    quarantined: Sequence[QuarantinedFile]
    zips: UnselectedZips | None
    removed_zips: Sequence[RemovableZip]


@click.command()
@click.option(
    "--keep-versions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Remove the versions of each dataset but the newest N and the latest.",
)
@click.option("--quarantine", is_flag=True, help="Remove what is in quarantine.")
@click.option("--unselected", is_flag=True, help="Remove zips of Series that are not selected.")
@click.option(
    "--selection",
    help="What stays; YAML or JSON, inline or a file.  [default: TCIA_IMAGE_SELECTION]",
)
@click.option("--include-needed", is_flag=True, help="Also remove zips that datasets need.")
@click.option("--yes", is_flag=True, help="Remove it; without this option it is only listed.")
def prune(
    keep_versions: int | None,
    selection: str | None,
    *,
    quarantine: bool,
    unselected: bool,
    include_needed: bool,
    yes: bool,
) -> None:
    """List what takes space and is not needed, and remove it with --yes.

    That is: old versions of datasets, refused downloads in quarantine, and zips of Series that the
    selection does not select. Without any of these options, all three are listed.

    A zip that is removed is as if it had never been fetched: its rows go too, and a fetch that
    selects its Series downloads it again. Zips that the source does not list any more are kept, and
    those that a version or the frozen cohort of a dataset needs, unless --include-needed is given.

    \b
    Examples:
      tcia-assets prune
      tcia-assets prune --keep-versions 3 --quarantine --yes
      tcia-assets prune --unselected --selection "collections: [LCTSC]"
    """
    everything = not (keep_versions or quarantine or unselected)
    if everything and yes:
        raise UsageError("--yes needs one of --keep-versions N, --quarantine and --unselected")
    mirror = open_mirror()
    if missing := missing_folder(mirror.warehouse):
        print_note(EMPTY_WAREHOUSE + missing)  # and the folder is not made
        return
    wanted = selection or mirror.settings.image_selection
    with progress_bar("Look for what is not needed"):
        found = _find(
            mirror.warehouse,
            keep_versions or (_LISTED_KEEP if everything else None),
            wanted if unselected or everything else None,
            quarantine=quarantine or everything,
            include_needed=include_needed,
        )
    if unselected and found.zips is None:
        raise UsageError("--unselected needs a selection: TCIA_IMAGE_SELECTION or --selection")
    _print_found(found)
    if yes:
        _remove(found, mirror.warehouse)
    elif _files(found):
        print_note("nothing was removed: name what to remove, and add --yes")


# --- Finding --------------------------------------------------------------------------------------


def _find(
    warehouse: Warehouse,
    keep: int | None,
    selection: str | None,
    *,
    quarantine: bool,
    include_needed: bool,
) -> _Found:
    old = _old_versions(warehouse, keep) if keep else []
    zips, removed = None, list[RemovableZip]()
    chosen = parse_selection(selection) if selection else None
    if chosen is not None:
        check_shared_lists(chosen, warehouse.keys(SHARED_LISTS))
        zips = find_unselected(chosen, warehouse, _series_in_use(warehouse, old))
        removed = list(zips.removable)
        removed += [file for file, _ in zips.needed] if include_needed else []
    return _Found(old, find_quarantined(warehouse) if quarantine else [], zips, removed)


def _has_datasets(warehouse: Warehouse) -> bool:
    folder, cohorts, versions = warehouse.root / "datasets", "*/*.lock.json", "*/*/*.lock.json"
    return any(chain(folder.glob(cohorts), folder.glob(versions)))


def _old_versions(warehouse: Warehouse, keep: int) -> list[Version]:
    if not _has_datasets(warehouse):
        return []
    from tcia_assets.datasets.prune import old_versions  # noqa: PLC0415 - numpy is an extra

    return old_versions(warehouse.root, keep)


def _series_in_use(warehouse: Warehouse, removed: Sequence[Version]) -> Mapping[str, str]:
    if not _has_datasets(warehouse):
        return {}
    from tcia_assets.datasets.prune import series_in_use  # noqa: PLC0415 - numpy is an extra

    return series_in_use(warehouse, removed)


def _files(found: _Found) -> int:
    versions = sum(len(version.files) + 1 for version in found.versions)
    return versions + len(found.quarantined) + len(found.removed_zips)


# --- Listing --------------------------------------------------------------------------------------


def _print_found(found: _Found) -> None:
    grid = make_grid("what", "name", right_aligned("files"), right_aligned("size"))
    total = 0
    for what, name, files, size in _lines(found):
        grid.add_row(what, printable(name), f"{files:,}", format_bytes(size))
        total += size
    if not grid.rows:
        out.print("there is nothing to remove")
    else:
        grid.add_section()
        grid.add_row("total", "", f"{_files(found):,}", format_bytes(total))
        out.print(grid)
    if found.zips is not None:
        _print_kept(found.zips, found.removed_zips)


def _lines(found: _Found) -> Iterable[tuple[str, str, int, int]]:
    """Yield kind, name, number of files and bytes of each thing that could be removed."""
    for version in found.versions:
        name = f"{version.name}/{version.version} of {format_minute(version.made_at)}"
        yield "dataset version", name, len(version.files) + 1, version.bytes
    for what, files in (("quarantine", found.quarantined), ("zips", found.removed_zips)):
        by_collection: dict[str, list[int]] = {}
        for file in files:
            by_collection.setdefault(file.collection, []).append(file.bytes)
        for name, sizes in sorted(by_collection.items()):
            yield what, name, len(sizes), sum(sizes)


def _print_kept(zips: UnselectedZips, removed: Sequence[RemovableZip]) -> None:
    if zips.irreplaceable:
        size = sum(file.bytes for file in zips.irreplaceable)
        print_note(
            f"{len(zips.irreplaceable):,} unselected zips of {format_bytes(size)} are kept: the "
            "source does not list their Series any more"
        )
    if zips.needed:
        size = sum(file.bytes for file, _ in zips.needed)
        users = ", ".join(sorted({user for _, user in zips.needed}))
        is_removed = zips.needed[0][0] in removed
        verb = "are among them although datasets need" if is_removed else "are kept: datasets need"
        advice = "" if is_removed else "; --include-needed removes them too"
        print_note(
            f"{len(zips.needed):,} unselected zips of {format_bytes(size)} {verb} them ({users})"
            f"{advice}"
        )


# --- Removing -------------------------------------------------------------------------------------


def _remove(found: _Found, warehouse: Warehouse) -> None:
    files, busy = 0, 0
    with progress_bar("Prune") as report:
        total = len(found.versions) + len(found.quarantined) + len(found.removed_zips)
        done = 0

        def advance(part_done: int, _part_total: int) -> None:
            report(done + part_done, total)

        _complete_removals(warehouse)
        for version in found.versions:
            files += _remove_version(version, warehouse)
            done += 1
            report(done, total)
        removed = remove_quarantined(found.quarantined, warehouse, report=advance)
        done += len(found.quarantined)
        if found.zips is not None:
            removed += remove_zips(found.removed_zips, warehouse, report=advance)
        busy = len(found.quarantined) + len(found.removed_zips) - removed
    out.print(f"{counted(files + removed, 'file')} removed", soft_wrap=True)
    if busy:
        print_note(f"{counted(busy, 'file')} kept, because another run is working there")


def _complete_removals(warehouse: Warehouse) -> None:
    if _has_datasets(warehouse):
        from tcia_assets.datasets.prune import remove_leftovers  # noqa: PLC0415 - numpy is an extra

        remove_leftovers(warehouse)


def _remove_version(version: Version, warehouse: Warehouse) -> int:
    from tcia_assets.datasets.prune import remove_version  # noqa: PLC0415 - numpy is an extra

    remove_version(version, warehouse)
    return len(version.files) + 1
