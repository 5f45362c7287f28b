"""The whole examination, within a time, and its report."""

from __future__ import annotations

import getpass
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tcia_assets.catalog import SERIES, SHARED_LISTS
from tcia_assets.doctor.folder_checks import FolderExamination, stored_keys
from tcia_assets.doctor.image_checks import image_steps
from tcia_assets.doctor.installation_checks import installation_steps, versions
from tcia_assets.doctor.redaction import Redaction
from tcia_assets.doctor.reply_checks import reply_steps
from tcia_assets.doctor.source_checks import connection_steps, limits_step
from tcia_assets.doctor.step_result import DIFFERS, StepResult, differs
from tcia_assets.doctor.steps import Step, Walk
from tcia_assets.doctor.subject import Subject
from tcia_assets.errors import StorageError
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.settings import Settings, variable
from tcia_assets.sources import Pacing, open_source

# One attempt each, with little patience: what a request shows is wanted, not its rows.
PACING = Pacing(
    attempts=1,
    attempts_when_in_doubt=1,
    connect_timeout_s=5.0,
    read_timeout_s=8.0,
    slowest_read_s=8.0,
)
SECONDS = 50.0
# No reply that is asked for is as long; one that ignores its filter is.
_MOST_REPLY_BYTES = 16 << 20


@dataclass(frozen=True)
class Report:
    """What an examination found, without secrets.

    Attributes:
        source: The value of the column `source`, and the URL of the source.
        taken_at: When it was begun.
        seconds: How long it took.
        settings: The settings that are not at their default; not their values.
        versions: What is installed.
        sections: The checks, by what they are about.
    """

    source: str
    url: str
    taken_at: datetime
    seconds: float
    settings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, Sequence[StepResult]] = field(default_factory=dict)

    @property
    def checks(self) -> list[StepResult]:
        """All checks, in order."""
        return [check for checks in self.sections.values() for check in checks]

    @property
    def differing(self) -> list[StepResult]:
        """The checks of what is not as this package believes."""
        return [check for check in self.checks if check.outcome == DIFFERS]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        checks = [
            {
                "section": section,
                "name": check.name,
                "outcome": check.outcome,
                "seen": check.seen,
                "advice": check.advice,
            }
            for section, each in self.sections.items()
            for check in each
        ]
        return {
            "source": self.source,
            "url": self.url,
            "taken_at": self.taken_at.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "settings": list(self.settings),
            "versions": dict(self.versions),
            "checks": checks,
        }


def examine(
    settings: Settings,
    *,
    seconds: float = SECONDS,
    pacing: Pacing = PACING,
    report: ProgressCallback = ignore_progress,
) -> Report:
    """Ask the source what this package believes of it, and look at what is on this machine.

    A few dozen small requests are sent, and one small Series is fetched into a temporary folder.
    Nothing is written into the data folder.

    Args:
        settings: The source and the data folder.
        seconds: How long it may take; what was not checked by then is unknown.
        pacing: Time-outs of each request.
        report: Called after each check with the number of checks done, and of all.
    """
    taken_at, started = datetime.now(UTC), time.monotonic()
    deadline = started + seconds
    with ExitStack() as stack:
        folder, source = FolderExamination(settings), _source_examination(settings, pacing, stack)
        local = {"Data folder": folder.steps, "Installation": installation_steps()}
        plan = source.sections | local
        on_step = _counter(sum(map(len, plan.values())), report)
        here = [step for steps in local.values() for step in steps]
        walks = [
            Walk(here, deadline, stop=folder.stop, on_step=on_step),
            Walk(source.in_order, deadline, stop=source.stop, on_step=on_step),
        ]
        found = {name: check for walk in walks for name, check in walk.checks().items()}
    redact = Redaction(settings, _user(), Path.home())
    name, url = settings.asked
    return Report(
        source=redact(name),
        url=redact(url),
        taken_at=taken_at,
        seconds=time.monotonic() - started,
        settings=tuple(variable(name) for name in sorted(_chosen(settings))),
        versions=versions(),
        sections={
            title: [found[step.name].rewritten(redact) for step in steps]
            for title, steps in plan.items()
        },
    )


@dataclass(frozen=True)
class _SourceExamination:
    """The steps about the source: as they are shown, and in the order in which they are taken."""

    sections: dict[str, list[Step]]
    in_order: list[Step]
    stop: Callable[[], object]


def _source_examination(settings: Settings, pacing: Pacing, stack: ExitStack) -> _SourceExamination:
    """Open the source and a temporary folder until the stack ends, and return the steps."""
    limited = settings.replace(max_reply_bytes=min(settings.max_reply_bytes, _MOST_REPLY_BYTES))
    try:
        source = stack.enter_context(open_source(limited, pacing=pacing))
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    except (StorageError, OSError) as error:
        unusable = differs("connection", f"not checked: {error}", "set TMPDIR to another folder")
        steps = [Step("connection", lambda: unusable)]
        return _SourceExamination({"Source": steps}, steps, lambda: None)
    preferred = dict.fromkeys((*settings.collections, *stored_keys(settings, SERIES)))
    subject = Subject(source, list(preferred), Path(folder))
    connection, limits = connection_steps(subject), limits_step(subject)
    replies = reply_steps(subject, stored_keys(settings, SHARED_LISTS))
    images = image_steps(subject)
    sections = {"Source": [*connection, limits], "Replies": replies, "Images": images}
    return _SourceExamination(sections, [*connection, *replies, *images, limits], source.stop)


def _chosen(settings: Settings) -> set[str]:
    """Return the names of the settings that are not at their default."""
    return {
        name
        for name, declared in Settings.model_fields.items()
        if getattr(settings, name) != declared.default
    }


def _counter(total: int, report: ProgressCallback) -> Callable[[], None]:
    done = [0]

    def count() -> None:
        done[0] += 1
        report(done[0], total)

    return count


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # there is none in a container that runs as any number
        return ""
