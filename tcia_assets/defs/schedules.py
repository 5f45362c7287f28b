"""The nightly schedules: everything is asked once a day, whatever a sensor noticed or lost.

What belongs here: when. What does not: what runs (`jobs.py`).
"""

import dagster as dg

from tcia_assets.defs.busy import busy
from tcia_assets.defs.jobs import images_job, range_tags, refresh_job
from tcia_assets.defs.names import Names

_NIGHTLY = "0 2 * * *"
_AFTER_THAT = "0 4 * * *"
_SHOWN = 5


def schedules(names: Names) -> list[dg.ScheduleDefinition]:
    """Every night all metadata in one run, and later the images that are still to be fetched."""
    return [
        _nightly(names, refresh_job(names), _NIGHTLY, "Refreshes the metadata of all Collections."),
        _nightly(names, images_job(names), _AFTER_THAT, "Fetches what is selected and not here."),
    ]


def _nightly(names: Names, job: str, cron: str, about: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job}_nightly",
        job_name=job,
        cron_schedule=cron,
        description=about,
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        keys = context.instance.get_dynamic_partitions(str(names.collections.name))
        if not keys:
            return dg.SkipReason(
                f"no Collection is known yet: materialize {names.name}/collections"
            )
        if working := sorted(busy(context.instance, names, list(keys))):
            return dg.SkipReason(f"runs are at work on {', '.join(working[:_SHOWN])}")
        day = context.scheduled_execution_time.date()
        return dg.RunRequest(run_key=f"{job}:{day}", tags=range_tags(keys[0], keys[-1]))

    return nightly
