"""`tcia-assets verify`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import NamedTuple

import click

from tcia_assets.catalog import IMPORTS, SERIES
from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.options import parse_subset
from tcia_assets.cli.terminal import bytes_bar, err, exit_with, out, printable, progress_bar
from tcia_assets.cli.workspace import open_mirror
from tcia_assets.errors import UsageError, require_known
from tcia_assets.images.audit import require_hashes
from tcia_assets.images.changed_texts import restore_texts
from tcia_assets.images.equality import (
    IDC,
    MIRROR,
    NBIA,
    Equality,
    compare_mirror,
    compare_sources,
)
from tcia_assets.images.hash_walk import Answers
from tcia_assets.images.rebuild import (
    RebuildResult,
    quarantine_unreadable_manifests,
    rebuild_manifest,
)
from tcia_assets.images.run_limits import RereadBudget
from tcia_assets.images.verify import DamagedZip, VerifyResult, find_strays, verify_zips
from tcia_assets.images.zip_files import collections_on_disk
from tcia_assets.images.zip_parts import Subset
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_source
from tcia_assets.sources.names import FOLDER_NAME
from tcia_assets.store.data_folder import missing_folder
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted, format_bytes

_MOST_NAMED = 3
_PLACES = {MIRROR: "zips", NBIA: NBIA}
# How the states of `source_equality` are called in a sentence about a number of Series.
_STATES = {
    "equal": "Series equal",
    "differs": "differ",
    "lag": "not yet there",
    "absent": "absent or incomplete there",
    "unknown": "without a hash",
}


@click.command()
@click.argument("collections", nargs=-1, shell_complete=complete_collections)
@click.option("--deep", is_flag=True, help="Also inflate each zip and check it as when fetched.")
@click.option("--quick", is_flag=True, help="Compare names and sizes only; no zip is read.")
@click.option(
    "--subset",
    metavar="K/N",
    callback=parse_subset,
    help="Check only the K-th of N equal subsets of the zips, the same ones each time.",
)
@click.option(
    "--max-minutes",
    metavar="MINUTES",
    type=click.IntRange(min=1),
    help="Begin no zip after this time. Those that were not read for longest come first.",
)
@click.option(
    "--against",
    multiple=True,
    type=click.Choice([NBIA, IDC]),
    help="Also compare with the hashes of NBIA (nbia-v4) or the Imaging Data Commons; with both, "
    "also these with each other, whether or not the images are on disk.",
)
@click.option("--audit", is_flag=True, help="The same as --against nbia.")
@click.option("--rebuild", is_flag=True, help="First add zips that the manifest lacks.")
@click.option(
    "--accept-loss", is_flag=True, help="Mark zips as lost although the whole store is gone."
)
def verify(
    collections: tuple[str, ...],
    *,
    deep: bool,
    quick: bool,
    subset: Subset | None,
    max_minutes: int | None,
    against: tuple[str, ...],
    audit: bool,
    rebuild: bool,
    accept_loss: bool,
) -> None:
    """Check that the zips of COLLECTIONS, or of all, are as they were when fetched.

    A damaged zip gets the status failed, and the next fetch downloads it again; if a later check
    reads it as it was, as after a failure of the disk, it is complete again. Of each Collection
    those zips that were not read for longest come first; when each was read is in the table
    zip_reads. The tables are compared with the digests that were recorded when they were written;
    one that is gone is named. With --subset K/N, day K of N reads one N-th of the zips.

    Where the store has hardly any zip of any Collection (a disk that is not mounted, a wrong
    bucket), nothing is marked, and the exit code is 1.

    With --against, what differs between the zips and a source, or between two sources, is in the
    table source_equality. The exit code is 1 if something differs or a source cannot be asked; what
    a source does not have yet, or any more, is reported only. No image is downloaded for it.

    \b
    Examples:
      tcia-assets verify
      tcia-assets verify LCTSC --deep
      tcia-assets verify --quick            (one listing of each Collection's zips)
      tcia-assets verify --subset 3/30      (the third of 30 days)
      tcia-assets verify --max-minutes 60
      tcia-assets verify --against idc
      tcia-assets verify LCTSC --against nbia --against idc
      tcia-assets verify --rebuild          (the manifest was lost)
      tcia-assets verify --accept-loss      (the disk was lost)
    """
    mirror = open_mirror()
    settings, warehouse = mirror.settings, mirror.warehouse
    if missing := missing_folder(warehouse):  # "0 damaged" would hide a mistake in its name
        raise UsageError(f"there is nothing to verify{missing}")
    places = [place for place in (NBIA, IDC) if place in against or (audit and place == NBIA)]
    with ExitStack() as stack:
        sources = {
            place: stack.enter_context(open_source(settings.replace(source=place)))
            for place in places
        }
        for source in sources.values():
            require_hashes(source)  # before hours of hashing zips
        on_disk = collections_on_disk(warehouse)
        known = warehouse.keys(SERIES) if len(sources) > 1 else on_disk
        if not on_disk:
            err.print(f"there are no images in {settings.root}", soft_wrap=True)
        require_known("Collection with images", collections, known)
        chosen = [name for name in collections or on_disk if name in on_disk]
        problems = _rebuild(chosen, warehouse, settings) if rebuild else []
        limits = _Limits(deep, quick, subset, _deadline(max_minutes), accept_loss)
        problems += _verify(chosen, warehouse, limits)
        problems += _verify_tables(warehouse, collections)
        imported = warehouse.keys(IMPORTS)  # of which no source has anything
        compared = [name for name in collections or known if name not in imported]
        problems += _compare(compared, on_disk, sources, warehouse)
    exit_with(problems)


def _rebuild(collections: Sequence[str], warehouse: Warehouse, settings: Settings) -> list[str]:
    """Complete the manifests from the zips on disk; returns a line for each refused zip."""
    problems, imported = [], warehouse.keys(IMPORTS)
    aside = quarantine_unreadable_manifests(collections, warehouse)
    for name in collections:
        with progress_bar(f"Rebuild {name}") as report:
            source = settings.of_collection(name).source_name
            source = FOLDER_NAME if name in imported else source
            rebuilt = rebuild_manifest(name, warehouse, source, report=report)
        out.print(printable(_rebuilt_line(rebuilt, ", ".join(aside.get(name, [])))), soft_wrap=True)
        problems += _damage_lines(name, rebuilt.refused)
    return problems


class _Limits(NamedTuple):
    """How the zips are checked, which of them, and until when; see `verify_zips`."""

    deep: bool
    quick: bool
    subset: Subset | None
    until: float
    accept_loss: bool


def _deadline(max_minutes: int | None) -> float:
    return math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes


def _verify(collections: Sequence[str], warehouse: Warehouse, limits: _Limits) -> list[str]:
    """Check the zips in the store; returns a line for each that is damaged."""
    problems = []
    for name in collections:
        with bytes_bar(f"Verify {name}") as report:
            verified = verify_zips(name, warehouse, **limits._asdict(), report=report)
        strays = [] if limits.subset else find_strays(name, warehouse)
        line = _verified_line(name, verified, strays)
        if restored := restore_texts(name, warehouse):
            line += f"; written again: {', '.join(restored)}"
        out.print(printable(line), soft_wrap=True)
        problems += _damage_lines(name, verified.damaged)
    return problems


def _verify_tables(warehouse: Warehouse, collections: Sequence[str]) -> list[str]:
    """Compare the files of tables with their digests; returns a line for each that is damaged."""
    verified = warehouse.verify(collections or None)
    if verified.partitions:
        line = (
            f"{counted(verified.partitions, 'partition')} of {format_bytes(verified.bytes)} checked"
        )
        line += f", {len(verified.problems):,} damaged or lost"
        if verified.without_digest:
            line += f", {verified.without_digest:,} of an earlier version without a digest"
        out.print(f"warehouse: {line}", soft_wrap=True)
    return verified.problems


def _compare(
    collections: Sequence[str],
    on_disk: Sequence[str],
    sources: Mapping[str, Source],
    warehouse: Warehouse,
) -> list[str]:
    """Compare zips and sources; return a line for each Series that differs."""
    problems = []
    for name in collections:
        mirrored = sources if name in on_disk else {}
        for found in _comparisons(name, mirrored, sources, warehouse):
            out.print(printable(_compared_line(found)), soft_wrap=True)
            problems += _differing_lines(found)
    return problems


def _comparisons(
    name: str,
    mirrored: Mapping[str, Source],
    sources: Mapping[str, Source],
    warehouse: Warehouse,
) -> Iterator[Equality]:
    """Compare the zips of a Collection with `mirrored`, and two sources with each other."""
    from tcia_assets.images.headers.image_rows import index_images  # noqa: PLC0415 - lazy

    now = datetime.now(UTC)
    # No Series is listed twice.
    answers: dict[str, Answers] = {place: {} for place in sources}
    if mirrored:
        index_images(name, warehouse, reread=RereadBudget(0))  # for its MD5s only
    for place, source in mirrored.items():
        with progress_bar(f"Compare {name} with {place}") as report:
            yield compare_mirror(
                name, source, warehouse, now, report=report, answers=answers[place]
            )
    if len(sources) > 1:
        with progress_bar(f"Compare {name} in {NBIA} and {IDC}") as report:
            yield compare_sources(
                name,
                sources[NBIA],
                sources[IDC],
                warehouse,
                now,
                report=report,
                answers=answers[IDC],
            )


def _verified_line(collection: str, found: VerifyResult, strays: Sequence[str]) -> str:
    checked = f"{counted(found.checked, 'zip')} of {format_bytes(found.checked_bytes)} checked"
    line = f"{collection}: {checked}, {len(found.damaged):,} damaged"
    if found.restored:
        line += f", {found.restored:,} found damaged before and complete again"
    if found.left:
        line += f", {found.left:,} left for lack of time"
    if strays:
        named = ", ".join(strays[:_MOST_NAMED])
        line += f"; {len(strays):,} not in the manifest: {named}; see --rebuild"
    return line


def _rebuilt_line(made: RebuildResult, quarantined: str) -> str:
    line = (
        f"{made.collection}: {counted(made.made, 'row')} added from zips, {made.kept:,} kept, "
        f"{counted(len(made.refused), 'zip')} refused"
    )
    return line + (f"; the damaged manifest was moved to {quarantined}" if quarantined else "")


def _compared_line(found: Equality) -> str:
    states = ", ".join(
        f"{found.count(state):,} {words}"
        for state, words in _STATES.items()
        if found.count(state) or state in {"equal", "differs"}
    )
    line = f"{found.collection}: {_PLACES[found.left]} against {found.right}: {states} "
    line += f"({counted(found.requests, 'request')})"
    return line + (f", {found.not_compared:,} not compared" if found.not_compared else "")


def _damage_lines(collection: str, damaged: Iterable[DamagedZip]) -> list[str]:
    return [f"{collection}: {each.series_instance_uid}: {each.problem}" for each in damaged]


def _differing_lines(found: Equality) -> list[str]:
    pair = f"{_PLACES[found.left]} and {found.right}"
    lines = [
        f"{found.collection}: {row['SeriesInstanceUID']}: {pair} differ: {row['reason']}"
        for row in found.rows
        if row["state"] == "differs"
    ]
    return [*lines, f"{found.collection}: {found.failure}"] if found.failure else lines
