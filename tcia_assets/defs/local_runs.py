"""Runs of the plugin's own jobs in this process, for the command line and for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from tcia_assets import catalog
from tcia_assets.defs.asset_specs import BY_COLLECTION
from tcia_assets.defs.catalogue import event as catalogue_event
from tcia_assets.defs.dagster_home import open_instance
from tcia_assets.defs.datasets import AS_FROZEN, dataset_job
from tcia_assets.defs.events import INTERRUPTED
from tcia_assets.defs.jobs import clinical_job, images_job, refresh_job, shared_lists_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import add_partitions, range_tags, ranges
from tcia_assets.defs.resource import open_local_resource
from tcia_assets.defs.run_process import process_tag
from tcia_assets.defs.run_report import RunReport, refresh_report, run_report
from tcia_assets.errors import RunFailed, UsageError
from tcia_assets.images.fetch_session import FetchSession, use_session
from tcia_assets.metadata.collection_list import list_collections
from tcia_assets.metadata.partition_keys import (
    allowed_collections,
    is_valid_key,
    mirrored_collections,
)
from tcia_assets.metadata.selection_parser import selection_to_fields
from tcia_assets.pages.build import Catalogue
from tcia_assets.progress import Listener, shown_by
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_source
from tcia_assets.store.warehouse import Warehouse

# A context that shows the progress of a run with this title, and yields what to report it to.
ShowProgress = Callable[[str], AbstractContextManager[Listener]]


MakeReport = Callable[[dg.ExecuteInProcessResult], RunReport]


class CollectionNames(NamedTuple):
    """Collections in the source's list: usable as partition keys, and not usable.

    `note` says which rows have no name; "" if all have one.
    """

    usable: list[str]
    unusable: list[str]
    note: str


@contextmanager
def _show_nothing(_title: str) -> Iterator[Listener]:
    yield lambda _done, _total, _note: None


class LocalRuns:
    """Runs jobs of the plugin in this process.

    They are recorded in DAGSTER_HOME if that is set, else in `<data dir>/dagster`.

    Args:
        definitions: The plugin's definitions, with the default key prefix.
        settings: Where the source and the data folder are.
        show_progress: Shows a progress bar; nothing is shown by default.
        verbose: Whether Dagster's log goes to the console.
        source: An open source, in place of those that the settings name.

    Raises:
        UsageError: The data folder cannot be written to, or Dagster cannot use its home.
    """

    def __init__(
        self,
        definitions: dg.Definitions,
        settings: Settings,
        *,
        show_progress: ShowProgress | None = None,
        verbose: bool = False,
        source: Source | None = None,
    ) -> None:
        self._source = source
        self._names, self._definitions, self._settings = Names(), definitions, settings
        self._show_progress, self._verbose = show_progress or _show_nothing, verbose
        self._instance = open_instance(settings.root)

    def list_collections(self) -> CollectionNames:
        """Request the list of Collections and make each that is mirrored a partition.

        The list is not stored here: the refresh that follows does that, without a run of its own.
        """
        warehouse = Warehouse.of(self._settings)
        with open_source(self._settings) as source:
            found = list_collections(source, warehouse, datetime.now(UTC))
        collections = mirrored_collections(found.names, self._settings, warehouse)
        self.add_collections(collections)
        unusable = sorted(set(found.names) - set(allowed_collections(found.names, ())))
        return CollectionNames(collections, unusable, found.note)

    def add_collections(self, collections: Sequence[str]) -> None:
        """Make these Collections partitions, unless they are already."""
        add_partitions(self._instance, self._names.collections, collections)

    def refresh(
        self,
        collections: Sequence[str],
        max_size_requests: int,
        accept_schema: Sequence[str] = (),
    ) -> RunReport:
        """Refresh all metadata of these Collections.

        Changed columns of the Collections in `accept_schema` are accepted.

        Returns:
            What failed, and what its checks and listings show.
        """
        config = {
            "max_size_requests": max_size_requests,
            "accept_schema": [name for name in accept_schema if name in collections],
        }
        return self._refresh(collections, config)

    def refresh_imported(self, collection: str) -> RunReport:
        """Refresh all metadata of a Collection from the folder that is the source.

        The source's list of Collections stays as it is: no folder has it.

        Returns:
            As `refresh`.
        """
        self.add_collections([collection])
        config = {"max_size_requests": 0, "accept_schema": [collection]}
        return self._refresh([collection], config, [self._names.key(t) for t in BY_COLLECTION])

    def _refresh(
        self,
        collections: Sequence[str],
        config: dict[str, Any],
        assets: Sequence[dg.AssetKey] | None = None,
    ) -> RunReport:
        job, ops = refresh_job(self._names), {self._names.of("metadata"): {"config": config}}
        return self._run_by_ranges(job, "Metadata", collections, ops, refresh_report, assets)

    def store_clinical(self, collections: Sequence[str]) -> list[str]:
        """Store the clinical tables of these Collections; returns a line for each failure."""
        self.add_collections(collections)
        title = "Clinical tables"
        return self._run_by_ranges(clinical_job(self._names), title, collections, {}).failures

    def refresh_shared_lists(
        self, lists: Sequence[str], accept_schema: Sequence[str] = ()
    ) -> RunReport:
        """Refresh these shared lists; returns what failed, and what their checks show.

        Changed columns of the lists in `accept_schema` are accepted.

        Raises:
            UsageError: A name that no partition can have.
        """
        for name in lists:
            if not is_valid_key(name):
                raise UsageError(
                    f"{name!r} cannot be a list's name: 1 to 200 characters, no | , [ ]"
                )
        add_partitions(self._instance, self._names.shared_lists, lists)
        report, op = RunReport(), self._names.of(catalog.SHARED_LISTS.name)
        for name in lists:
            job, tags = shared_lists_job(self._names), range_tags(name, name)
            config = {"accept_schema": [name] if name in accept_schema else []}
            report += self._run(job, name, {op: {"config": config}}, refresh_report, tags)
            if not Warehouse.of(self._settings).has(catalog.SHARED_LISTS, name):
                partitions = str(self._names.shared_lists.name)
                self._instance.delete_dynamic_partition(partitions, name)
        return report

    def fetch(self, session: FetchSession, unindexed: Iterable[str] = ()) -> list[str]:
        """Fetch the images that a session has planned, and read the headers of all zips.

        Args:
            session: The session; a plan that has become old is replaced.
            unindexed: Further Collections, with zips whose headers are not read yet.

        Returns:
            What failed, a line each.
        """
        config = {
            "selection": selection_to_fields(session.selection),
            "shard": session.shard.index,
            "shards": session.shard.count,
            "retry": session.retry,
        }
        job, op = images_job(self._names), self._names.of("image_archives")
        collections = {plan.collection for plan in session.plans if plan.now}.union(unindexed)
        with use_session(session):
            ops = {op: {"config": config}}
            return self._run_by_ranges(job, "Images", sorted(collections), ops).failures

    def record_catalogue(self, made: Catalogue) -> None:
        """Record that the catalogue of the data folder was written."""
        with _records_written():
            self._instance.report_runless_asset_event(catalogue_event(self._names, made))

    def build_dataset(self, name: str, config: dict[str, Any], workers: int = 0) -> list[str]:
        """Build a dataset; returns a line for each failure.

        Args:
            name: Of the dataset.
            config: That of its cohort.
            workers: Processes that make samples; 0 for one for each core.
        """
        ops = {
            self._names.of(f"{name}_cohort"): {"config": config},
            self._names.of(f"{name}_samples"): {"config": {"workers": workers}},
        }
        return self._run(dataset_job(self._names, name), name, ops).failures

    def cohort_changes(self, name: str) -> str:
        """Return how a dataset's cohort differed when it was last looked at; "" if it did not."""
        check = dg.AssetCheckKey(self._names.key(f"{name}_cohort"), AS_FROZEN)
        records = self._instance.event_log_storage.get_asset_check_execution_history(check, 1)
        event = records[0].event if records else None
        result = event.asset_check_evaluation if event else None
        if result is None or result.passed:
            return ""
        return str(result.metadata["changes"].value).strip("`\n")

    def _run_by_ranges(
        self,
        job: str,
        title: str,
        collections: Sequence[str],
        ops: dict[str, Any],
        make_report: MakeReport = run_report,
        assets: Sequence[dg.AssetKey] | None = None,
    ) -> RunReport:
        """One run for each group of neighbouring partitions, of all assets of the job or some."""
        order = self._instance.get_dynamic_partitions(str(self._names.collections.name))
        report = RunReport()
        for keys in ranges(collections, order):
            tags = range_tags(keys[0], keys[-1])
            report += self._run(job, title, ops, make_report, tags, assets)
        return report

    def _run(
        self,
        job: str,
        title: str,
        ops: dict[str, Any],
        make_report: MakeReport = run_report,
        tags: dict[str, str] | None = None,
        assets: Sequence[dg.AssetKey] | None = None,
    ) -> RunReport:
        report = RunReport()
        try:
            with self._show_progress(title) as listener, shown_by(listener), _records_written():
                result = self._execute(job, ops, (tags or {}) | process_tag(), assets)
                report = make_report(result)
                # Raised within the progress bar, which would end as full.
                _raise_if_failed(result, report)
        except RunFailed as error:
            return RunReport(list(error.failures), report.notes, succeeded=False)
        return report

    def _execute(
        self,
        job: str,
        ops: dict[str, Any],
        tags: dict[str, str],
        assets: Sequence[dg.AssetKey] | None,
    ) -> dg.ExecuteInProcessResult:
        level = "INFO" if self._verbose else "CRITICAL"
        chosen = self._definitions.resolve_job_def(job)
        if assets is not None:
            chosen = chosen.get_subset(asset_selection=set(assets))
        with open_local_resource(self._settings, self._source) as resource:
            return chosen.execute_in_process(
                instance=self._instance,
                run_config={"ops": ops, "loggers": {"console": {"config": {"log_level": level}}}},
                tags=tags,
                resources={self._names.resource: resource},
                raise_on_error=False,
            )


def _raise_if_failed(result: dg.ExecuteInProcessResult, report: RunReport) -> None:
    if INTERRUPTED in report.failures:
        # Dagster has ended the run in order. Further runs must not start.
        raise KeyboardInterrupt
    if not result.success:
        raise RunFailed(report.failures)


@contextmanager
def _records_written() -> Iterator[None]:
    """Turn an error of Dagster's own database into a failure of the run, without a trace."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())
        raise RunFailed([f"Dagster's own records cannot be written: {reason}"]) from error
