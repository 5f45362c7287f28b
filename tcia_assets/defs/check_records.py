"""Which results of checks are recorded: those that Dagster lacks.

Most checks find the same in each run. Each result takes 5 kB of Dagster's records, which has no
means to delete them one by one. But Dagster shows a check as not evaluated after a newer
materialization of its asset, so one that finds the same is recorded again with that.
"""

from collections.abc import Collection, Iterable, Iterator

import dagster as dg

# Runs that nobody waits for. Others show each failure, which people read at the end of a run.
_UNATTENDED = {"dagster/schedule_name", "dagster/sensor_name"}


def results_to_record(
    context: dg.AssetExecutionContext,
    results: Iterable[dg.AssetCheckResult],
    materialized: Collection[dg.AssetKey],
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results that differ from the newest of their check, or that Dagster would not show.

    In a run that no schedule or sensor started, a check that failed is yielded in any case.

    Args:
        context: The context of the step.
        results: What the checks have found.
        materialized: The assets that the step has materialized, perhaps not stored yet.
    """
    found = list(results)
    shows_failures = _UNATTENDED.isdisjoint(context.run.tags)
    storage = context.instance.event_log_storage
    newest = storage.get_latest_asset_check_execution_by_key([_key(each) for each in found])
    changed_at = {key: _materialized_at(context, key) for key in {_key(r).asset_key for r in found}}
    for each in found:
        asset = _key(each).asset_key
        record = newest.get(_key(each))
        event = record.event if record else None
        known = event.asset_check_evaluation if event else None
        is_shown = event and asset not in materialized and event.timestamp >= changed_at[asset]
        is_news = known is None or not _is_equal(known, each)
        if is_news or not is_shown or (shows_failures and not each.passed):
            yield each


def _key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    if result.asset_key is None or result.check_name is None:
        raise ValueError(f"a result without a check: {result}")
    return dg.AssetCheckKey(result.asset_key, result.check_name)


def _materialized_at(context: dg.AssetExecutionContext, key: dg.AssetKey) -> float:
    event = context.instance.get_latest_materialization_event(key)
    return event.timestamp if event else 0.0


def _is_equal(known: dg.AssetCheckEvaluation, result: dg.AssetCheckResult) -> bool:
    return (known.passed, known.severity, known.description, known.metadata) == (
        result.passed,
        result.severity,
        result.description,
        result.metadata,
    )
