"""The events of a run over partitions, and the reasons of failed runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from tcia_assets.errors import TciaError, shorten
from tcia_assets.store.warehouse import WriteResult

# Dagster refuses a parametrized MaterializeResult in an asset's annotation.
Results = Iterator[dg.MaterializeResult | dg.AssetCheckResult]  # type: ignore[type-arg]

# Asset, partition and metadata of a materialization.
PartitionEvent = tuple[dg.AssetKey, str, Mapping[str, Any]]

_MOST_FAILURES_SHOWN = 20
# An error of a library may repeat a value that the source sent.
_LONGEST_FOREIGN_ERROR = 2_000
_OWN_ERRORS = "tcia_assets.errors."
# Dagster raises the first on Ctrl-C; a second Ctrl-C while it ends the run raises the other.
_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
INTERRUPTED = "interrupted; complete work is kept, and the next run continues from there"


def record_partitions(
    context: dg.AssetExecutionContext,
    good: Sequence[PartitionEvent],
    bad: Sequence[tuple[str, Exception]],
    check_results: Iterator[dg.AssetCheckResult],
) -> Results:
    """Record one materialization for each good partition, also if others failed.

    Dagster neither loses nor doubles an event this way: without failures it makes the events itself
    and gets only their metadata; with failures they are logged before the step fails.

    Args:
        context: The context of the step.
        good: The events of the partitions that succeeded.
        bad: What failed ("series of 'LCTSC'"), and the error.
        check_results: Results of the asset checks, evaluated in this step: a step behind it would
            not run if a single partition failed.

    Raises:
        dg.Failure: A partition failed; the text has a line for each of the first 20.
    """
    if not bad:
        for key, partition, facts in good:
            context.add_asset_metadata(facts, asset_key=key, partition_key=partition)
        for key in dict.fromkeys(key for key, *_ in good):
            yield dg.MaterializeResult(asset_key=key)
        yield from check_results
        return
    for key, partition, facts in good:
        context.log_event(dg.AssetMaterialization(key, partition=partition, metadata=facts))
    yield from check_results
    raise _failure(len(good), [f"{what}: {error_text(error)}" for what, error in bad])


def written_facts(written: WriteResult, *, is_partition: bool = True) -> dict[str, Any]:
    """Return the metadata of a table, or of one partition of it, that was written."""
    return {
        f"dagster/{'partition_' if is_partition else ''}row_count": written.rows,
        "file_changed": written.changed,
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
