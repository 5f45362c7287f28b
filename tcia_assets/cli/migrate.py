"""`tcia-assets migrate`."""

from __future__ import annotations

import click

from tcia_assets.cli.terminal import progress_bar
from tcia_assets.cli.workspace import open_mirror
from tcia_assets.errors import UsageError
from tcia_assets.store.data_folder import missing_folder
from tcia_assets.units import counted


@click.command()
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
def migrate(*, dry_run: bool) -> None:
    """Rename and rewrite the partitions of a data folder that an earlier version has written.

    It is not necessary: they are read as they are, and have today's names and columns when they are
    written the next time. Afterwards every reader of Parquet can read a table's folder plainly.

    \b
    Examples:
      tcia-assets migrate --dry-run
      tcia-assets migrate
    """
    warehouse = open_mirror().warehouse
    if missing := missing_folder(warehouse):
        raise UsageError(f"there is nothing to migrate{missing}")
    renamed = warehouse.migrate(dry_run=dry_run)
    click.echo(f"{counted(renamed, 'folder')} {'to rename' if dry_run else 'renamed'}")
    outdated = warehouse.outdated()
    with progress_bar("Rewrite") as report:
        for number, (table, key) in enumerate(outdated if not dry_run else (), start=1):
            warehouse.rewrite(table, key)
            report(number, len(outdated))
    if outdated:
        partitions = counted(len(outdated), "partition")
        click.echo(f"{partitions} with other columns {'to rewrite' if dry_run else 'rewritten'}")
