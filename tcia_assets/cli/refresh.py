"""`tcia-assets refresh`."""

from __future__ import annotations

import click

from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.workspace import import_dagster, open_mirror


@click.command()
@click.argument("collections", nargs=-1, shell_complete=complete_collections)
@click.option("--all", "everything", is_flag=True, help="Refresh all Collections of the source.")
@click.option(
    "--shared-list",
    "lists",
    multiple=True,
    help="Refresh this list of Series that somebody shared on TCIA's site; may be repeated.",
)
@click.option(
    "--max-size-requests",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Maximum number of requests for the size of a single Series.",
)
@click.option(
    "--accept-schema",
    "accepted",
    multiple=True,
    metavar="COLLECTION",
    help="Refresh this Collection (or list) also if a column lost all its values, or has many that "
    "cannot be read; may be repeated.",
)
@click.option("--verbose", is_flag=True, help="Show Dagster's log.")
def refresh(
    collections: tuple[str, ...],
    lists: tuple[str, ...],
    max_size_requests: int,
    accepted: tuple[str, ...],
    *,
    everything: bool,
    verbose: bool,
) -> None:
    """Download the metadata of COLLECTIONS and store what changed.

    A value that cannot be read is null and in the table unreadable_values. Failed asset checks are
    printed. The exit code is 1 if a Collection failed, if a listing lacks too many Series to be
    plausible, or if a check failed that means that data may be wrong.

    \b
    Examples:
      tcia-assets refresh LCTSC "RIDER Lung CT"
      tcia-assets refresh --all
      tcia-assets refresh --shared-list TCIA_TCGA-PRAD_08-09-2016-v3
      tcia-assets refresh --accept-schema LCTSC
    """
    collections = tuple(dict.fromkeys((*collections, *(n for n in accepted if n not in lists))))
    if not (collections or everything or lists):
        raise click.UsageError("name Collections, or use --all, or --shared-list NAME")
    mirror = open_mirror(verbose=verbose)
    import_dagster()
    mirror.refresh(
        None if everything else collections,
        shared_lists=lists,
        max_size_requests=max_size_requests,
        accept_schema=accepted,
    )
