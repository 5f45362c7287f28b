"""A failed run, or a source that is gone, as one line of text.

A sensor writes that line to the log. To send it to people, write a sensor of your own around
`failure_line`: see docs/alarms.md.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from tcia_assets.defs.events import failure_reasons
from tcia_assets.defs.jobs import Job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import PARTITION, RANGE_END, RANGE_START
from tcia_assets.defs.source_gone import gone_alarm
from tcia_assets.errors import escape_unprintable

_MAX_LENGTH = 600


def alarms(names: Names, jobs: Sequence[Job]) -> list[dg.SensorDefinition]:
    """Return the sensors that log what failed, which are off until switched on.

    One is about failed runs of these jobs, the other about a source that counts as gone.
    """

    @dg.run_failure_sensor(
        name=names.of("run_failed"),
        description=(
            "Writes one line to the log for each failed run of this plugin's jobs: what failed, "
            "for which Collections, and why. docs/alarms.md explains how to send it by mail."
        ),
        monitored_jobs=list(jobs),
        default_status=dg.DefaultSensorStatus.STOPPED,
    )
    def run_failed(context: dg.RunFailureSensorContext) -> None:
        context.log.error(failure_line(context))

    return [run_failed, gone_alarm(names)]


def failure_line(context: dg.RunFailureSensorContext) -> str:
    """Describe a failed run in one line, for a `dg.run_failure_sensor` of your own.

    Args:
        context: What Dagster passes to the sensor.

    Returns:
        The job, its partitions, the run and the reasons, in 600 characters at most. Whatever the
        source sent, the line has no line break and no control character.
    """
    run = context.dagster_run
    reasons = "; ".join(failure_reasons(context.get_step_failure_events()))
    head = f"{run.job_name}{_partitions(run.tags)} failed (run {run.run_id}): "
    line = " ".join((head + (reasons or str(context.failure_event.message))).split())
    return _shortened(escape_unprintable(line))


def _partitions(tags: Mapping[str, str]) -> str:
    if PARTITION in tags:
        return f" of {tags[PARTITION]!r}"
    if RANGE_START not in tags:
        return ""
    first, last = tags[RANGE_START], tags[RANGE_END]
    return f" of {first!r}" if first == last else f" of {first!r} to {last!r}"


def _shortened(line: str) -> str:
    return line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 4] + " ..."
