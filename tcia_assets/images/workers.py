"""The threads that fetch the Series of a plan, within the run's budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Condition, Lock

from tcia_assets.errors import ArchiveBroken, Busy
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.outages import Outages
from tcia_assets.images.pending import PendingSeries
from tcia_assets.images.plan import FetchPlan
from tcia_assets.images.run_limits import FetchBudget
from tcia_assets.images.series_result import SeriesResult, fetch_series
from tcia_assets.images.series_task import SeriesTask, series_at_once
from tcia_assets.sources import Source
from tcia_assets.store.warehouse import Warehouse

_REPORT_EVERY_S = 0.5
# The Series of a plan are queued as others are done, as a plan may have 500,000. So many small ones
# keep the threads busy while the manifest is written.
_MAX_QUEUED = 1_000
# After this many consecutive Series that failed because of the source, it counts as down. With many
# connections it takes twice as many.
_MIN_FAILURES = 16


@dataclass
class FetchProgress:
    """Progress of a fetch.

    Attributes:
        done: Number of Series done, failed ones included.
        planned: Number of Series planned.
        failed: Number of Series that failed.
        bytes_done: Bytes of the objects of Series that are done.
        bytes_planned: Bytes of the objects of all planned Series.
        received_bytes: Bytes of zips received so far; zips are smaller than their objects.
        connections: Number of requests that may run at the same time now.
    """

    done: int = 0
    planned: int = 0
    failed: int = 0
    bytes_done: int = 0
    bytes_planned: int = 0
    received_bytes: int = 0
    connections: int = 0


class _UnreadZips:
    """Bytes of fetched zips that nobody has read yet, so that a cache can keep them until then.

    Args:
        max_bytes: With more of them, no further Series is started.
    """

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes = max_bytes
        self._fetched = self._returned = 0
        self._is_closed, self._changed = False, Condition()

    @property
    def is_due(self) -> bool:
        """Whether those whose rows were returned are so many that they are to be read now."""
        return self._returned > self._max_bytes

    def wait(self) -> bool:
        """Wait until a Series may be started; returns False if none may any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._fetched <= self._max_bytes)
            return not self._is_closed

    def add_fetched(self, row: ManifestRow) -> None:
        """Count a zip that may be in the cache now; call it before the row can be returned."""
        with self._changed:
            self._fetched += _zip_bytes(row)

    def add_returned(self, row: ManifestRow) -> None:
        """Count a zip that the caller can read now."""
        self._returned += _zip_bytes(row)

    def mark_read(self) -> None:
        """Count what was returned as read."""
        with self._changed:
            self._fetched -= self._returned
            self._returned = 0
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def _zip_bytes(row: ManifestRow) -> int:
    return row.archive_bytes or 0 if row.is_complete else 0


class FetchWorkers:
    """Threads that fetch the Series of a plan.

    Args:
        plan: What to fetch.
        sources: Where it is fetched from: each for the case that those before it fail.
        warehouse: Where the zips go.
        known: The manifest rows of planned Series so far, by UID.
        earlier_collections: Collections that may have the zip of a moved Series, by UID.
        budget: The run's budget; its deadline and its count of failures end the work.
        max_unread_bytes: With more bytes of zips that are not read yet, no Series is started.

    Attributes:
        progress: What is done so far, without `connections`.
    """

    def __init__(
        self,
        plan: FetchPlan,
        sources: Sequence[Source],
        warehouse: Warehouse,
        known: Mapping[str, ManifestRow],
        earlier_collections: Mapping[str, Sequence[str]],
        budget: FetchBudget,
        max_unread_bytes: float = math.inf,
    ) -> None:
        self._plan, self._sources, self._warehouse = plan, sources, warehouse
        self._known, self._earlier, self._budget = known, earlier_collections, budget
        self._sizes: dict[str, int] = {}  # bytes of the objects of each Series that is queued
        self._results: SimpleQueue[SeriesResult | BaseException | None] = SimpleQueue()
        self._max_failures = max(_MIN_FAILURES, 2 * sources[0].settings.image_connections)
        self.progress = FetchProgress(planned=len(plan.now), bytes_planned=plan.bytes_now)
        self._outages = Outages()
        self._unread = _UnreadZips(max_unread_bytes)
        self._lock = Lock()  # for the count of received bytes, which all threads add to

    def run(self, on_progress: Callable[[FetchProgress], None]) -> Generator[ManifestRow]:
        """Fetch all Series, and yield the row of each as it is done.

        When the generator is closed, no further Series is started and running ones are finished.

        Raises:
            ArchiveBroken: The source seems to be down.
            StorageError: The file cannot be written.
        """
        # A source may ask for waits of minutes, several times for each Series.
        with ExitStack() as stack:
            for source in self._sources:
                stack.enter_context(source.waiting_until(self._budget.longest_wait_until))
            threads = series_at_once(self._sources[0].settings)
            pool = stack.enter_context(ThreadPoolExecutor(threads))
            try:
                waiting = iter(self._plan.now)
                queued = self._submit(pool, islice(waiting, _MAX_QUEUED))
                while queued:
                    result = self._next(on_progress)
                    queued += self._submit(pool, islice(waiting, 1)) - 1
                    if result is not None:
                        self._count(result)
                        self._unread.add_returned(result.row)
                        yield result.row
                        on_progress(self._snapshot())
                        self._check_source(result)
            except BaseException as error:
                self._unread.close()
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop_after(error)
                raise

    @property
    def must_be_read(self) -> bool:
        """Whether the zips of the rows so far are to be read before further Series are started."""
        return self._unread.is_due

    def mark_read(self) -> None:
        """Go on: the zips of the rows so far were read."""
        self._unread.mark_read()

    def stop_after(self, error: BaseException) -> None:
        """Stop running requests after an interrupt; after other errors let them finish."""
        if not isinstance(error, Exception | GeneratorExit):
            for source in self._sources:
                source.stop()

    def unread_rows(self) -> Iterator[ManifestRow]:
        """Yield the rows of Series that were done when `run` ended early."""
        while not self._results.empty():
            result = self._results.get()
            if isinstance(result, SeriesResult):
                yield result.row

    def _submit(self, pool: ThreadPoolExecutor, series: Iterable[PendingSeries]) -> int:
        """Queue Series unless the budget is used up; return how many."""
        queued = 0
        for each in series:
            if self._budget.is_over:
                break
            self._sizes[each.series_instance_uid] = each.image_bytes or 0
            pool.submit(self._work, each)
            queued += 1
        return queued

    def _work(self, series: PendingSeries) -> None:
        try:
            self._results.put(self._fetch(series))
        # Raised in the thread that reads the results.
        except BaseException as error:  # noqa: BLE001
            self._results.put(error)

    def _fetch(self, series: PendingSeries) -> SeriesResult | None:
        if not self._unread.wait() or self._budget.is_over:
            return None
        first, *others = self._sources
        task = SeriesTask(
            series,
            self._plan.collection,
            first,
            self._warehouse.root,
            self._warehouse.archives,
            self._add_bytes,
            tuple(others),
            self._outages,
        )
        try:
            result = fetch_series(task, self._known.get(task.uid), self._earlier.get(task.uid, ()))
        except Busy:
            return None
        self._unread.add_fetched(result.row)
        return result

    def _next(self, on_progress: Callable[[FetchProgress], None]) -> SeriesResult | None:
        """Wait for the next result; report progress meanwhile."""
        while True:
            try:
                result = self._results.get(timeout=_REPORT_EVERY_S)
            except Empty:
                on_progress(self._snapshot())
                continue
            if isinstance(result, BaseException):
                raise result
            return result

    def _count(self, result: SeriesResult) -> None:
        self.progress.done += 1
        self.progress.failed += result.error is not None
        self.progress.bytes_done += self._sizes.pop(result.row.series_instance_uid)
        is_broken = isinstance(result.error, ArchiveBroken)
        failures = self._budget.consecutive_failures
        self._budget.consecutive_failures = failures + 1 if is_broken else 0

    def _add_bytes(self, size: int) -> None:
        with self._lock:
            self.progress.received_bytes += size

    def _check_source(self, result: SeriesResult) -> None:
        """Raise ArchiveBroken if the source seems to be down."""
        failures = self._budget.consecutive_failures
        if isinstance(result.error, ArchiveBroken) and failures > self._max_failures:
            problem = f"the source failed for {failures} Series in a row, so this run ends"
            fetched = self.progress.done - self.progress.failed
            raise ArchiveBroken(
                f"{problem} with {fetched} fetched: {result.error.problem}", url=result.error.url
            )

    def _snapshot(self) -> FetchProgress:
        return replace(self.progress, connections=sum(s.connections for s in self._sources))
