"""How long the sensor leaves an archive alone that is out of order.

What belongs here: the pause, which grows with each failure, and how Dagster keeps it. What does
not: what was seen of the archive. The sensor's cursor holds a pause and nothing else: whoever
deletes it makes the sensor ask at once, and loses nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from tcia_assets.errors import ArchiveBroken, RemoteError

LONGEST = timedelta(hours=1)
# A tick that comes at the end of the pause must not find it not quite over: ticks begin a little
# apart from their times.
_SLACK = timedelta(seconds=15)


@dataclass(frozen=True)
class Pause:
    """The archive failed so many times in a row, since when and why; until when it is not asked.

    Instants are ISO 8601 texts with a time zone, as they stand in the cursor.
    """

    failures: int
    since: str
    until: str
    why: str

    @classmethod
    def of(cls, cursor: str | None) -> Pause | None:
        """The pause that a cursor holds; None for any other cursor."""
        try:
            pause = cls(**json.loads(cursor or "{}"))
            instants = [datetime.fromisoformat(t) for t in (pause.since, pause.until)]
        except (TypeError, ValueError):  # a person may have set it to anything
            return None
        is_whole = isinstance(pause.failures, int) and all(t.tzinfo for t in instants)
        return pause if is_whole else None

    @classmethod
    def after(
        cls, error: RemoteError, before: Pause | None, now: datetime, interval: timedelta
    ) -> Pause:
        """The pause that begins with a failure: twice as long as the one before, an hour at most.

        The first is one `interval` between ticks. Where the archive itself says for how long it
        wants to be left alone, it is no shorter than that, within the hour.
        """
        failures = before.failures + 1 if before else 1
        # Bounded, for an archive may be away for weeks.
        length = interval * 2 ** min(failures - 1, 20)
        asked = error.retry_after_s if isinstance(error, ArchiveBroken) else None
        length = min(max(length, timedelta(seconds=asked or 0)), max(LONGEST, interval))
        until = now + length - min(_SLACK, length / 10)
        since = before.since if before else now.isoformat()
        return cls(failures, since, until.isoformat(), str(error))

    @property
    def cursor(self) -> str:
        return json.dumps(asdict(self))

    def lasts(self, now: datetime, interval: timedelta) -> bool:
        """Whether the archive is still left alone, where ticks are an `interval` apart.

        One that would last longer than any pause was made by a clock that has been set back since.
        """
        left = datetime.fromisoformat(self.until) - now
        return timedelta(0) < left <= max(LONGEST, interval)

    def __str__(self) -> str:
        since, until = (datetime.fromisoformat(t) for t in (self.since, self.until))
        times = "once" if self.failures == 1 else f"{self.failures} times in a row"
        return (
            f"the archive could not be asked, {times} since {since:%Y-%m-%d %H:%M:%S %Z}, and "
            f"nothing was changed; it is asked again after {until:%H:%M:%S}: {self.why}"
        )
