"""`tcia-assets dataset`: plan, build, list, compare and verify datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table as Grid

from tcia_assets.cli.completion import complete_datasets
from tcia_assets.cli.dataset_new import new
from tcia_assets.cli.dataset_pack import pack
from tcia_assets.cli.dataset_plan import plan
from tcia_assets.cli.dataset_push import push
from tcia_assets.cli.declaration_file import find_declaration
from tcia_assets.cli.terminal import (
    err,
    exit_with,
    format_minute,
    make_grid,
    out,
    print_note,
    printable,
    progress_bar,
    right_aligned,
    run_progress_bar,
)
from tcia_assets.cli.workspace import import_dagster
from tcia_assets.mirror import open_runs
from tcia_assets.settings import Settings
from tcia_assets.store.data_folder import open_warehouse
from tcia_assets.units import counted, format_bytes

if TYPE_CHECKING:
    import pyarrow as pa

    from tcia_assets.datasets.versions import Version  # needs numpy, an extra

_MOST_LINES = 200


@click.group()
def dataset() -> None:
    """Plan and build datasets for training, and list, compare and verify them.

    A dataset is declared in a file NAME.yaml in the folder TCIA_DATASETS_DIR (default: datasets).
    It is built in datasets/NAME/VERSION below TCIA_DATA_DIR.

    \b
    Examples:
      tcia-assets dataset new lung_ct --collection LCTSC
      tcia-assets dataset plan lung_ct
      tcia-assets dataset build lung_ct
      tcia-assets dataset list
      tcia-assets dataset verify lung_ct
    """


dataset.add_command(new)
dataset.add_command(plan)
dataset.add_command(pack)
dataset.add_command(push)


@dataset.command()
@click.argument("name", shell_complete=complete_datasets)
@click.option("--locked", is_flag=True, help="Use the frozen cohort without running its query.")
@click.option("--update", is_flag=True, help="Freeze the Series that the cohort query returns now.")
@click.option(
    "--lock",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Freeze and use the cohort of this lock file.",
)
@click.option(
    "--datasets-dir",
    type=click.Path(path_type=Path),
    help="Folder of dataset declarations.  [default: TCIA_DATASETS_DIR]",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that make samples; each holds one in memory.  [default: one for each core]",
)
@click.option("--verbose", is_flag=True, help="Show Dagster's log.")
def build(
    name: str,
    lock: Path | None,
    datasets_dir: Path | None,
    workers: int | None,
    *,
    locked: bool,
    update: bool,
    verbose: bool,
) -> None:
    """Build the dataset NAME, or the one that the file NAME declares.

    The first build freezes the cohort. Later builds use the frozen cohort, and print how its query
    result has changed; --update freezes the new result. Earlier versions stay. Samples that exist
    are not made again, even if the build that made them was killed.

    \b
    Examples:
      tcia-assets dataset build lung_ct
      tcia-assets dataset build lung_ct --update       (with the Series that are new)
      tcia-assets dataset build lung_ct --locked       (only from the frozen cohort)
      tcia-assets dataset build lung_ct --workers 2    (with less memory)
      tcia-assets dataset build lung_ct --lock lung_ct.lock.json
      tcia-assets dataset build elsewhere/lung_ct.yaml
    """
    if update and (locked or lock):
        raise click.UsageError("--update runs the query again: it excludes --locked and --lock")
    settings = Settings.from_env()
    file = find_declaration(name, datasets_dir or Path(settings.datasets_dir))
    import_dagster()
    from tcia_assets.datasets import versions  # noqa: PLC0415 - numpy is an extra
    from tcia_assets.datasets.declaration import load_declaration  # noqa: PLC0415

    declared = load_declaration(file)
    open_warehouse(settings)
    runs = open_runs(
        settings, show_progress=run_progress_bar, verbose=verbose, datasets=file.parent
    )
    config = {"locked": locked, "update": update, "lock": str(lock.absolute()) if lock else ""}
    failures = runs.build_dataset(declared.name, config, workers or 0)
    _print_changes(runs.cohort_changes(declared.name))
    exit_with(failures)
    _print_built(versions.find(settings.root, declared.name))


def _print_changes(changes: str) -> None:
    """Print what the cohort query returns that the frozen cohort has not, and the reverse."""
    if changes:
        print_note(
            "The cohort query now returns different Series: --update accepts them, --locked "
            "ignores them."
        )
    for line in changes.splitlines():
        err.print(f"  {printable(line)}", soft_wrap=True)


def _print_built(built: Version) -> None:
    states = Counter(built.samples["state"].to_pylist())
    out.print(
        f"{built.name} {built.version}: {counted(states['kept'], 'sample')}, "
        f"{states['dropped']:,} dropped, {counted(len(built.files), 'file')} of "
        f"{format_bytes(built.bytes)}",
        soft_wrap=True,
    )
    out.print(printable(str(built.folder)), soft_wrap=True)
    if reasons := _dropped_reasons(built.samples):
        problem = f"{counted(states['dropped'], 'sample')} dropped: {reasons}"
        print_note(f"{problem}; see the column `reasons` of samples.parquet")


def _dropped_reasons(samples: pa.Table) -> str:
    """Return how many samples were dropped for each reason, the most frequent first."""
    counts = Counter(chain.from_iterable(samples["reasons"].to_pylist()))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {code}" for code, count in ordered)


@dataset.command("list")
def list_() -> None:
    """List the versions of all datasets, in the order in which they were built.

    \b
    Examples:
      tcia-assets dataset list
    """
    from tcia_assets.datasets import versions  # noqa: PLC0415 - numpy is an extra

    root = Settings.from_env().root
    found = [
        (each, each.folder.name == versions.latest(root, name))
        for name in versions.dataset_names(root)
        for each in versions.list_versions(root, name)
    ]
    if not found:
        print_note("there is no dataset yet: run `tcia-assets dataset build NAME` first")
        return
    out.print(_version_table(found))


def _version_table(versions: Iterable[tuple[Version, bool]]) -> Grid:
    """Return a table of versions, each with whether it is its dataset's latest."""
    counts = [right_aligned(name) for name in ("kept", "dropped", "files", "bytes")]
    grid = make_grid("dataset", "version", "built (UTC)", *counts, "latest")
    for version, is_latest in versions:
        states = version.samples["state"].to_pylist()
        grid.add_row(
            printable(version.name),
            version.version,
            format_minute(version.made_at),
            f"{states.count('kept'):,}",
            f"{states.count('dropped'):,}",
            f"{len(version.files):,}",
            format_bytes(version.bytes),
            "yes" if is_latest else "",
        )
    return grid


@dataset.command()
@click.argument("before", metavar="A", shell_complete=complete_datasets)
@click.argument("after", metavar="B", shell_complete=complete_datasets)
@click.option("--all", "everything", is_flag=True, help=f"Show more than {_MOST_LINES} lines.")
def diff(before: str, after: str, *, everything: bool) -> None:
    """Show the differences from version A to version B: Series, settings, tools, files.

    A and B are folders, or NAME/VERSION (the first digits are enough), or NAME for the latest
    version.

    \b
    Examples:
      tcia-assets dataset diff lung_ct/3f2a lung_ct
      tcia-assets dataset diff lung_ct /mnt/shared/datasets/lung_ct/latest
    """
    from tcia_assets.datasets import versions  # noqa: PLC0415 - numpy is an extra
    from tcia_assets.datasets.version_diff import diff_versions  # noqa: PLC0415

    root = Settings.from_env().root
    old, new = versions.find(root, before), versions.find(root, after)
    lines = list(diff_versions(old, new).lines) or ["no differences"]
    shown = lines if everything else lines[:_MOST_LINES]
    for line in shown:
        out.print(printable(line), soft_wrap=True)
    if len(shown) < len(lines):
        err.print(f"[dim]{len(lines) - len(shown):,} more lines are not shown (--all)[/]")


@dataset.command()
@click.argument("name", shell_complete=complete_datasets)
@click.argument("version", required=False, default="")
def verify(name: str, version: str) -> None:
    """Check that the files of a version are exactly those of its lock file, by SHA-256.

    NAME may be a folder. VERSION is the latest one by default; its first digits are enough.

    \b
    Examples:
      tcia-assets dataset verify lung_ct
      tcia-assets dataset verify lung_ct 3f2a
      tcia-assets dataset verify /mnt/shared/datasets/lung_ct/latest
    """
    from tcia_assets.datasets import versions  # noqa: PLC0415 - numpy is an extra

    found = versions.find(Settings.from_env().root, f"{name}/{version}" if version else name)
    with progress_bar(f"Verify {found.name}") as report:
        verified = versions.verify(found, report)
    out.print(
        f"{found.name} {found.version}: {counted(verified.files, 'file')} of "
        f"{format_bytes(verified.bytes)} checked, {counted(len(verified.problems), 'problem')}",
        soft_wrap=True,
    )
    exit_with([f"{found.folder}: {problem}" for problem in verified.problems])
