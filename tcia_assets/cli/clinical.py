"""`tcia-assets clinical`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from tcia_assets.catalog import CLINICAL_TABLES
from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.terminal import err, exit_with, out, printable
from tcia_assets.cli.workspace import import_dagster, open_mirror
from tcia_assets.errors import RunFailed
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted

_QUERY = 'tcia-assets query "FROM clinical_tables"'


@click.command()
@click.argument("collections", nargs=-1, shell_complete=complete_collections)
def clinical(collections: tuple[str, ...]) -> None:
    """Store the clinical tables of COLLECTIONS, or of those in TCIA_IDC_CLINICAL.

    They are about the patients: diagnoses, outcomes, measurements. They come from the Imaging Data
    Commons, whichever source TCIA_SOURCE names. Each table is a view of its own, with Collection
    and PatientID as its first columns; the table clinical_tables describes them.

    \b
    Examples:
      tcia-assets clinical LCTSC
      tcia-assets query "SELECT * FROM clinical_tables"
      tcia-assets query "SELECT stage, count(*) FROM current_series
        JOIN clinical_lctsc_clinical USING (Collection, PatientID) GROUP BY ALL"
    """
    mirror, began = open_mirror(), datetime.now(UTC)
    import_dagster()
    failures: tuple[str, ...] = ()
    try:
        mirror.store_clinical(collections)
    except RunFailed as error:
        failures = error.failures
    for line in _stored_since(began, mirror.warehouse):
        out.print(printable(line), soft_wrap=True)
    exit_with(failures)
    err.print(f"what there is: {printable(_QUERY)}", soft_wrap=True)


def _stored_since(moment: datetime, warehouse: Warehouse) -> Iterator[str]:
    """Yield a line for each Collection whose clinical tables were stored since a moment."""
    for name in warehouse.keys(CLINICAL_TABLES):
        tables = warehouse.read(CLINICAL_TABLES, [name])
        if tables.num_rows and min(tables["fetched_at"].to_pylist()) < moment:
            continue
        rows = sum(tables["rows"].to_pylist())
        yield f"{name}: {counted(tables.num_rows, 'table')} with {counted(rows, 'row')}"
