"""A run over a plan: many Series at once, within its budget, every result kept as it arrives.

What belongs here: threads, budgets, when to stop, progress. What does not: how one Series is had
(`obtain.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import ArchiveBroken, Busy
from tcia_assets.images import manifest
from tcia_assets.images.obtain import Obtained, obtain
from tcia_assets.images.places import folder, remove_drafts
from tcia_assets.images.plan import (
    Plan,
    RunBudget,
    Shard,
    Wanted,
    brought_along,
    demand_space,
    plan,
)
from tcia_assets.metadata import attribution, history
from tcia_assets.metadata.selection import Selection
from tcia_assets.sources import Source
from tcia_assets.store.warehouse import Warehouse

Row = dict[str, Any]

_REPORT_EVERY_S = 0.5
# So many zips are proven at once; so many more threads than connections, which none leaves idle.
_CORES = os.cpu_count() or 1
# So many Series in a row that failed for the archive's sake: it is down, and the rest can wait.
_LEAST_FAILURES_IN_A_ROW = 16


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    `done` of `planned` Series, `bytes_done` of `bytes_planned` bytes of their objects; of the zips,
    which are smaller, `received_bytes` so far, counted while they arrive. `connections` may be used
    at once at the moment.
    """

    done: int
    planned: int
    failed: int
    bytes_done: int
    bytes_planned: int
    received_bytes: int
    connections: int


@dataclass(frozen=True)
class Fetched:
    """What a run has done: its plan, the rows that it made, what it left, and the whole manifest.

    `left` Series were planned and not begun: the minutes were over, or another run has them.
    """

    plan: Plan
    rows: tuple[Row, ...]
    left: int
    received_bytes: int
    manifest: pa.Table


def fetch(
    collection: str,
    selection: Selection,
    source: Source,
    warehouse: Warehouse,
    *,
    shard: Shard = Shard(),  # noqa: B008 - frozen
    retry: bool = False,
    budget: RunBudget | None = None,
    waiting: Callable[[], None] = lambda: None,
    planned: Callable[[Plan], None] = lambda _: None,
    report: Callable[[Progress], None] = lambda _: None,
    arrived: Callable[[Row], None] = lambda _: None,
) -> Fetched:
    """Fetches what is selected and not here.

    Several Collections are one run where they share a `budget`: its Series, bytes and minutes, and
    the failures after which the archive counts as down. Without one, this is a run of its own.
    A Series that cannot be had is a row that says why, not an exception. `waiting` is called where
    another run works on the same, and this one waits for it; `arrived`, in this thread, with each
    row once it is kept.

    Raises:
        UsageError: the disk cannot hold the plan; before the first byte, with the numbers.
        StorageError: the disk refuses meanwhile. What was complete by then is kept and recorded.
        ArchiveBroken: the archive is down; as before.
        Busy: another run has worked on the same for ten minutes.
    """
    budget = budget or RunBudget.of(selection)
    # The plan is made under the lock: two runs that plan at once would fetch everything twice.
    with _alone(collection, warehouse, shard, waiting):
        kept = manifest.Manifest(warehouse, collection)
        try:
            with warehouse.shared_connection():
                chosen = plan(
                    collection, selection, warehouse, shard=shard, retry=retry, budget=budget
                )
                earlier = brought_along(collection, warehouse)
            planned(chosen)
            demand_space([chosen], warehouse.root)
            remove_drafts(warehouse.root / folder(collection))
            known = kept.known(wanted.series_instance_uid for wanted in chosen.now)
            run = _Run(chosen, source, warehouse, known, earlier, budget)
            rows, arriving = [], run.rows(report)
            try:
                # An archive may ask for five minutes of patience, five times for each Series.
                with source.waiting_until(budget.deadline):
                    for row in arriving:
                        kept.put(row)
                        rows.append(row)
                        arrived(row)
            except BaseException as error:
                run.end(error)
                raise
            finally:
                # Now, and not when the collector comes: it waits for the threads.
                arriving.close()
                for row in run.rest():
                    kept.put(row)
        finally:
            kept.close()
            with warehouse.shared_connection():
                manifest.tell(warehouse, collection)
                _settle_moves(warehouse, collection)
                attribution.write_collection(collection, warehouse)
    left = len(chosen.now) - len(rows)
    table = manifest.read(warehouse, collection)
    return Fetched(chosen, tuple(rows), left, run.tally.received_bytes, table)


@contextmanager
def _alone(
    collection: str, warehouse: Warehouse, shard: Shard, waiting: Callable[[], None]
) -> Iterator[None]:
    """No other run plans or fetches the same; `waiting` is called where one does, and waited for.

    Raises:
        Busy: it has for ten minutes.
    """
    part = f"fetch-{shard}"
    with ExitStack() as held:
        try:
            held.enter_context(warehouse.lock(IMAGE_ARCHIVES, collection, part=part, wait=0.0))
        except Busy:
            waiting()
            held.enter_context(warehouse.lock(IMAGE_ARCHIVES, collection, part=part))
        yield


def _settle_moves(warehouse: Warehouse, collection: str) -> None:
    """What is complete here lies no more in the Collections from which it came."""
    moved = history.moved_into(collection, warehouse)
    if not moved:
        return
    rows = manifest.complete(warehouse, collection, ["SeriesInstanceUID"])
    here = {row["SeriesInstanceUID"] for row in rows}
    left: dict[str, list[str]] = {}
    for uid, names in moved.items():
        for name in names if uid in here else ():
            left.setdefault(name, []).append(uid)
    for name, uids in left.items():
        manifest.give_up(warehouse, name, uids)


@dataclass
class _Tally:
    """What has arrived so far, from all threads."""

    received_bytes: int = 0
    bytes_done: int = 0
    done: int = 0
    failed: int = 0
    lock: Lock = field(default_factory=Lock)

    def add_bytes(self, size: int) -> None:
        with self.lock:
            self.received_bytes += size


class _Run:
    """The threads of a run."""

    def __init__(
        self,
        chosen: Plan,
        source: Source,
        warehouse: Warehouse,
        known: dict[str, Row],
        earlier: dict[str, list[str]],
        budget: RunBudget,
    ) -> None:
        self._plan, self._source, self._root = chosen, source, warehouse.root
        self._known, self._earlier, self._budget = known, earlier, budget
        self._planned_bytes = {w.series_instance_uid: w.image_bytes or 0 for w in chosen.now}
        self._all_bytes = chosen.bytes_now  # a sum over all, and progress is told after each
        self._results: SimpleQueue[Obtained | BaseException | None] = SimpleQueue()
        self._most_failures = max(_LEAST_FAILURES_IN_A_ROW, 2 * source.settings.max_connections)
        self.tally = _Tally()

    def rows(self, report: Callable[[Progress], None]) -> Generator[Row]:
        """The manifest rows, as the Series arrive; closed, it begins none and ends what runs.

        Raises:
            ArchiveBroken: the archive seems to be down.
        """
        with ThreadPoolExecutor(self._source.settings.max_connections + _CORES) as pool:
            try:
                for wanted in self._plan.now:
                    pool.submit(self._work, wanted)
                for _ in self._plan.now:
                    result = self._next(report)
                    if result is not None:
                        self._count(result)
                        yield result.row
                        report(self._progress)
                        self._demand_alive(result)
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                self.end(error)
                raise

    def end(self, error: BaseException) -> None:
        """After an interrupt nobody waits for what hangs; after an error what runs may end well."""
        if not isinstance(error, Exception | GeneratorExit):
            self._source.stop()

    def rest(self) -> Iterator[Row]:
        """What had arrived but was not asked for any more when the run was ended."""
        while not self._results.empty():
            result = self._results.get()
            if isinstance(result, Obtained):
                yield result.row

    def _work(self, wanted: Wanted) -> None:
        try:
            self._results.put(self._obtained(wanted))
        # To be raised in the thread that waits for it, whatever it is.
        except BaseException as error:  # noqa: BLE001
            self._results.put(error)

    def _obtained(self, wanted: Wanted) -> Obtained | None:
        if time.monotonic() > self._budget.deadline:
            return None
        try:
            return obtain(
                wanted,
                self._plan.collection,
                self._source,
                self._root,
                self._known.get(wanted.series_instance_uid),
                self.tally.add_bytes,
                self._earlier.get(wanted.series_instance_uid, ()),
            )
        except Busy:
            return None

    def _next(self, report: Callable[[Progress], None]) -> Obtained | None:
        while True:
            try:
                result = self._results.get(timeout=_REPORT_EVERY_S)
            except Empty:
                report(self._progress)
                continue
            if isinstance(result, BaseException):
                raise result
            return result

    def _count(self, result: Obtained) -> None:
        tally = self.tally
        tally.done += 1
        tally.failed += result.error is not None
        tally.bytes_done += self._planned_bytes[result.row["SeriesInstanceUID"]]
        broken = isinstance(result.error, ArchiveBroken)
        budget = self._budget
        budget.failed_in_a_row = budget.failed_in_a_row + 1 if broken else 0

    def _demand_alive(self, result: Obtained) -> None:
        """Raises where the archive seems to be down."""
        tally, failed = self.tally, self._budget.failed_in_a_row
        if isinstance(result.error, ArchiveBroken) and failed > self._most_failures:
            problem = f"the archive failed {failed} Series in a row, so this run ends"
            raise ArchiveBroken(
                f"{problem} with {tally.done - tally.failed} fetched: {result.error.problem}",
                url=result.error.url,
            )

    @property
    def _progress(self) -> Progress:
        tally = self.tally
        return Progress(
            tally.done,
            len(self._plan.now),
            tally.failed,
            tally.bytes_done,
            self._all_bytes,
            tally.received_bytes,
            self._source.connections,
        )
