"""Which results of checks are recorded: those that differ from what Dagster has.

Most checks find the same in each run. Each result takes 5 kB of Dagster's records, which has no
means to delete them one by one.
"""

from collections.abc import Iterable, Iterator

import dagster as dg

# Runs that nobody waits for. Others show each failure, which people read at the end of a run.
_UNATTENDED = {"dagster/schedule_name", "dagster/sensor_name"}


def different_results(
    context: dg.AssetExecutionContext, results: Iterable[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results that are not the newest of their check already.

    In a run that no schedule or sensor started, a check that failed is yielded in any case.
    """
    found = list(results)
    shows_failures = _UNATTENDED.isdisjoint(context.run.tags)
    storage = context.instance.event_log_storage
    newest = storage.get_latest_asset_check_execution_by_key([_key(each) for each in found])
    for each in found:
        record = newest.get(_key(each))
        event = record.event if record else None
        known = event.asset_check_evaluation if event else None
        if known is None or not _is_equal(known, each) or (shows_failures and not each.passed):
            yield each


def _key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    if result.asset_key is None or result.check_name is None:
        raise ValueError(f"a result without a check: {result}")
    return dg.AssetCheckKey(result.asset_key, result.check_name)


def _is_equal(known: dg.AssetCheckEvaluation, result: dg.AssetCheckResult) -> bool:
    return (known.passed, known.severity, known.description, known.metadata) == (
        result.passed,
        result.severity,
        result.description,
        result.metadata,
    )
