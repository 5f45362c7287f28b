"""Which old runs can be deleted without a loss.

Dagster deletes the events of a run with it. What its UI shows of a partition or a check is in the
newest event of that, however old: the runs that hold these are kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain

import dagster as dg

from tcia_assets.defs.active_runs import is_dead
from tcia_assets.defs.jobs import Job

_PAGE = 50
# Runs that people and conditions start for chosen assets.
_ASSET_JOB = "__ASSET_JOB"
_ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_WEEK = timedelta(weeks=1)


@dataclass(frozen=True)
class Ours:
    """The jobs and assets of this plugin."""

    job_names: tuple[str, ...]
    assets: frozenset[dg.AssetKey]

    @classmethod
    def of(
        cls, jobs: Sequence[Job], assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]
    ) -> "Ours":
        """Return these jobs and assets."""
        keys = [[e.key] if isinstance(e, dg.AssetSpec) else list(e.keys) for e in assets]
        return cls(tuple(job.name for job in jobs), frozenset(chain.from_iterable(keys)))


def find_old_runs(
    instance: dg.DagsterInstance, ours: Ours | None, before: datetime
) -> Iterator[dg.DagsterRun]:
    """Yield the runs that have ended, the oldest first; each may be deleted once it is yielded.

    Args:
        instance: Dagster's records.
        ours: Yield runs of these jobs, and of these assets alone; those of all others too if None.
        before: Runs that were created later are left out.
    """
    if ours is None:
        yield from _ended(instance, dg.RunsFilter(created_before=before))
        return
    tags = {"tcia": list(ours.job_names)}
    yield from _ended(instance, dg.RunsFilter(tags=tags, created_before=before))
    for run in _ended(instance, dg.RunsFilter(job_name=_ASSET_JOB, created_before=before)):
        if run.asset_selection and run.asset_selection <= ours.assets:
            yield run


def _ended(instance: dg.DagsterInstance, wanted: dg.RunsFilter) -> Iterator[dg.DagsterRun]:
    page = instance.get_run_records(wanted, limit=_PAGE, ascending=True)
    while page:
        # Before any of this page is deleted: the last one is the cursor.
        cursor = page[-1].dagster_run.run_id
        following = instance.get_run_records(wanted, limit=_PAGE, ascending=True, cursor=cursor)
        for record in page:
            if record.dagster_run.status in _ENDED or is_dead(instance, record):
                yield record.dagster_run
        page = following


@dataclass
class NewestEvents:
    """Finds what a run holds that no later run does.

    Attributes:
        instance: Dagster's records.
        plotted: An asset whose events are plotted over time: the first of each week is kept too.
    """

    instance: dg.DagsterInstance
    plotted: dg.AssetKey
    _runs: dict[tuple[dg.AssetKey, str | None], str] = field(default_factory=dict)
    _check_runs: dict[dg.AssetCheckKey, str] = field(default_factory=dict)

    def why_kept(self, run_id: str) -> str:
        """Return what a run holds that no later run does; "" if nothing."""
        checks = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        for record in self._records(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION):
            event = record.asset_materialization
            if event is None:
                continue
            if self._run_of(event.asset_key, event.partition) == run_id:
                return "newest materialization"
            if event.asset_key == self.plotted and self._is_first_of_week(record):
                return "first of a week"
        for record in self._records(run_id, checks):
            found = record.event_log_entry.asset_check_evaluation
            if found and self._is_newest_check(found.asset_check_key, run_id):
                return "newest result of a check"
        return ""

    def _records(self, run_id: str, kind: dg.DagsterEventType) -> Iterator[dg.EventLogRecord]:
        cursor, has_more = None, True
        while has_more:
            page = self.instance.get_records_for_run(run_id, cursor, of_type=kind, limit=_PAGE)
            yield from page.records
            cursor, has_more = page.cursor, page.has_more

    def _run_of(self, asset: dg.AssetKey, partition: str | None) -> str:
        """Return the run with the newest materialization; "" if none is, or it was wiped."""
        if (asset, partition) not in self._runs:
            keys = [partition] if partition else None
            of_it = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=keys)
            found = self.instance.fetch_materializations(of_it, limit=1).records
            self._runs[asset, partition] = found[0].run_id if found else ""
        return self._runs[asset, partition]

    def _is_first_of_week(self, record: dg.EventLogRecord) -> bool:
        at = datetime.fromtimestamp(record.timestamp, UTC)
        monday = datetime(at.year, at.month, at.day, tzinfo=UTC) - timedelta(days=at.weekday())
        of_week = dg.AssetRecordsFilter(
            asset_key=self.plotted,
            after_timestamp=monday.timestamp(),
            before_timestamp=(monday + _WEEK).timestamp(),
        )
        records = self.instance.fetch_materializations(of_week, limit=1, ascending=True).records
        return bool(records) and records[0].run_id == record.run_id

    def _is_newest_check(self, check: dg.AssetCheckKey, run_id: str) -> bool:
        if check not in self._check_runs:
            self._check_runs[check] = next(self._runs_of_results(check), "")
        return self._check_runs[check] == run_id

    def _runs_of_results(self, check: dg.AssetCheckKey) -> Iterator[str]:
        """Yield the runs with a result of a check, the newest first.

        An execution that was only planned has none: its run failed before, or found nothing new.
        """
        storage = self.instance.event_log_storage
        page = storage.get_asset_check_execution_history(check, _PAGE)
        while page:
            for each in page:
                if each.event and each.event.asset_check_evaluation:
                    yield each.run_id
            page = storage.get_asset_check_execution_history(check, _PAGE, cursor=page[-1].id)
