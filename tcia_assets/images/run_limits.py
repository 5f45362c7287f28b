"""What one run may fetch: its part of a Collection, and how many Series, bytes and minutes.

And how long it may read zips again that it did not fetch.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tcia_assets.errors import UsageError
from tcia_assets.metadata.quiet_hours import QuietHours
from tcia_assets.metadata.selection import Selection

# A new version may make millions of headers worth reading again, which must not delay what is new.
REREAD_SECONDS = 600.0


@dataclass
class RereadBudget:
    """Time in which one run may read unchanged zips again, for columns that `images` lacked.

    Shared by all Collections of the run.

    Attributes:
        seconds: Seconds left.
        deadline: Time of `time.monotonic()` at which the whole run should end.
    """

    seconds: float = REREAD_SECONDS
    deadline: float = float("inf")

    @contextmanager
    def spend(self) -> Iterator[float]:
        """Provide the time after which no zip is begun; what is spent is counted."""
        started = time.monotonic()
        try:
            yield min(started + self.seconds, self.deadline)
        finally:
            self.seconds -= time.monotonic() - started


@dataclass(frozen=True)
class Shard:
    """One of the `count` parts of a plan; a Series belongs to one of them by the hash of its UID.

    Raises:
        UsageError: `index` is not one of 0 to `count` - 1.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(
                f"shard {self.index} of {self.count}: it must be one of 0 to {self.count - 1}"
            )

    @property
    def condition(self) -> str:
        """SQL that is true for a row whose SeriesInstanceUID is in this part."""
        if self.count == 1:
            return "true"
        first_bytes = "('0x' || left(sha256(SeriesInstanceUID), 16))::UBIGINT"
        return f"({first_bytes} % {self.count} = {self.index})"

    def contains(self, series_instance_uid: str) -> bool:
        """Return whether a Series belongs to this part; the same as `condition`."""
        digest = hashlib.sha256(series_instance_uid.encode()).hexdigest()
        return int(digest[:16], 16) % self.count == self.index

    @property
    def is_part(self) -> bool:
        """Whether there are other parts."""
        return self.count > 1

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


@dataclass
class FetchBudget:
    """What one run may still fetch; shared by all its Collections.

    Attributes:
        series: Number of Series left; infinite if there is no limit.
        bytes: Number of bytes left.
        deadline: Time of `time.monotonic()` after which no Series is started.
        quiet_hours: Hours in which no Series is started either.
        consecutive_failures: Number of Series, since the last success, that failed because of the
            source.
        taken: Number of Series taken.
    """

    series: float
    bytes: int
    deadline: float = float("inf")
    consecutive_failures: int = 0
    taken: int = 0
    quiet_hours: QuietHours | None = None

    @classmethod
    def for_selection(cls, selection: Selection) -> FetchBudget:
        """Return the budget of a run that starts now."""
        minutes, quiet = selection.max_minutes_per_run, selection.quiet_hours
        deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
        series = float("inf") if (limit := selection.max_series_per_run) is None else limit
        budget = cls(series, selection.max_bytes_per_run, deadline, quiet_hours=quiet)
        return replace(budget, series=0) if budget._is_quiet else budget

    @property
    def _is_quiet(self) -> bool:
        return bool(self.quiet_hours and self.quiet_hours.until(datetime.now(UTC)))

    @property
    def is_over(self) -> bool:
        """Whether no Series is to be started any more."""
        # By the clock too: what `time.monotonic()` counts stands still while a machine sleeps.
        return time.monotonic() > self.deadline or self._is_quiet

    @property
    def longest_wait_until(self) -> float:
        """The time of `time.monotonic()` at which no request waits for a busy source any more."""
        if self.quiet_hours is None:
            return self.deadline
        now = datetime.now(UTC)
        seconds = (self.quiet_hours.next_begin(now) - now).total_seconds()
        return min(self.deadline, time.monotonic() + seconds)

    def take(self, sizes: Sequence[int | None]) -> int:
        """Take as many Series, in order, as the budget allows.

        The first Series of a run is always taken: without this, one that is larger than
        `bytes` would never be fetched.

        Args:
            sizes: Bytes of each Series; None where it is unknown, which counts as 0.

        Returns:
            How many Series were taken.
        """
        for position, size in enumerate(sizes):
            if self.series < 1 or ((size or 0) > self.bytes and self.taken):
                return position
            self.taken += 1
            self.series -= 1
            self.bytes -= size or 0
        return len(sizes)

    def give_back(self, sizes: Iterable[int | None]) -> None:
        """Add Series that were taken and not started."""
        for size in sizes:
            self.taken -= 1
            self.series += 1
            self.bytes += size or 0
