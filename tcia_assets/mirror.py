"""The mirror as one object, for notebooks and scripts.

The commands `refresh`, `fetch`, `status` and `query` are built on it.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tcia_assets import catalog
from tcia_assets.errors import RunFailed, UsageError, quote_first, require_known
from tcia_assets.images.disk_space import check_disk_space
from tcia_assets.images.export import ExportResult, export_series
from tcia_assets.images.export_files import Export
from tcia_assets.images.export_paths import DEFAULT_TEMPLATE, FolderTemplate
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.series_counts import SeriesCounts
from tcia_assets.images.status import collection_status
from tcia_assets.images.unindexed import (
    count_outdated,
    count_unindexed,
    describe_zips_to_read,
)
from tcia_assets.metadata.imports import check_name, check_series, record_import, refuse_imported
from tcia_assets.metadata.named_series import add_named_series, find_named_series
from tcia_assets.metadata.selection import CRITERIA, Selection
from tcia_assets.metadata.selection_parser import (
    override_selection,
    parse_selection,
    selection_from_fields,
)
from tcia_assets.metadata.unreadable import describe_unreadable
from tcia_assets.pages.build import Catalogue, build_catalogue
from tcia_assets.progress import ProgressCallback, ignore_progress, report, shown_by
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_folder, open_source
from tcia_assets.store.data_folder import check_folder, missing_folder, open_warehouse
from tcia_assets.store.sql import why_no_query
from tcia_assets.units import are

if TYPE_CHECKING:
    from tcia_assets.defs.local_runs import LocalRuns, ShowProgress

_LOG = logging.getLogger(__name__)

_ON_DISK = "SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM image_archives WHERE path NOTNULL)"
_NONE_LISTED = "none of the selected Series is in the source's newest list; they may return later"


class Mirror:
    """A mirror of TCIA in a data folder.

    It does the same work as the commands `tcia-assets refresh`, `fetch`, `status` and `query`.
    Refreshing and fetching are Dagster runs in this process.

        mirror = Mirror("/data/tcia")
        mirror.refresh("LCTSC")
        mirror.fetch("LCTSC", modalities=["RTSTRUCT"])
        mirror.query("SELECT Modality, count(*) FROM series GROUP BY ALL").to_pandas()

    Args:
        data_dir: The data folder, which need not exist yet; TCIA_DATA_DIR by default.
        note: Receives a line of text about what may be a mistake; logged as a warning by default.
        show_progress: Shows the progress of each run; nothing is shown by default.
        verbose: Whether Dagster's log is printed.
        settings: Any field of `Settings`, such as `base_url`, in place of its TCIA_* variable.

    Raises:
        UsageError: A setting cannot be used, or a file lies where the data folder should be.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        *,
        note: Callable[[str], None] = _LOG.warning,
        show_progress: ShowProgress | None = None,
        verbose: bool = False,
        **settings: Any,
    ) -> None:
        folder = None if data_dir is None else str(data_dir)
        self.settings = Settings.from_env(data_dir=folder, **settings)
        self.warehouse = open_warehouse(self.settings)
        self._note, self._show_progress, self._verbose = note, show_progress, verbose

    def refresh(
        self,
        collections: str | Iterable[str] | None = None,
        *,
        shared_lists: str | Iterable[str] = (),
        max_size_requests: int = 500,
        accept_schema: str | Iterable[str] = (),
    ) -> pa.Table:
        """Download the metadata of Collections, and of shared lists, and store what changed.

        What the source sent and cannot be read is null; a note says how much that is.

        Args:
            collections: Names of Collections; by default all that the source lists.
            shared_lists: Names of shared lists.
            max_size_requests: The number of Series to request the size of one by one, at most.
            accept_schema: Those of these Collections and lists in which a column may lose all its
                values, or have many that cannot be read. Otherwise this is an error.

        Returns:
            The status of these Collections, as `status` returns it.

        Raises:
            RunFailed: A Collection or list failed, or a listing is implausible, or an asset check
                with the severity of an error failed; the others are stored.
            RemoteError: The source's list of Collections cannot be fetched.
            UnknownName: The source lists no such Collection.
            UsageError: A Collection was imported from a folder.
        """
        named = None if collections is None else _names(collections)
        refuse_imported(named or (), self.warehouse)
        lists, runs = _names(shared_lists), self._open_runs()
        known, unusable, unnamed = runs.list_collections()
        if unusable:
            names = quote_first(unusable)
            self._note(f"left out, because their names cannot be partition keys: [{names}]")
        if unnamed:
            self._note(unnamed)
        chosen = known if named is None else named
        require_known("Collection", chosen, known)
        accepted = _names(accept_schema)
        require_known("refreshed Collection or list", accepted, [*chosen, *lists])
        reports = [runs.refresh(chosen, max_size_requests, accepted)] if chosen else []
        reports += [runs.refresh_shared_lists(lists, accepted)] if lists else []
        if unreadable := describe_unreadable(self.warehouse, chosen, lists):
            self._note(unreadable)
        for note in (note for each in reports for note in each.notes):
            self._note(note)
        if failures := [line for each in reports for line in each.failures]:
            raise RunFailed(failures)
        return self._status(chosen, None)

    def import_folder(self, folder: str | Path, collection: str) -> pa.Table:
        """Make a folder of DICOM files a Collection, or bring that up to date.

        All headers are read; Series that are new or changed are packed as zips, and verified. The
        folder stays as it is. A Series that it had before, and lacks now, is missing: it keeps its
        zip, and is withdrawn under the same rule as one of an archive.

        Args:
            folder: The folder. Files that are not DICOM are counted in a note.
            collection: The name of the Collection.

        Returns:
            The status of the Collection, as `status` returns it.

        Raises:
            UsageError: An archive has a Collection of this name, another Collection has a Series of
                the folder, two files have one SOPInstanceUID and different content, a Series is of
                several patients, or there is no folder, or nothing in it. Nothing was changed.
            RunFailed: A Series cannot be packed; what is complete stays, and the same call goes on.
            StorageError: A file cannot be read or written.
        """
        place, at = Path(folder).resolve(), datetime.now(UTC)
        check_name(collection, self.warehouse)
        if not place.is_dir():
            raise UsageError(f"there is no folder {place}")
        with open_folder(self.settings, place, collection) as source:
            with self._progress_shown("Files"):
                contents = source.scan(report)
            if not contents.objects:
                raise UsageError(f"no file in {place} is a DICOM object that can be imported")
            uids = source.rows(catalog.SERIES, collection).table["SeriesInstanceUID"]
            check_series(uids, collection, self.warehouse)
            record_import(collection, place, contents.counts, self.warehouse, at)
            for note in contents.notes:
                self._note(note)
            self._store_imported(collection, source)
        return self._status([collection], None)

    def _store_imported(self, collection: str, source: Source) -> None:
        runs = self._open_runs(source)
        done = runs.refresh_imported(collection)
        for note in done.notes:
            self._note(note)
        if not done.succeeded:  # what the plan needs may not be stored
            raise RunFailed(done.failures)
        session = FetchSession(Selection(collections=(collection,)), from_folder=True)
        session.plan_all(self.warehouse)
        check_disk_space(session.plans, self.warehouse, self.settings)
        failures = [*done.failures, *runs.fetch(session, [collection])]
        if failures := [*failures, *session.incomplete_series(self.warehouse)]:
            raise RunFailed(failures)

    def plan_fetch(
        self,
        collections: str | Iterable[str] = (),
        *,
        selection: Selection | Mapping[str, Any] | str | None = None,
        shard: tuple[int, int] = (0, 1),
        retry: bool = False,
        ignore_quiet_hours: bool = False,
        **criteria: Any,
    ) -> FetchSession:
        """Plan a fetch without fetching images.

        The metadata of Series that the selection names, and that the warehouse does not have, is
        requested and stored.

        Args:
            collections: As in `fetch`.
            selection: As in `fetch`.
            shard: As in `fetch`.
            retry: As in `fetch`.
            ignore_quiet_hours: As in `fetch`.
            criteria: As in `fetch`.

        Returns:
            The plans, one a Collection, for `run_fetch`.

        Raises:
            RunFailed: The source does not have the Series that are selected.
            UsageError: No Series is selected, or the selection cannot be used.
        """
        base = self._selection(selection)
        chosen = override_selection(base, {"collections": _names(collections), **criteria})
        self.refreshed_collections(chosen.collections)
        if ignore_quiet_hours:
            chosen = replace(chosen, quiet_hours=None)
        session = FetchSession(chosen, Shard(*shard), retry=retry)
        for note in session.plan_all(self.warehouse, self._add_named_series(chosen)):
            self._note(note)
        if not session.plans and session.shard.count == 1:
            raise RunFailed([*session.not_stored, _NONE_LISTED])
        if not session.plans:
            self._note(f"no Series to fetch is in shard {session.shard}")
        return session

    def fetch(
        self,
        collections: str | Iterable[str] = (),
        *,
        selection: Selection | Mapping[str, Any] | str | None = None,
        shard: tuple[int, int] = (0, 1),
        retry: bool = False,
        ignore_quiet_hours: bool = False,
        **criteria: Any,
    ) -> pa.Table:
        """Download and verify the images of selected Series, one zip a Series.

        What is complete on disk already is not fetched again. Of Series that are named one by one
        or in a series list, the metadata is requested if the warehouse does not have it, unless
        Collections are named too. Their Collections are partial until they are refreshed.

        Args:
            collections: Names of Collections whose metadata was refreshed, which replace the
                selection's `collections`.
            selection: A selection, its fields, or YAML or the path of a YAML file;
                TCIA_IMAGE_SELECTION by default.
            shard: (I, N) fetches part I, counted from 0, of N.
            retry: Whether to try Series that were given up too.
            ignore_quiet_hours: Whether to fetch in the selection's `quiet_hours` too.
            criteria: Fields of a Selection that narrow it, such as `modalities=["CT"]` or
                `max_series_per_run=10`.

        Returns:
            The status of the Collections concerned, as `status` returns it.

        Raises:
            RunFailed: A Series is not complete or not known to the source, or a run failed; what
                is complete stays.
            UsageError: No Series is selected, the selection cannot be used, or the disk is too
                small for it.
        """
        session = self.plan_fetch(
            collections,
            selection=selection,
            shard=shard,
            retry=retry,
            ignore_quiet_hours=ignore_quiet_hours,
            **criteria,
        )
        self.run_fetch(session)
        collections = [each.collection for each in session.plans]
        return self._status(collections, session.selection, session.counts)

    def run_fetch(self, session: FetchSession) -> None:
        """Fetch what was planned, and complete what earlier runs left.

        Args:
            session: What `plan_fetch` returned.

        Raises:
            RunFailed: As in `fetch`.
            UsageError: The disk is too small for the plans.
        """
        failures = list(session.not_stored)
        unindexed, outdated = count_unindexed(self.warehouse), count_outdated(self.warehouse)
        if session.plans or unindexed or outdated:
            failures += self._fetch_planned(session, unindexed, outdated)
        if failures:
            raise RunFailed(failures)

    def _fetch_planned(
        self, session: FetchSession, unindexed: Mapping[str, int], outdated: Mapping[str, int]
    ) -> list[str]:
        for note in describe_zips_to_read(unindexed, outdated):
            self._note(note)
        check_disk_space(session.plans, self.warehouse, self.settings)
        runs = self._open_runs()
        runs.add_collections(self.warehouse.keys(catalog.SERIES))
        failures = runs.fetch(session, {*unindexed, *outdated})
        if session.not_started and (waiting := session.quiet_note):
            self._note(waiting)
        return failures + session.incomplete_series(self.warehouse)

    def _add_named_series(self, selection: Selection) -> list[str]:
        """Store the metadata of Series that are named and not known; return what was not stored."""
        named = find_named_series(selection, self.warehouse)
        if named.is_complete:
            return []
        named.check_source(self.settings.source)
        if count := named.unknown_count:
            self._note(
                f"{count} listed Series {are(count)} not in the warehouse: the metadata is "
                "requested"
            )
        with open_source(self.settings) as source, self._progress_shown("Metadata"):
            return add_named_series(selection, named, source, self.warehouse, datetime.now(UTC))

    @contextmanager
    def _progress_shown(self, title: str) -> Iterator[None]:
        if self._show_progress is None:
            yield
            return
        with self._show_progress(title) as listener, shown_by(listener):
            yield

    def export(
        self,
        to: str | Path,
        collections: str | Iterable[str] = (),
        *,
        selection: Selection | Mapping[str, Any] | str | None = None,
        template: str = DEFAULT_TEMPLATE,
        flat: bool = False,
        report: ProgressCallback = ignore_progress,
        **criteria: Any,
    ) -> ExportResult:
        """Write the DICOM files of selected Series into a folder; what is there already stays.

        Args:
            to: The folder: a new one, or one that an export made.
            collections: Names of Collections whose metadata was refreshed.
            selection: A selection, its fields, or YAML or the path of a YAML file. Without it, and
                without names and criteria, all Series on disk.
            template: The folder of each Series, from columns of `series`.
            flat: Whether all files lie in the folder itself.
            report: Called after each Series with the number of Series done and their total.
            criteria: Fields of a Selection that narrow it, such as `modalities=["CT"]`.

        Returns:
            What was written; its `failures` name Series whose zip cannot be read.

        Raises:
            UsageError: No Series is selected, an argument cannot be used, or the data folder does
                not exist.
            StorageError: A file cannot be written; Series that were complete stay.
            Busy: Another export is writing into the folder.
        """
        if missing := missing_folder(self.warehouse):
            raise UsageError(f"there is nothing to export{missing}")  # and the folder is not made
        base = None if selection is None else self._selection(selection)
        narrowed = {"collections": _names(collections), **criteria}
        if base is None and not any(narrowed.get(name) for name in CRITERIA):
            base = Selection(where=_ON_DISK)
        chosen = override_selection(base, narrowed)
        self.refreshed_collections(chosen.collections)
        export = Export(Path(to), FolderTemplate(template), flat=flat)
        return export_series(chosen, export, self.warehouse, report=report)

    def store_clinical(self, collections: str | Iterable[str] = ()) -> pa.Table:
        """Store the clinical tables of Collections, from the Imaging Data Commons.

        Each is a view, `clinical_<name>`, with Collection and PatientID as its first columns.

        Args:
            collections: Names of Collections whose metadata was refreshed; TCIA_IDC_CLINICAL by
                default.

        Returns:
            Their rows of `clinical_tables`, one a table.

        Raises:
            RunFailed: A Collection failed; what was stored of it before is kept.
            UsageError: No Collection is named.
            UnknownName: The warehouse has no such Collection.
        """
        chosen = _names(collections) or list(self.settings.idc_clinical)
        if not chosen:
            raise UsageError("name Collections, or set TCIA_IDC_CLINICAL")
        self.refreshed_collections(chosen)
        if failures := self._open_runs().store_clinical(chosen):
            raise RunFailed(failures)
        return self.warehouse.read(catalog.CLINICAL_TABLES, chosen)

    def status(self, collections: str | Iterable[str] | None = None) -> pa.Table:
        """Return the state of Collections; sends no request.

        Args:
            collections: Names of Collections whose metadata was refreshed; all by default.

        Returns:
            One row a Collection, in the order given. `series`, `selected` (by
            TCIA_IMAGE_SELECTION), `complete`, `incomplete`, `missing` and `withdrawn` count Series,
            `unindexed` zips that an interrupted run has left for the next fetch to read;
            `bytes_on_disk` are of zips, `bytes_to_fetch` of the DICOM files still to fetch, without
            the `sizes_unknown` Series whose size is not known. `changed_at` is the newest change
            event, `compared_at` the last whole comparison with the source. `is_suspect`: the
            source does not list the Collection any more. `is_partial`: only single Series of it
            are known, because it was never refreshed. `selected` and `bytes_to_fetch` are null
            without a selection.

        Raises:
            UnknownName: The warehouse has no such Collection.
        """
        chosen = self.refreshed_collections(collections)
        return self._status(chosen, parse_selection(self.settings.image_selection))

    def catalogue(
        self,
        to: str | Path | None = None,
        *,
        volumes: int | None = None,
        report: ProgressCallback = ignore_progress,
    ) -> Catalogue:
        """Write the mirror as HTML pages, or bring them up to date; sends no request.

        Where files of the data folder's own catalogue changed, Dagster's asset `catalogue` has an
        event.

        Args:
            to: The folder: a new or an empty one, or that of a catalogue; by default `catalogue` in
                the data folder.
            volumes: How many volumes of a Collection can be opened, first of Series with masks; by
                default as many as the last time, at first 8.
            report: Called with what is done and what there is to do.

        Returns:
            Where the catalogue is, its page to open, and how many files were written.

        Raises:
            UsageError: The folder is not a catalogue, or there is no data folder. Nothing was
                changed.
            StorageError: A file cannot be written. Each file is whole, in its old or its new
                version.
            Busy: Another run has been writing it for ten minutes.
        """
        if missing := missing_folder(self.warehouse):
            raise UsageError(f"there is nothing to show{missing}")  # and the folder is not made
        selection = parse_selection(self.settings.image_selection)
        folder = None if to is None else Path(to)
        made = build_catalogue(
            self.warehouse, folder, selection=selection, volumes=volumes, report=report
        )
        if folder is None and (made.written or made.removed):
            self._open_runs().record_catalogue(made)
        return made

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Run SQL over the warehouse.

        Args:
            sql: One query of DuckDB's SQL (SELECT, FROM, WITH, DESCRIBE, SUMMARIZE) over tables and
                views of the warehouse, and files below the data folder.
            parameters: Values for `$name` in the statement.

        Returns:
            The rows.

        Raises:
            UsageError: It is not one query that only reads, DuckDB refuses it, or there is no data
                folder.
        """
        if reason := why_no_query(sql, may_read_files=True):
            form = "SELECT, FROM, WITH, DESCRIBE or SUMMARIZE"
            raise UsageError(f"the query is refused: {reason}; one {form} is allowed")
        if doubt := check_folder(self.settings):
            self._note(doubt)
        return self.warehouse.query(sql, parameters)

    def refreshed_collections(self, names: str | Iterable[str] | None = None) -> list[str]:
        """Return these Collections, or all, if the warehouse has their Series.

        Raises:
            UnknownName: It has not.
            UsageError: It is empty.
        """
        known = self.warehouse.keys(catalog.SERIES)
        chosen = known if names is None else _names(names)
        if chosen and not known:
            raise UsageError(
                f"no Collection {chosen[0]!r} in the warehouse (it is empty): run "
                f"`tcia-assets refresh {shlex.quote(chosen[0])}` first"
                + missing_folder(self.warehouse)
            )
        require_known("refreshed Collection", chosen, known)
        return chosen

    def _selection(self, given: Selection | Mapping[str, Any] | str | None) -> Selection | None:
        if isinstance(given, Selection):
            return given
        if isinstance(given, Mapping):
            return selection_from_fields(dict(given))
        return parse_selection(self.settings.image_selection if given is None else given)

    def _status(
        self,
        collections: list[str],
        selection: Selection | None,
        counts: SeriesCounts | None = None,
    ) -> pa.Table:
        since = datetime.now(UTC) - timedelta(days=self.settings.verify_days)
        return collection_status(
            self.warehouse, collections, selection, proven_since=since, counts=counts
        )

    def _open_runs(self, source: Source | None = None) -> LocalRuns:
        return open_runs(
            self.settings,
            show_progress=self._show_progress,
            verbose=self._verbose,
            source=source,
        )


def open_runs(
    settings: Settings,
    *,
    show_progress: ShowProgress | None = None,
    verbose: bool = False,
    datasets: str | Path = "",
    source: Source | None = None,
) -> LocalRuns:
    """Return a LocalRuns, which runs the plugin's jobs in this process.

    It imports Dagster, which takes a second.

    Args:
        settings: Where the source and the data folder are.
        show_progress: Shows the progress of each run; nothing is shown by default.
        verbose: Whether Dagster's log is printed.
        datasets: The folder of dataset declarations; "" for none.
        source: An open source, in place of those that the settings name.
    """
    from tcia_assets.defs.local_runs import LocalRuns  # noqa: PLC0415 - see above
    from tcia_assets.defs.plugin import build_definitions  # noqa: PLC0415 - see above

    definitions = build_definitions(datasets=datasets)
    return LocalRuns(
        definitions, settings, show_progress=show_progress, verbose=verbose, source=source
    )


def _names(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)
