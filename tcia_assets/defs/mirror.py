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
from tcia_assets.errors import DataError, UsageError
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.series_counts import count_series, mirror_totals
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.store.warehouse import Warehouse

MIRROR = "mirror"
REFRESHED_LATELY = "refreshed_lately"
IMPLAUSIBLE = "implausible_listings"
# The nightly schedule refreshes everything: 26 hours without are unusual, two days are wrong.
_FAIL_AFTER = timedelta(hours=50)
_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=_FAIL_AFTER, warn_window=timedelta(hours=26)
)
_WARN = dg.AssetCheckSeverity.WARN
_DESCRIPTION = """\
One event per refresh and per fetch, also by the command line: the mirror as a whole.

Plots: Series `known`, `missing` and `withdrawn`; of TCIA_IMAGE_SELECTION those `selected`, and
`to_come`; `complete` and `failed` ones; `bytes_on_disk`. Of a refresh: Series that were `new` and
`changed`, and `requests`; of a fetch: those `fetched`; of both: `received_bytes`, `duration_s` and
`failed_partitions`. `last_compared` is the newest comparison with the source;
`oldest_comparison_hours` the age of the one longest ago."""


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


def check(names: Names) -> dg.AssetChecksDefinition:
    """Return the check of `mirror`, which each refresh and each fetch evaluates too."""

    @dg.asset_check(
        name=REFRESHED_LATELY,
        asset=names.key(MIRROR),
        description="Each listed Collection was compared within two days and two hours.",
        required_resource_keys={names.resource},
        **names.step_options("metadata"),
    )
    def refreshed_lately(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        tcia: RunResource = getattr(context.resources, names.resource)
        old, facts = _find_old(_compared(tcia.warehouse), datetime.now(UTC))
        return dg.AssetCheckResult(passed=not old, severity=_WARN, metadata=facts)

    return refreshed_lately


def record(
    context: dg.AssetExecutionContext,
    names: Names,
    tcia: RunResource,
    started: datetime,
    facts: Mapping[str, Any],
    session: FetchSession | None = None,
) -> None:
    """Log the event of a run that is about to end, and the result of the check.

    Args:
        context: The context of the step.
        names: The names of the assets.
        tcia: The warehouse, and the image selection in use.
        started: When the step started.
        facts: What the run did.
        session: The fetch, if it is one; it gets the numbers of Series that are counted here.
    """
    duration = datetime.now(UTC) - started
    metadata = {**facts, "duration_s": round(duration / timedelta(seconds=1), 3)}
    try:
        metadata = _totals(tcia, session) | metadata
        compared = _compared(tcia.warehouse)
    except DataError as error:  # a damaged file of any Collection; a check is about it
        metadata["totals_error"], compared = str(error), {}
    else:
        context.log_event(_evaluation(names, compared))
    metadata |= _comparisons(compared, datetime.now(UTC))
    context.log_event(dg.AssetMaterialization(names.key(MIRROR), metadata=metadata))


def _evaluation(names: Names, compared: Mapping[str, datetime]) -> dg.AssetCheckEvaluation:
    old, facts = _find_old(compared, datetime.now(UTC))
    return dg.AssetCheckEvaluation(
        asset_key=names.key(MIRROR),
        check_name=REFRESHED_LATELY,
        passed=not old,
        severity=_WARN,
        metadata=facts,
    )


def _totals(tcia: RunResource, session: FetchSession | None) -> dict[str, Any]:
    # What a session selects is no part of the totals, but who has started it wants its numbers.
    selection, facts = tcia.selection or (session.selection if session else None), {}
    try:
        counts = count_series(tcia.warehouse, selection)
    except UsageError as error:  # of the selection, which is no part of a refresh
        counts, facts = count_series(tcia.warehouse), {"selection_error": str(error)}
    if session:
        session.counts = counts
    is_of_settings = tcia.selection is not None and counts.selection is not None
    return {**mirror_totals(counts, of_selection=is_of_settings), **facts}


def _compared(warehouse: Warehouse) -> dict[str, datetime]:
    """Return when each Collection that the source lists was last compared, if it ever was."""
    listed = set(warehouse.read_or_empty(catalog.COLLECTIONS)["Collection"].to_pylist())
    found = last_compared(warehouse, datetime.now(UTC))
    return {key: at for key, at in found.items() if key in listed}


def _comparisons(compared: Mapping[str, datetime], now: datetime) -> dict[str, Any]:
    if not compared:
        return {}
    return {
        "last_compared": dg.MetadataValue.timestamp(max(compared.values())),
        "oldest_comparison_hours": _hours(now - min(compared.values())),
    }


def _find_old(
    compared: Mapping[str, datetime], now: datetime
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the age in hours of comparisons that are too old, and metadata of the check."""
    old = {key: _hours(now - at) for key, at in compared.items() if now - at > _FAIL_AFTER}
    return old, {"hours_ago": dg.MetadataValue.json(old), "collections": len(compared)}


def _hours(age: timedelta) -> float:
    return round(age / timedelta(hours=1), 1)
