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
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file instead.")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Maximum number of rows shown on the terminal.",
)
def query(statement: str, form: str, output: Path | None, rows: int) -> None:
    """Run a SQL STATEMENT over the warehouse.

    \b
    Examples:
      tcia-assets query "SELECT * FROM current_series LIMIT 5"
      tcia-assets query "FROM patients" --format csv > patients.csv
      tcia-assets query "FROM series" --format parquet --output series.parquet
    """
    result = open_mirror().query(statement)
    write_result(result, form, output, rows)
