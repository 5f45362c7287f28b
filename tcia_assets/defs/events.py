"""The events of a run over partitions, and the reasons of failed runs."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import dagster as dg

from tcia_assets.catalog import TABLES
from tcia_assets.defs.check_records import results_to_record
from tcia_assets.defs.names import Names
from tcia_assets.defs.recorded import DIGEST, RecordedDigests, open_recorded
from tcia_assets.errors import TciaError, shorten
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse, WriteResult

# Dagster refuses a parametrized MaterializeResult in an asset's annotation.
Results = Iterator[dg.MaterializeResult | dg.AssetCheckResult]  # type: ignore[type-arg]
# Returns the assets that have got an event.
_Recording = Generator[dg.MaterializeResult, None, set[dg.AssetKey]]  # type: ignore[type-arg]

# A run with this tag gets no events from Dagster: neither one that says what is planned, for each
# partition of each asset, nor one for each output. Its steps record what changed.
OWN_EVENTS = {"dagster/defer_asset_events": "true"}
_BACKFILL = "dagster/backfill"


class PartitionEvent(NamedTuple):
    """What a run made: a partition of a table, or a table ("") without partitions.

    Attributes:
        table: The table.
        key: The partition.
        facts: What it is like now.
        of_run: What the run did for it. The event of a partition that an earlier run has written,
            and was killed before it recorded that, is without.
        is_written: Whether this run has written it.
    """

    table: Table
    key: str
    facts: Mapping[str, Any]
    of_run: Mapping[str, Any] = {}
    is_written: bool = True


_MOST_FAILURES_SHOWN = 20
# An error of a library may repeat a value that the source sent.
_LONGEST_FOREIGN_ERROR = 2_000
_OWN_ERRORS = "tcia_assets.errors."
# Dagster raises the first on Ctrl-C; a second Ctrl-C while it ends the run raises the other.
_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
INTERRUPTED = "interrupted; complete work is kept, and the next run continues from there"


def record_partitions(
    context: dg.AssetExecutionContext,
    names: Names,
    warehouse: Warehouse,
    good: Sequence[PartitionEvent],
    bad: Sequence[tuple[str, Exception]],
    check_results: Iterator[dg.AssetCheckResult],
) -> Results:
    """Record one materialization for each good partition that changed, also if others failed.

    No event is lost or doubled, also if the run is killed; see `recorded`.

    Args:
        context: The context of the step.
        names: The names of the assets.
        warehouse: Where the partitions are stored.
        good: The partitions that succeeded, changed or not. One may be of a Collection that is not
            in the run: one that Series have left.
        bad: What failed ("series of 'LCTSC'"), and the error.
        check_results: Results of the asset checks, evaluated in this step: a step behind it would
            not run if a single partition failed. Those that Dagster lacks are recorded.

    Raises:
        dg.Failure: A partition failed; the text has a line for each of the first 20.
    """
    if _is_asked_for_all(context):
        recorded = yield from _record_all(context, names, warehouse, good, is_whole=not bad)
    else:
        recorded = yield from _record_changed(context, names, warehouse, good)
    yield from results_to_record(context, check_results, recorded)
    if bad:
        raise _failure(len(good), [f"{what}: {error_text(error)}" for what, error in bad])


def _is_asked_for_all(context: dg.AssetExecutionContext) -> bool:
    """Return whether Dagster needs an event for each partition of the run, changed or not.

    It fails a backfill that has none for one of its partitions, and skips steps behind an output
    that is not there.
    """
    run = context.run
    if OWN_EVENTS.items() <= run.tags.items():
        return False
    is_alone = set(run.asset_selection or ()) <= context.selected_asset_keys
    return _BACKFILL in run.tags or not (run.asset_selection and is_alone)


def _record_changed(
    context: dg.AssetExecutionContext,
    names: Names,
    warehouse: Warehouse,
    good: Sequence[PartitionEvent],
) -> _Recording:
    with open_recorded(context.instance, warehouse) as recorded:
        digests = [warehouse.files(each.table, each.key).digest() for each in good]
        due = [
            (each, digest)
            for each, digest in zip(good, digests, strict=True)
            if recorded.is_due(names.key(each.table), each.table, each.key, digest)
        ]
        context.log.info(f"{len(due)} of {len(good)} partitions changed")
        _forget(recorded, names, [each for each, _ in due])
        for each, digest in due:
            of_run = each.of_run if each.is_written else {}
            context.log_event(_materialization(names, each._replace(of_run=of_run), digest))
        changed = {names.key(each.table) for each, _ in due}
        if not OWN_EVENTS.items() <= context.run.tags.items():
            return changed
        # Steps behind this one run, whether or not anything changed. These outputs have no events.
        for key in filter(context.selected_asset_keys.__contains__, map(names.key, TABLES)):
            yield dg.MaterializeResult(asset_key=key)
        # Whatever was logged before an output is stored by now.
        for each, digest in zip(good, digests, strict=True):
            recorded.mark(names.key(each.table), each.key, digest)
        recorded.save()
        return changed


def _forget(recorded: RecordedDigests, names: Names, changing: Sequence[PartitionEvent]) -> None:
    """Forget, in the file too, the events of partitions that are about to get a new one."""
    for each in changing:
        recorded.forget(names.key(each.table), each.key)
    if changing:
        recorded.save()


def _materialization(names: Names, each: PartitionEvent, digest: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        names.key(each.table),
        partition=each.key or None,
        metadata={**each.facts, **each.of_run, DIGEST: digest},
        tags={"dagster/data_version": digest},
    )


def _record_all(
    context: dg.AssetExecutionContext,
    names: Names,
    warehouse: Warehouse,
    good: Sequence[PartitionEvent],
    *,
    is_whole: bool,
) -> _Recording:
    """Record all partitions of the run, changed or not, and those that changed of others.

    Dagster neither loses nor doubles an event this way: without failures it makes the events itself
    and gets only their metadata; with failures they are logged before the step fails.
    """
    own = {"", *(context.partition_keys if any(each.key for each in good) else ())}
    with open_recorded(context.instance, warehouse) as recorded:
        _forget(recorded, names, good)
        for each in good:
            digest, asset = warehouse.files(each.table, each.key).digest(), names.key(each.table)
            if each.key not in own and not recorded.is_due(asset, each.table, each.key, digest):
                continue
            if not is_whole or each.key not in own:
                context.log_event(_materialization(names, each, digest))
            else:
                context.add_asset_metadata(
                    {**each.facts, **each.of_run, DIGEST: digest},
                    asset_key=asset,
                    partition_key=each.key or None,
                )
        if is_whole:
            for table in dict.fromkeys(each.table for each in good):
                yield dg.MaterializeResult(asset_key=names.key(table))
        return {names.key(each.table) for each in good}


def stored_facts(warehouse: Warehouse, table: Table, key: str) -> dict[str, Any]:
    """Return the metadata of a partition as it is stored."""
    files = warehouse.files(table, key)
    size = sum(path.stat().st_size for path in files.paths())
    written = WriteResult(files.folder, warehouse.row_count(table, key), size, changed=False)
    return _written(written, "partition_")


def written_event(
    table: Table,
    key: str,
    written: WriteResult,
    facts: Mapping[str, Any],
    of_run: Mapping[str, Any],
) -> PartitionEvent:
    """Return the event of a partition, or of a table without partitions, that was written."""
    stored = _written(written, "partition_" if key else "")
    facts = {**stored, "file_changed": written.changed, **facts}
    return PartitionEvent(table, key, facts, of_run, is_written=written.changed)


def _written(written: WriteResult, of: str) -> dict[str, Any]:
    return {
        f"dagster/{of}row_count": written.rows,
        "file_bytes": written.bytes_on_disk,
        "dagster/uri": str(written.path),
    }


def _failure(good: int, lines: Sequence[str]) -> dg.Failure:
    hidden = len(lines) - _MOST_FAILURES_SHOWN
    shown = [*lines[:_MOST_FAILURES_SHOWN], *([f"... and {hidden} more"] if hidden > 0 else [])]
    return dg.Failure(
        f"{len(lines)} of {len(lines) + good} partitions failed; what was stored for them "
        "stays, the others are recorded:\n" + "\n".join(shown),
        metadata={"failed": len(lines), "good": good, "failures": list(lines)},
        allow_retries=False,
    )


def error_text(error: Exception) -> str:
    """Return the text of an error, with the class in front unless it is one of ours."""
    if isinstance(error, TciaError):
        return str(error)
    return shorten(f"{type(error).__name__}: {error}", _LONGEST_FOREIGN_ERROR)


def failure_reasons(step_failures: Iterable[dg.DagsterEvent]) -> Iterator[str]:
    """Yield why each step failed, without Dagster's traces and without the class of our errors."""
    for event in step_failures:
        data = event.step_failure_data
        description = data.user_failure_data.description if data.user_failure_data else None
        yield description or _reason(data.error) or str(event.message)


def _reason(error: Any) -> str:
    """Return the text of the first TciaError in a chain of causes; else that of the last cause."""
    message = ""
    while error is not None:
        message = str(error.message).strip()
        if any(name in message for name in _INTERRUPTS):
            return INTERRUPTED
        kind, _, text = message.partition(": ")
        if kind.startswith(_OWN_ERRORS):
            return text
        error = error.cause
    return message
