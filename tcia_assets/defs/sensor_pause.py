"""The pause between ticks of the sensor while the source is failing.

It grows with each failure, and is kept in the sensor's cursor. The cursor holds nothing else:
deleting it makes the sensor send requests at once, and loses nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from tcia_assets.errors import ArchiveBroken, RemoteError

LONGEST = timedelta(hours=1)
# Ticks are not exactly an interval apart. The one that is due when the pause ends must not come a
# moment too early.
_SLACK = timedelta(seconds=15)


class Pause(BaseModel):
    """A time during which the sensor sends no request.

    Attributes:
        failures: Number of failures in a row.
        since: When the first of them was.
        until: When the pause ends.
        why: The text of the last error.
        is_reported: Whether the source counts as gone, and its check has failed.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    failures: int
    since: AwareDatetime
    until: AwareDatetime
    why: str
    is_reported: bool = False

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Pause | None:
        """Return the pause that a cursor holds; None for any other cursor."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:  # somebody may have set it to any text
            return None

    @classmethod
    def after_failure(
        cls, error: RemoteError, before: Pause | None, now: datetime, interval: timedelta
    ) -> Pause:
        """Return the pause that begins with a failure: twice as long as the one before.

        The first one lasts one `interval` between ticks. It is at least as long as the source
        requests (`Retry-After`), and at most an hour.
        """
        failures = before.failures + 1 if before else 1
        # The exponent is bounded, since an outage may last for weeks.
        length = interval * 2 ** min(failures - 1, 20)
        requested = error.retry_after_s if isinstance(error, ArchiveBroken) else None
        length = min(max(length, timedelta(seconds=requested or 0)), max(LONGEST, interval))
        until = now + length - min(_SLACK, length / 10)
        since = before.since if before else now
        is_reported = before.is_reported if before else False
        return cls(
            failures=failures, since=since, until=until, why=str(error), is_reported=is_reported
        )

    @property
    def cursor(self) -> str:
        """The pause as the text of a sensor's cursor."""
        return self.model_dump_json()

    def is_active(self, now: datetime, interval: timedelta) -> bool:
        """Return whether it lasts until after `now`, where ticks are an `interval` apart.

        A pause with more left than any can have was made before the clock was set back.
        """
        return timedelta(0) < self.until - now <= max(LONGEST, interval)

    def __str__(self) -> str:
        times = "once" if self.failures == 1 else f"{self.failures} times in a row"
        return (
            f"the source failed {times} since {self.since:%Y-%m-%d %H:%M:%S %Z}, and nothing was "
            f"changed; the next request is sent after {self.until:%H:%M:%S}: {self.why}"
        )
