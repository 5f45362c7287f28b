"""Report a fetch while it runs: progress to the listener, log lines and observations to Dagster."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg

from tcia_assets.images.fetch import FetchListener
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.plan import FetchPlan
from tcia_assets.images.workers import FetchProgress
from tcia_assets.progress import report
from tcia_assets.units import format_bytes

_LOG_EVERY_S = 10.0
# One observation per 500 Series or per minute, and one for each failure up to a limit: Dagster's
# records must not grow with the archive.
_SUMMARY_EVERY_S = 60.0
_SUMMARY_EVERY_SERIES = 500
_MAX_FAILURES_OBSERVED = 50
_OBSERVED = ("SeriesInstanceUID", "status", "error", "attempts")


class FetchReporter(FetchListener):
    """Reports the fetch of one Collection."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        asset: dg.AssetKey,
        collection: str,
        read_zips: Callable[[], object] = bool,
    ) -> None:
        self._read_zips = read_zips
        self._context, self._asset, self._collection = context, asset, collection
        self._started = self._logged = self._summarized = time.monotonic()
        self._batch: Counter[str] = Counter()
        self._batch_bytes = self._failures = 0

    def on_wait(self) -> None:
        """Report that another run works on the same part of the Collection."""
        note = f"waiting until another run has fetched images of {self._collection}"
        report(0, 1, note)
        self._context.log.info(note)

    def on_plan(self, plan: FetchPlan) -> None:
        """Log what is to be fetched."""
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(plan.reasons.items()))
        self._context.log.info(
            f"{self._collection}: {len(plan.now)} Series ({reasons or 'none'}) of up to "
            f"{format_bytes(plan.bytes_now)} and {plan.sizes_unknown} of unknown size to fetch, "
            f"{plan.complete} complete, {len(plan.later)} left to later runs, "
            f"{len(plan.given_up)} given up, {plan.denied} denied by licence"
        )

    def on_cache_filling(self) -> None:
        """Read the headers of what was fetched so far."""
        self._read_zips()

    def on_progress(self, progress: FetchProgress) -> None:
        """Report progress, and log it every ten seconds."""
        now = time.monotonic()
        note = _note(progress, now - self._started)
        report(progress.done, progress.planned, note)
        if now - self._logged > _LOG_EVERY_S:
            self._logged = now
            done = f"{progress.done} of {progress.planned}"
            self._context.log.info(f"{self._collection}: {done}, {note}")

    def on_row(self, row: ManifestRow) -> None:
        """Record a Series: in the next summary, and by itself if it failed."""
        self._batch[row.status] += 1
        if row.is_complete:
            self._batch_bytes += row.archive_bytes or 0
        elif self._failures < _MAX_FAILURES_OBSERVED:
            facts = row.to_record()
            self._observe({name: facts[name] for name in _OBSERVED})
            self._failures += 1
        is_due = time.monotonic() - self._summarized > _SUMMARY_EVERY_S
        if is_due or self._batch.total() >= _SUMMARY_EVERY_SERIES:
            self._summarize()

    def close(self) -> None:
        """Record the last summary, if there is anything in it."""
        if self._batch.total() > 0:
            self._summarize()

    def _summarize(self) -> None:
        seconds = time.monotonic() - self._summarized
        self._observe({**self._batch, "bytes": self._batch_bytes, "seconds": round(seconds, 1)})
        self._summarized = time.monotonic()
        self._batch.clear()
        self._batch_bytes = 0

    def _observe(self, facts: dict[str, Any]) -> None:
        event = dg.AssetObservation(self._asset, partition=self._collection, metadata=facts)
        self._context.log_event(event)


def _note(progress: FetchProgress, seconds: float) -> str:
    """Bytes, rate, failures, and the remaining time if the rate stays.

    >>> _note(FetchProgress(5, 10, 1, 60_000_000, 90_000_000, 50_000_000, 8), 10.0)
    '50.0 MB, 5.0 MB/s, 5 s left, 1 failed'
    """
    parts = [format_bytes(progress.received_bytes)]
    if seconds > 0:
        parts.append(f"{format_bytes(progress.received_bytes / seconds)}/s")
    if progress.bytes_done:
        left = seconds * (progress.bytes_planned / progress.bytes_done - 1)
        parts.append(f"{left:.0f} s left")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    return ", ".join(parts)
