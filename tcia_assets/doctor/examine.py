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
from tcia_assets.doctor.check import DIFFERS, Check
from tcia_assets.doctor.folder_checks import folder_steps, stored_keys
from tcia_assets.doctor.image_checks import image_steps
from tcia_assets.doctor.installation_checks import installation_steps, versions
from tcia_assets.doctor.redaction import Redaction
from tcia_assets.doctor.reply_checks import reply_steps
from tcia_assets.doctor.source_checks import connection_steps, limits_step
from tcia_assets.doctor.steps import Walk
from tcia_assets.doctor.subject import Subject
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.settings import Settings
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
        versions: What is installed.
        sections: The checks, by what they are about.
    """

    source: str
    url: str
    taken_at: datetime
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, Sequence[Check]] = field(default_factory=dict)

    @property
    def checks(self) -> list[Check]:
        """All checks, in order."""
        return [check for checks in self.sections.values() for check in checks]

    @property
    def differing(self) -> list[Check]:
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
        seconds: How long it may take; what was not asked by then is unknown.
        pacing: Time-outs of each request.
        report: Called after each check with the number of checks done, and of all.

    Raises:
        StorageError: There is no room for replies in the temporary folder.
    """
    taken_at, started = datetime.now(UTC), time.monotonic()
    limited = settings.replace(max_reply_bytes=min(settings.max_reply_bytes, _MOST_REPLY_BYTES))
    preferred = dict.fromkeys((*settings.collections, *stored_keys(settings, SERIES)))
    lists = stored_keys(settings, SHARED_LISTS)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(limited, pacing=pacing))
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        subject = Subject(source, list(preferred), Path(folder))
        connection, limits = connection_steps(subject), limits_step(subject)
        replies, images = reply_steps(subject, lists), image_steps(subject)
        local = {"Data folder": folder_steps(settings), "Installation": installation_steps()}
        remote = {"Source": [*connection, limits], "Replies": replies, "Images": images}
        plan = remote | local
        on_step = _counter(sum(map(len, plan.values())), report)
        deadline = started + seconds
        here = Walk([s for each in local.values() for s in each], deadline, on_step=on_step)
        there = Walk(
            [*connection, *replies, *images, limits], deadline, stop=source.stop, on_step=on_step
        )
        found = here.checks() | there.checks()
    redact = Redaction(settings, _user(), Path.home())
    return Report(
        source=redact(settings.source),
        url=redact(settings.url),
        taken_at=taken_at,
        seconds=time.monotonic() - started,
        versions=versions(),
        sections={
            title: [found[step.name].rewritten(redact) for step in steps]
            for title, steps in plan.items()
        },
    )


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
