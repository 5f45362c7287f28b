"""The asset `mirror`: one summary a refresh and a fetch, whose numbers Dagster plots over time.

It has no step of its own. Runs over partitions cannot make an asset without partitions, so their
step logs its event; and it is in no job, since nothing makes it alone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import RunResource
from tcia_assets.errors import TciaError
from tcia_assets.images.status import mirror_totals
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.store.warehouse import Warehouse

MIRROR = "mirror"
# The nightly schedule refreshes everything: 26 hours without are unusual, two days are wrong.
_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=50), warn_window=timedelta(hours=26)
)
_DESCRIPTION = """\
One event per refresh and per fetch, also by the command line: the mirror as a whole.

Plots: Series `known`, `missing` and `withdrawn`; of TCIA_IMAGE_SELECTION those `selected`, and
`to_come`; `complete` and `failed` ones; `bytes_on_disk`. Of each run: Series that were `new` and
`changed`; `requests`, `received_bytes` and `duration_s`. `last_compared` is the newest comparison
with the source; `oldest_comparison_hours` the age of the one longest ago."""


def asset(names: Names) -> dg.AssetSpec:
    """Return the asset `mirror`."""
    return dg.AssetSpec(
        names.key(MIRROR),
        deps=[names.key(catalog.SERIES), names.key(catalog.IMAGE_ARCHIVES)],
        description=_DESCRIPTION,
        group_name=names.group_of("metadata"),
        owners=list(names.owners),
        kinds={"parquet", "duckdb"},
        freshness_policy=_FRESHNESS,
    )


def event(
    names: Names, tcia: RunResource, started: datetime, facts: Mapping[str, Any]
) -> dg.AssetMaterialization:
    """Return the event of a run that is about to end.

    Args:
        names: The names of the assets.
        tcia: The warehouse, and the image selection in use.
        started: When the run's step started.
        facts: What the run did.
    """
    now = datetime.now(UTC)
    return dg.AssetMaterialization(
        names.key(MIRROR),
        metadata={
            **_totals(tcia),
            **facts,
            "duration_s": round((now - started) / timedelta(seconds=1), 3),
            **_comparisons(tcia.warehouse, now),
        },
    )


def _totals(tcia: RunResource) -> dict[str, Any]:
    try:
        return dict(mirror_totals(tcia.warehouse, tcia.selection))
    except TciaError as error:  # of the selection, which is no part of a refresh
        problem = str(error)
    try:
        return {**mirror_totals(tcia.warehouse), "selection_error": problem}
    except TciaError as error:  # a damaged partition must not keep the others from being recorded
        return {"totals_error": str(error)}


def _comparisons(warehouse: Warehouse, now: datetime) -> dict[str, Any]:
    """Return when listed Collections were compared with the source; nothing if none ever was."""
    listed = set(warehouse.read_or_empty(catalog.COLLECTIONS)["Collection"].to_pylist())
    compared = [at for key, at in last_compared(warehouse, now).items() if key in listed]
    if not compared:
        return {}
    return {
        "last_compared": dg.MetadataValue.timestamp(max(compared)),
        "oldest_comparison_hours": round((now - min(compared)) / timedelta(hours=1), 1),
    }
