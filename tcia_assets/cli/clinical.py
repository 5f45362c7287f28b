"""`tcia-assets clinical`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from tcia_assets.catalog import SERIES
from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.terminal import err, exit_with, out, printable, progress_bar
from tcia_assets.cli.workspace import open_mirror
from tcia_assets.errors import RemoteError, UsageError, require_known
from tcia_assets.metadata.clinical import store_clinical
from tcia_assets.sources import open_source
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
    mirror = open_mirror()
    settings, warehouse = mirror.settings, mirror.warehouse
    chosen = collections or settings.idc_clinical
    if not chosen:
        raise UsageError("name Collections, or set TCIA_IDC_CLINICAL")
    require_known("Collection in the warehouse", chosen, warehouse.keys(SERIES))
    problems = []
    with open_source(settings.replace(source="idc")) as source:
        for name in chosen:
            try:
                with progress_bar(f"Clinical tables of {name}") as report:
                    stored = store_clinical(name, source, warehouse, datetime.now(UTC), report)
            except RemoteError as error:
                problems.append(f"{name}: {error}")
                continue
            rows = sum(stored["rows"].to_pylist())
            line = f"{name}: {counted(stored.num_rows, 'table')} with {counted(rows, 'row')}"
            out.print(printable(line), soft_wrap=True)
    warehouse.ensure_views()
    if not problems:
        err.print(f"what there is: {printable(_QUERY)}", soft_wrap=True)
    exit_with(problems)
