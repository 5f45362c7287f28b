"""The assets, materialized from a terminal: Dagster underneath, a progress bar on top.

What belongs here: runs of the plugin's own jobs in this process. What does not: what they do.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
from dagster._check import CheckError
from dagster._core.execution.context.metadata_logging import OutputMetadataAccumulator
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.runs.sqlite import SqliteRunStorage
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import create_engine
from sqlalchemy import event as events
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from yaml import YAMLError

from tcia_assets import catalog
from tcia_assets.archive import shared_budget
from tcia_assets.client import ArchiveClient
from tcia_assets.definitions import build_definitions
from tcia_assets.defs.datasets import AS_FROZEN, dataset_job
from tcia_assets.defs.jobs import (
    images_job,
    range_tags,
    ranges,
    refresh_job,
    shared_lists_job,
)
from tcia_assets.defs.metadata import add_partitions
from tcia_assets.defs.names import Names
from tcia_assets.defs.process import process_tag
from tcia_assets.errors import UsageError
from tcia_assets.progress import shown_by
from tcia_assets.refresh import allowed, fit_for_partition
from tcia_assets.selection import Selection, to_fields
from tcia_assets.settings import Settings
from tcia_assets.warehouse import Warehouse

# What a Dagster home of our own is told; an existing DAGSTER_HOME is left as it is.
_DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
sensors:
  use_threads: true
  num_workers: 4
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
"""

# As Dagster's own.
_SQLITE_PATIENCE_S = 60
_M_MMAP_THRESHOLD = -3  # of mallopt(3)


class Runs:
    """Runs of the jobs, recorded in DAGSTER_HOME, or else in `<data dir>/dagster`."""

    def __init__(
        self,
        settings: Settings,
        console: Console,
        *,
        verbose: bool = False,
        datasets: Path | None = None,
    ) -> None:
        self._names, self._console, self._verbose = Names(), console, verbose
        self._settings = settings
        self._definitions = build_definitions(datasets=datasets or "")
        self._instance = _instance(settings.root)
        _let_output_through(self._instance)

    def list_collections(self) -> list[str]:
        """Asks the archive for its Collections and makes them partitions.

        The refresh that follows stores the list; a run of its own before it would only cost time.
        """
        with ArchiveClient(self._settings) as client:
            listed = client.ask(catalog.COLLECTIONS.endpoint).table["Collection"].to_pylist()
        stored = Warehouse(self._settings.root).keys(catalog.SERIES)
        collections = allowed(listed, self._settings.collections, stored)
        if unfit := sorted(set(listed) - set(allowed(listed, ()))):
            told = f"left out, for no partition can have such a name: {unfit}"
            self._console.print(f"[yellow]Note:[/] {escape(told)}", soft_wrap=True)
        self.list_known(collections)
        return collections

    def list_known(self, collections: Sequence[str]) -> None:
        """Makes partitions of Collections that are stored, should this Dagster not know them."""
        add_partitions(self._instance, self._names.collections, collections)

    def refresh(self, collections: Sequence[str], max_size_requests: int) -> list[str]:
        """Refreshes all metadata of these Collections; what failed, a line each."""
        _spare_the_collector(after=50_000)
        _give_memory_back()
        config = {"max_size_requests": max_size_requests}
        job, op = refresh_job(self._names), self._names.of("metadata")
        return self._by_ranges(job, "Metadata", collections, {op: {"config": config}})

    def refresh_lists(self, lists: Sequence[str]) -> list[str]:
        """Refreshes these shared lists; what failed, a line each."""
        for name in lists:
            if not fit_for_partition(name):
                raise UsageError(
                    f"{name!r} cannot be a list's name: 1 to 200 characters, no | , [ ]"
                )
        add_partitions(self._instance, self._names.shared_lists, lists)
        failures = []
        for name in lists:
            job = shared_lists_job(self._names)
            failures += self._run(job, name, {}, tags=range_tags(name, name))
            if not Warehouse(self._settings.root).has(catalog.SHARED_LISTS, name):
                partitions = str(self._names.shared_lists.name)
                self._instance.delete_dynamic_partition(partitions, name)
        return failures

    def fetch(
        self,
        collections: Sequence[str],
        selection: Selection,
        shard: tuple[int, int] = (0, 1),
        *,
        retry: bool = False,
    ) -> list[str]:
        """Fetches the selected images of these Collections; what failed, a line each.

        `shard` is part I (from 0) of N.
        """
        _spare_the_collector(after=5_000)  # what waits for it takes memory
        index, count = shard
        config = {
            "selection": to_fields(selection),
            "shard": index,
            "shards": count,
            "retry": retry,
        }
        job, op = images_job(self._names), self._names.of("image_archives")
        with shared_budget(selection):
            return self._by_ranges(job, "Images", collections, {op: {"config": config}})

    def build_dataset(self, name: str, config: dict[str, Any]) -> list[str]:
        """Builds a dataset; what failed, a line each. `config` is that of its cohort."""
        ops = {self._names.of(f"{name}_cohort"): {"config": config}}
        return self._run(dataset_job(self._names, name), name, ops)

    def moved(self, name: str) -> str:
        """What the newest look at a dataset's cohort found otherwise; "" for nothing."""
        check = dg.AssetCheckKey(self._names.key(f"{name}_cohort"), AS_FROZEN)
        records = self._instance.event_log_storage.get_asset_check_execution_history(check, 1)
        event = records[0].event if records else None
        found = event.asset_check_evaluation if event else None
        if found is None or found.passed:
            return ""
        return str(found.metadata["changes"].value).strip("`\n")

    def _by_ranges(
        self, job: str, title: str, collections: Sequence[str], ops: dict[str, Any]
    ) -> list[str]:
        failures = []
        for keys in ranges(list(collections), self._partitions()):
            failures += self._run(job, title, ops, tags=range_tags(keys[0], keys[-1]))
        return failures

    def _partitions(self) -> list[str]:
        return list(self._instance.get_dynamic_partitions(str(self._names.collections.name)))

    def _run(
        self, job: str, title: str, ops: dict[str, Any], tags: dict[str, str] | None = None
    ) -> list[str]:
        level = "INFO" if self._verbose else "CRITICAL"
        config = {"ops": ops, "loggers": {"console": {"config": {"log_level": level}}}}
        with (
            self._bar(title) as failed,
            _records_written(failed),
            _kept_connections(self._instance),
            _remembered_partitions(self._instance),
            _metadata_in_place(),
        ):
            result = self._definitions.resolve_job_def(job).execute_in_process(
                instance=self._instance,
                run_config=config,
                tags=(tags or {}) | process_tag(),
                raise_on_error=False,
            )
            if not result.success:
                failed.extend(_failures(result))
        return failed

    @contextmanager
    def _bar(self, title: str) -> Iterator[list[str]]:
        """Full at the end only where nobody put a failure into what it yields."""
        failed: list[str] = []
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(title, total=1, note="")

            def show(done: int, total: int, note: str) -> None:
                bar.update(task, completed=done, total=total, note=note)

            with shown_by(show):
                yield failed
            if not failed:
                bar.update(task, completed=bar.tasks[0].total)


@contextmanager
def _records_written(failed: list[str]) -> Iterator[None]:
    """Where Dagster cannot write its own records, this is one more failure in place of a trace."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())
        failed.append(f"Dagster's own records cannot be written: {reason}")


def _spare_the_collector(after: int) -> None:
    """The collector looks after so many new objects, and never at what is imported: that stays."""
    gc.freeze()
    gc.set_threshold(after, 20, 20)


def _give_memory_back() -> None:
    """Makes freed columns go back to the system, on Linux with glibc; elsewhere nothing.

    Arrow's own allocator keeps what it had, and glibc's keeps blocks that it has once seen freed:
    the largest Collection would be paid for three times.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, 1 << 18)


@contextmanager
def _kept_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """While this lasts, Dagster's SQLite files stay open, and sync at checkpoints only.

    Dagster makes an engine and a connection for each event, compiles its statements anew, syncs at
    each commit, and checkpoints when it closes: 14 ms an event, most of a refresh's time. One
    engine a file, with WAL's usual `synchronous = NORMAL`, leaves 2. A killed process still loses
    nothing; a power cut may lose the last events, never the file.
    """
    runs, log = instance.run_storage, instance.event_log_storage
    with ExitStack() as kept:
        if isinstance(runs, SqliteRunStorage):
            kept.enter_context(_replaced(runs, "connect", lambda *_: "runs"))
        if isinstance(log, SqliteEventLogStorage):
            kept.enter_context(_replaced(log, "run_connection", lambda run_id=None: str(run_id)))
            kept.enter_context(_replaced(log, "index_connection", lambda *_: "index"))
            kept.enter_context(_known_columns(log))
        yield


@contextmanager
def _known_columns(log: SqliteEventLogStorage) -> Iterator[None]:
    """While this lasts, Dagster looks once which tables and columns its log has, not at each event.

    It opens the file anew for the one and reads the whole schema for the other: a third of what an
    event costs.
    """
    known: dict[str, bool] = {}
    look, tables = log._has_asset_key_col_on_connection, cache(log.has_table)  # noqa: SLF001

    def has_column(connection: Connection, name: str) -> bool:
        if name not in known:
            known[name] = look(connection, name)
        return known[name]

    kept: Any = log
    kept.has_table, kept._has_asset_key_col_on_connection = tables, has_column  # noqa: SLF001
    try:
        yield
    finally:
        del kept.has_table, kept._has_asset_key_col_on_connection  # noqa: SLF001


@contextmanager
def _replaced(storage: Any, method: str, file_of: Callable[..., str]) -> Iterator[None]:
    """While this lasts, `storage.method()` connects through one engine a file."""
    connect, lock = getattr(storage, method), threading.Lock()
    engines: dict[str, Engine] = {}

    @contextmanager
    def connected(*which: Any) -> Iterator[Connection]:
        with lock:
            if file_of(*which) not in engines:
                # The first connection is Dagster's own: it makes the file where there is none.
                with connect(*which) as first:
                    engines[file_of(*which)] = _engine(first.engine.url)
            with engines[file_of(*which)].begin() as connection:
                yield connection

    setattr(storage, method, connected)
    try:
        yield
    finally:
        delattr(storage, method)
        for engine in engines.values():
            engine.dispose()


def _engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _SQLITE_PATIENCE_S})

    def opened(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")

    events.listen(engine, "connect", opened)
    return engine


@contextmanager
def _remembered_partitions(instance: dg.DagsterInstance) -> Iterator[None]:
    """While this lasts, the instance reads its partition keys once.

    Dagster asks its database for all of them anew for the metadata of each partition, three times:
    4 ms each, a thousand times in a refresh of the whole archive.
    """
    names = ("get_dynamic_partitions", "has_dynamic_partition")
    for name in names:
        setattr(instance, name, cache(getattr(instance, name)))
    try:
        yield
    finally:
        for name in names:
            delattr(instance, name)


@contextmanager
def _metadata_in_place() -> Iterator[None]:
    """While this lasts, Dagster adds to what it has of a step's metadata.

    It copies and checks all of it for each partition: a fifth of a refresh of the whole archive.
    """
    copying = OutputMetadataAccumulator._with_metadata  # noqa: SLF001

    def adding(self: OutputMetadataAccumulator, handle: Any, metadata: Any) -> Any:
        kept: Any = self.per_output_metadata
        kept[handle] = {**kept.get(handle, {}), **metadata}
        return self

    OutputMetadataAccumulator._with_metadata = adding  # type: ignore[method-assign]  # noqa: SLF001
    try:
        yield
    finally:
        OutputMetadataAccumulator._with_metadata = copying  # type: ignore[method-assign]  # noqa: SLF001


def _failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """What each failed step says, without Dagster's traces."""
    lines = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else None
        cause = data.error.cause if data.error and data.error.cause else data.error
        lines.append(said or (_plainly(cause.message) if cause else f"{event.step_key} failed"))
    return lines or [f"run {result.run_id} failed"]


def _plainly(message: str) -> str:
    """An error's text as Dagster keeps it, without the class in front of ours."""
    if "DagsterExecutionInterruptedError" in message:
        return (
            "stopped from outside; what was complete is kept, and the next run goes on from there"
        )
    kind, _, text = message.strip().partition(": ")
    return text if kind.startswith("tcia_assets.errors.") else message.strip()


def _instance(root: Path) -> dg.DagsterInstance:
    """Dagster's own records; in a home below the root where no DAGSTER_HOME is set.

    Raises:
        UsageError: the data folder cannot be written to, or Dagster cannot use its home.
    """
    chosen = os.environ.get("DAGSTER_HOME")
    if chosen and not (Path(chosen).is_absolute() and Path(chosen).is_dir()):
        raise UsageError(
            f"DAGSTER_HOME is {chosen!r}; it must be the absolute path of a folder, or unset"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        home = Path(chosen) if chosen else _own_home(root)
    except OSError as error:
        reason = f"cannot be written to: {error.strerror}"
        raise UsageError(f"the data folder (TCIA_DATA_DIR) {str(root)!r} {reason}") from None
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        return dg.DagsterInstance.get()
    except (
        dg.DagsterError,
        CheckError,
        ImportError,
        OSError,
        SQLAlchemyError,
        ValueError,
        YAMLError,
    ) as error:
        problem = " ".join(str(error).split())[:300]  # it may list all that would be valid
        raise UsageError(f"Dagster cannot use {home / 'dagster.yaml'}: {problem}") from error


def _let_output_through(instance: dg.DagsterInstance) -> None:
    """What steps write goes to the terminal; it is the bar.

    To keep it too, Dagster starts four processes a step: tails, and who watches over these.
    """
    manager = NoOpComputeLogManager()
    manager.register_instance(instance)
    instance._compute_log_manager = manager  # noqa: SLF001


def _own_home(root: Path) -> Path:
    home = root / "dagster"
    home.mkdir(exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").write_text(_DAGSTER_YAML, encoding="utf-8")
    return home


warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
