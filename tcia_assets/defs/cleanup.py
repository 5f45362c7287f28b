"""The job `cleanup`, which deletes old runs from Dagster's records, and its schedule."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from tcia_assets.defs.mirror import MIRROR
from tcia_assets.defs.names import Names
from tcia_assets.defs.old_runs import NewestEvents, Ours, find_old_runs
from tcia_assets.defs.resource import RunResource
from tcia_assets.defs.run_files import find_left_behind, remove_files
from tcia_assets.defs.run_process import tag_with_process
from tcia_assets.progress import report
from tcia_assets.units import counted, format_bytes

_CRON = "30 5 * * *"
_LEFT_BEHIND_AFTER = timedelta(hours=1)
_DESCRIPTION = (
    "Deletes, from Dagster's records, runs of this plugin that were created more than "
    "TCIA_CLEANUP_DAYS ago, with their events, output and files. The newest event of each "
    "partition, table and check stays, and of the asset `mirror` one a week."
)


class CleanupConfig(dg.Config):
    """Configuration of a run that deletes old runs."""

    dry_run: bool = False
    """Only count what would be deleted."""

    days: int | None = Field(default=None, ge=1)
    """The age of runs to delete; by default the setting TCIA_CLEANUP_DAYS."""

    max_runs: int = Field(default=5_000, ge=1)
    """The number of runs to delete, at most; the next run goes on."""

    of_all: bool = False
    """Also delete runs of jobs and assets that are not of this plugin."""


@dataclass
class _Outcome:
    """What a cleanup has done so far."""

    deleted: int = 0
    freed: int = 0
    kept: Counter[str] = field(default_factory=Counter)

    def describe(self, what: str) -> str:
        """Return it as a line; `what` is what became of which runs."""
        kept = ", ".join(f"{count} {why}" for why, count in self.kept.items()) or "none"
        freed = format_bytes(self.freed)
        return f"{counted(self.deleted, 'run')} {what}, {freed} of files; kept: {kept}"


def job_name(names: Names) -> str:
    """Return the name of the job."""
    return names.of("cleanup")


def job(names: Names, ours: Ours) -> dg.JobDefinition:
    """Return the job.

    Args:
        names: The names of jobs and resources.
        ours: The other jobs, and the assets, whose runs are deleted.
    """
    name = job_name(names)
    cleaned = Ours((*ours.job_names, name), ours.assets)

    @dg.op(
        name=names.of("delete_old_runs"),
        description=_DESCRIPTION,
        required_resource_keys={names.resource},
        tags=dict(names.op_tags),
    )
    def cleanup(context: dg.OpExecutionContext, config: CleanupConfig) -> None:
        tag_with_process(context)
        tcia: RunResource = getattr(context.resources, names.resource)
        days = config.days or tcia.settings.cleanup_days
        done = _clean(context, names, None if config.of_all else cleaned, days, config)
        verb = "would be deleted" if config.dry_run else "deleted"
        context.log.info(done.describe(f"older than {days} days {verb}"))
        context.add_output_metadata(
            {"deleted": done.deleted, "freed_bytes": done.freed, "kept": done.kept.total()}
        )

    @dg.job(
        name=name,
        description=_DESCRIPTION,
        executor_def=dg.in_process_executor,
        tags={"tcia": name},
    )
    def cleanup_job() -> None:
        cleanup()

    return cleanup_job


def schedule(names: Names) -> dg.ScheduleDefinition:
    """Return the schedule of the job, which is off until switched on."""
    return dg.ScheduleDefinition(
        name=f"{job_name(names)}_nightly",
        job_name=job_name(names),
        cron_schedule=_CRON,
        description=f"At half past five each night. {_DESCRIPTION}",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )


def _clean(
    context: dg.OpExecutionContext,
    names: Names,
    ours: Ours | None,
    days: int,
    config: CleanupConfig,
) -> _Outcome:
    instance, done = context.instance, _Outcome()
    before = datetime.now(UTC) - timedelta(days=days)
    newest = NewestEvents(instance, names.key(MIRROR))
    for run in find_old_runs(instance, ours, before):
        if done.deleted >= config.max_runs:
            break
        if why := newest.why_kept(run.run_id):
            done.kept[why] += 1
            continue
        done.deleted += 1
        report(done.deleted, config.max_runs, "old runs deleted")
        if not config.dry_run:
            instance.delete_run(run.run_id)
            done.freed += remove_files(instance, run.run_id)
    if not config.dry_run:
        # Of a cleanup that was killed between the two lines above.
        recently = datetime.now(UTC) - _LEFT_BEHIND_AFTER
        for run_id in list(find_left_behind(instance, recently.timestamp())):
            done.freed += remove_files(instance, run_id)
    return done
