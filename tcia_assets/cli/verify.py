"""`tcia-assets verify`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.terminal import err, exit_with, out, printable, progress_bar
from tcia_assets.cli.workspace import open_mirror
from tcia_assets.errors import UsageError, require_known
from tcia_assets.images.audit import AuditResult, audit_hashes, require_hashes
from tcia_assets.images.rebuild import (
    RebuildResult,
    quarantine_unreadable_manifests,
    rebuild_manifest,
)
from tcia_assets.images.run_limits import RereadBudget
from tcia_assets.images.verify import DamagedZip, VerifyResult, verify_zips
from tcia_assets.images.zip_files import collections_on_disk
from tcia_assets.mirror import missing_folder
from tcia_assets.settings import Settings
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted, format_bytes

_MOST_NAMED = 3


@click.command()
@click.argument("collections", nargs=-1, shell_complete=complete_collections)
@click.option("--deep", is_flag=True, help="Also inflate each zip and check it as when fetched.")
@click.option("--audit", is_flag=True, help="Also compare with the hashes of the source (nbia-v4).")
@click.option("--rebuild", is_flag=True, help="First add zips that the manifest lacks.")
def verify(collections: tuple[str, ...], *, deep: bool, audit: bool, rebuild: bool) -> None:
    """Check that the zips of COLLECTIONS, or of all, are as they were when fetched.

    A damaged zip gets the status failed, and the next fetch downloads it again. The tables are
    compared with the digests that were recorded when they were written; one that is gone is named.

    \b
    Examples:
      tcia-assets verify
      tcia-assets verify LCTSC --deep
      tcia-assets verify --audit
      tcia-assets verify --rebuild          (the manifest was lost)
    """
    mirror = open_mirror()
    settings, warehouse = mirror.settings, mirror.warehouse
    if missing := missing_folder(warehouse):  # "0 damaged" would hide a mistake in its name
        raise UsageError(f"there is nothing to verify{missing}")
    if audit:
        with open_source(settings) as source:
            require_hashes(source)  # before hours of hashing zips
    on_disk = collections_on_disk(warehouse)
    if not on_disk:
        err.print(f"there are no images in {settings.root}", soft_wrap=True)
    require_known("Collection with images", collections, on_disk)
    chosen = list(collections) or on_disk
    problems = _rebuild(chosen, warehouse, settings) if rebuild else []
    problems += _verify(chosen, warehouse, deep=deep)
    problems += _verify_tables(warehouse, collections)
    problems += _audit(chosen, warehouse, settings) if audit else []
    exit_with(problems)


def _rebuild(collections: Sequence[str], warehouse: Warehouse, settings: Settings) -> list[str]:
    """Complete the manifests from the zips on disk; returns a line for each refused zip."""
    problems = []
    aside = quarantine_unreadable_manifests(collections, warehouse)
    for name in collections:
        with progress_bar(f"Rebuild {name}") as report:
            source = settings.of_collection(name).source_name
            rebuilt = rebuild_manifest(name, warehouse, source, report=report)
        out.print(printable(_rebuilt_line(rebuilt, aside.get(name, ""))), soft_wrap=True)
        problems += _damage_lines(name, rebuilt.refused)
    return problems


def _verify(collections: Sequence[str], warehouse: Warehouse, *, deep: bool) -> list[str]:
    """Hash the zips on disk; returns a line for each that is damaged."""
    problems = []
    for name in collections:
        with progress_bar(f"Verify {name}") as report:
            verified = verify_zips(name, warehouse, deep=deep, report=report)
        out.print(printable(_verified_line(verified)), soft_wrap=True)
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


def _audit(collections: Sequence[str], warehouse: Warehouse, settings: Settings) -> list[str]:
    """Compare with the source's hashes; return a line for each Series that differs."""
    from tcia_assets.images.headers.image_rows import index_images  # noqa: PLC0415 - lazy

    problems = []
    with open_source(settings) as source:
        for name in collections:
            index_images(name, warehouse, reread=RereadBudget(0))  # for its MD5s only
            audited = audit_hashes(name, source, warehouse)
            out.print(printable(_audited_line(audited)), soft_wrap=True)
            problems += _differing_lines(audited)
    return problems


def _verified_line(found: VerifyResult) -> str:
    checked = f"{counted(found.checked, 'zip')} of {format_bytes(found.checked_bytes)} checked"
    line = f"{found.collection}: {checked}, {len(found.damaged):,} damaged"
    if found.strays:
        named = ", ".join(found.strays[:_MOST_NAMED])
        line += f"; {len(found.strays):,} not in the manifest: {named}; see --rebuild"
    return line


def _rebuilt_line(made: RebuildResult, quarantined: str) -> str:
    line = (
        f"{made.collection}: {counted(made.made, 'row')} added from zips, {made.kept:,} kept, "
        f"{counted(len(made.refused), 'zip')} refused"
    )
    return line + (f"; the damaged manifest was moved to {quarantined}" if quarantined else "")


def _audited_line(found: AuditResult) -> str:
    requests = f"{found.requests} request" + "s" * (found.requests != 1)
    line = (
        f"{found.collection}: {found.equal:,} Series equal to the source's, "
        f"{len(found.differing):,} differ ({requests})"
    )
    line += f", {found.not_requested:,} not requested" if found.not_requested else ""
    return line + (f", {found.not_compared:,} not compared" if found.not_compared else "")


def _damage_lines(collection: str, damaged: Iterable[DamagedZip]) -> list[str]:
    return [f"{collection}: {each.series_instance_uid}: {each.problem}" for each in damaged]


def _differing_lines(found: AuditResult) -> list[str]:
    unknown = "the source does not have this Series any more"
    other = "its hash at the source differs: the source's content has changed"
    lines = [
        f"{found.collection}: {uid}: {unknown if uid in found.unknown else other}"
        for uid in found.differing
    ]
    return [*lines, f"{found.collection}: {found.failure}"] if found.failure else lines
