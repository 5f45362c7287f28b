"""The assets, materialized from a terminal: Dagster underneath, a progress bar on top.

What belongs here: runs of the plugin's own jobs in this process. What does not: what they do.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import SQLAlchemyError

from tcia_assets import catalog
from tcia_assets.defs.datasets import AS_FROZEN, dataset_job
from tcia_assets.defs.jobs import images_job, range_tags, ranges, refresh_job, shared_lists_job
from tcia_assets.defs.metadata import add_partitions
from tcia_assets.defs.names import Names
from tcia_assets.defs.process import process_tag
from tcia_assets.errors import UsageError
from tcia_assets.images import shared_budget
from tcia_assets.metadata.refresh import allowed, fit_for_partition
from tcia_assets.metadata.selection import Selection, to_fields
from tcia_assets.progress import shown_by
from tcia_assets.settings import Settings
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse

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
# What a step prints is shown, not kept: to keep it, Dagster starts four processes a step.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


class Runs:
    """Runs of the jobs, recorded in DAGSTER_HOME, or else in `<data dir>/dagster`."""

    def __init__(
        self,
        definitions: dg.Definitions,
        settings: Settings,
        console: Console,
        *,
        verbose: bool = False,
    ) -> None:
        self._names, self._console, self._verbose = Names(), console, verbose
        self._settings = settings
        self._definitions = definitions
        self._instance = _instance(settings.root)

    def list_collections(self) -> list[str]:
        """Asks the archive for its Collections and makes them partitions.

        The refresh that follows stores the list; a run of its own before it would only cost time.
        """
        with open_source(self._settings) as source:
            listed = source.rows(catalog.COLLECTIONS).table["Collection"].to_pylist()
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
    except Exception as error:  # whatever its loader makes of a bad file; all of it is one mistake
        problem = " ".join(str(error).split())[:300]  # it may list all that would be valid
        raise UsageError(f"Dagster cannot use {home / 'dagster.yaml'}: {problem}") from error


def _own_home(root: Path) -> Path:
    home = root / "dagster"
    home.mkdir(exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").write_text(_DAGSTER_YAML, encoding="utf-8")
    return home


warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
