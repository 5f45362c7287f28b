"""A failed run as one line that a person can read.

What belongs here: what the line says, and the sensor that writes it to the log. What does not: how
it gets to people. That is a sensor of one's own around `failure_line`: see docs/alarms.md.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from tcia_assets.defs.events import failure_reasons
from tcia_assets.defs.jobs import Job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import PARTITION, RANGE_END, RANGE_START
from tcia_assets.errors import escape_unprintable

_LONGEST = 600


def alarms(names: Names, jobs: Sequence[Job]) -> list[dg.SensorDefinition]:
    """The sensor that tells of failed runs of these jobs, off until switched on."""

    @dg.run_failure_sensor(
        name=names.of("run_failed"),
        description=(
            "Looks at failed runs of this archive's jobs, and writes one line of each to the log: "
            "what failed, of which Collections, and why. docs/alarms.md says how to mail it."
        ),
        monitored_jobs=list(jobs),
        default_status=dg.DefaultSensorStatus.STOPPED,
    )
    def run_failed(context: dg.RunFailureSensorContext) -> None:
        context.log.error(failure_line(context))

    return [run_failed]


def failure_line(context: dg.RunFailureSensorContext) -> str:
    """What failed, of which partitions, why, and in which run; one line of 600 characters at most.

    Nothing in it breaks a line or is obeyed by a terminal, whatever the archive sent.
    """
    run = context.dagster_run
    said = "; ".join(failure_reasons(context.get_step_failure_events())) or str(
        context.failure_event.message
    )
    head = f"{run.job_name}{_of(run.tags)} failed (run {run.run_id}): "
    return _short(_one_line(head + said))


def _of(tags: Mapping[str, str]) -> str:
    if PARTITION in tags:
        return f" of {tags[PARTITION]!r}"
    if RANGE_START not in tags:
        return ""
    first, last = tags[RANGE_START], tags[RANGE_END]
    return f" of {first!r}" if first == last else f" of {first!r} to {last!r}"


def _one_line(text: str) -> str:
    return escape_unprintable(" ".join(text.split()))


def _short(line: str) -> str:
    return line if len(line) <= _LONGEST else line[: _LONGEST - 4] + " ..."
