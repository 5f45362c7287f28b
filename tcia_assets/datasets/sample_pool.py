"""The processes that make samples.

The pool starts and ends the processes, and reports their errors. One sample is made in
`sample_files.py`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path

from tcia_assets.datasets import sample_files
from tcia_assets.datasets.sample_files import make_samples
from tcia_assets.datasets.sample_job import SampleJob
from tcia_assets.datasets.sample_store import Row
from tcia_assets.errors import DatasetRefused, StorageError, TciaError
from tcia_assets.store.cores import count_cores


def make_all(
    name: str,
    jobs: list[SampleJob],
    store: Path,
    report: Callable[[int], None],
    workers: int | None = None,
) -> dict[str, list[Row]]:
    """Make the samples of a dataset, and return the rows of each Series by SeriesInstanceUID.

    One failing sample does not stop the others: all that can be made are in the store afterwards.

    Args:
        name: Of the dataset.
        jobs: The samples to make.
        store: Where finished samples are kept.
        report: Called with the number of finished samples.
        workers: Processes; one for each core by default.

    Raises:
        DatasetRefused: Samples cannot be made; names them and the reasons.
        StorageError: A process was killed.
    """
    rows: dict[str, list[Row]] = {}
    failures: dict[str, str] = {}
    if not jobs:
        return rows
    with start_pool(min(len(jobs), workers or count_cores())) as pool:
        futures = {pool.submit(make_samples, job, store): job.series_instance_uid for job in jobs}
        for done, future in enumerate(as_completed(futures), start=1):
            _collect(future, futures[future], rows, failures)
            report(done)
    if failures:
        reasons = [f"{uid}: {reason}" for uid, reason in sorted(failures.items())]
        problem = f"{len(failures)} of its samples cannot be made"
        raise DatasetRefused(name, problem, reasons, "the others are kept for the next build")
    return rows


@contextmanager
def start_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes that end with this one.

    Threads would share one Python interpreter, and with it the list of caught warnings.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([sample_files.__name__])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(
    future: Future[list[Row]],
    uid: str,
    rows: dict[str, list[Row]],
    failures: dict[str, str],
) -> None:
    try:
        rows[uid] = future.result()
    except BrokenProcessPool:
        raise StorageError(
            "a process that made samples was killed, perhaps because memory ran out; finished "
            "samples are kept: build again, with fewer workers if it happens again"
        ) from None
    except (TciaError, OSError) as error:
        failures[uid] = str(error)
    except Exception as error:
        error.add_note(f"while making the sample of Series {uid}")
        raise


def _end_with_parent() -> None:
    """End this process when the process that builds ends, even if that was killed."""
    # A terminal interrupts all processes at once; the building process ends the others itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        with suppress(OSError):
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
