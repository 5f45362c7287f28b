"""`tcia-assets import`."""

from __future__ import annotations

from pathlib import Path

import click

from tcia_assets.cli.status import print_status
from tcia_assets.cli.workspace import import_dagster, open_mirror


@click.command("import")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--collection", required=True, metavar="NAME", help="Name of the Collection that it becomes."
)
@click.option("--verbose", is_flag=True, help="Show Dagster's log.")
def import_folder(folder: Path, collection: str, *, verbose: bool) -> None:
    """Make a FOLDER of DICOM files a Collection, or bring that up to date.

    Everything works on it then: query, status, verify, export, catalogue and datasets. The files
    stay where they are; each Series is packed as a zip in the data folder and verified. Objects of
    a Series may lie in many folders. Files that are not DICOM are counted; of files with the same
    object one is taken, and if their bytes differ, nothing is imported.

    Run it again when files were added, changed or removed: the history shows what became of each
    Series. Refreshes and sensors leave the Collection as it is, and prune keeps its zips.

    \b
    Examples:
      tcia-assets import /data/our_scans --collection "Our Scans"
      tcia-assets query "SELECT Modality, count(*) FROM series
        WHERE Collection = 'Our Scans' GROUP BY ALL"
    """
    mirror = open_mirror(verbose=verbose)
    import_dagster()
    mirror.import_folder(folder, collection)
    print_status(mirror.warehouse, [collection], None)
