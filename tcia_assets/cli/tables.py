"""`tcia-assets tables`."""

from __future__ import annotations

import click
from rich.table import Column
from rich.table import Table as Grid

from tcia_assets import catalog
from tcia_assets.cli.completion import complete_tables
from tcia_assets.cli.data_dictionary import data_dictionary
from tcia_assets.cli.terminal import make_grid, out, printable
from tcia_assets.spec import Table


@click.command()
@click.argument("table", required=False, shell_complete=complete_tables)
@click.option("--markdown", is_flag=True, help="Print the data dictionary of the docs.")
def tables(table: str | None, *, markdown: bool) -> None:
    """List the tables of the warehouse, or the columns of TABLE.

    \b
    Examples:
      tcia-assets tables
      tcia-assets tables series
    """
    if markdown:
        click.echo(data_dictionary())
    elif table:
        out.print(_columns(catalog.table(table)))
    else:
        out.print(_tables())


def _tables() -> Grid:
    grid = make_grid(Column("table", no_wrap=True), "one row per", "key", "endpoint")
    for table in catalog.TABLES:
        key, endpoint = ", ".join(table.key), table.endpoint or "made here"
        grid.add_row(table.name, table.grain, key, endpoint)
    return grid


def _columns(table: Table) -> Grid:
    title = f"One row per {table.grain}"
    grid = make_grid("column", "type", "DICOM tag", "what it is", title=title)
    for column in table.columns:
        grid.add_row(
            column.name, str(column.kind.arrow_type), column.tag, printable(column.description)
        )
    return grid
