"""`tcia-assets query`."""

from __future__ import annotations

from pathlib import Path

import click

from tcia_assets.cli.query_result import write_result
from tcia_assets.cli.workspace import open_mirror


@click.command()
@click.argument("statement")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet", "s5cmd"]),
    help="Format of the result.  [default: a table; with --output by its suffix, else csv]",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file instead.")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Maximum number of rows shown on the terminal.",
)
def query(statement: str, form: str | None, output: Path | None, rows: int) -> None:
    """Run a SQL STATEMENT over the warehouse.

    One SELECT, FROM, WITH, DESCRIBE or SUMMARIZE: it reads the tables and views, and files below
    TCIA_DATA_DIR, and changes nothing.

    \b
    Examples:
      tcia-assets query "SELECT * FROM current_series LIMIT 5"
      tcia-assets query "FROM patients" --format csv > patients.csv
      tcia-assets query "FROM series" --output series.parquet
      tcia-assets query "FROM current_series WHERE Modality = 'CT'" --output ct.s5cmd
    """
    result = open_mirror().query(statement)
    write_result(result, form, output, rows)
