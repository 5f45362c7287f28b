"""`tcia-assets migrate`."""

from __future__ import annotations

import click

from tcia_assets.cli.workspace import open_mirror
from tcia_assets.errors import UsageError
from tcia_assets.mirror import missing_folder


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be renamed.")
def migrate(*, dry_run: bool) -> None:
    """Rename the partitions of a data folder that an earlier version has written.

    It is not necessary: they are read as they are, and renamed when they are written the next time.
    Afterwards every reader of Parquet can read a table's folder plainly.

    \b
    Examples:
      tcia-assets migrate --dry-run
      tcia-assets migrate
    """
    warehouse = open_mirror().warehouse
    if missing := missing_folder(warehouse):
        raise UsageError(f"there is nothing to migrate{missing}")
    renamed = warehouse.migrate(dry_run=dry_run)
    folders = "folder" if renamed == 1 else "folders"
    click.echo(f"{renamed:,} {folders} {'to rename' if dry_run else 'renamed'}")
