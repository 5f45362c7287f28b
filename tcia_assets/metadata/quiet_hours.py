"""Hours of each day in which no images are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tcia_assets.errors import UsageError, require_known

_EXAMPLE = '{from: "08:00", to: "18:00", timezone: Europe/Berlin}'
_FIELDS = ("from", "to", "timezone")
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class QuietHours:
    """Hours of each day in which no images are fetched; they may pass midnight.

    Args:
        begin: When they begin, in local time.
        end: When they end, in local time.
        timezone: The name of the time zone, such as Europe/Berlin.

    Raises:
        UsageError: There is no such time zone, or both times are the same.
    """

    begin: time
    end: time
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if self.begin == self.end:
            raise UsageError("image selection: quiet_hours: from and to are the same time")
        _ = self._zone

    @classmethod
    def from_fields(cls, given: Any) -> QuietHours:
        """Make quiet hours from the fields `from`, `to` and `timezone`, all texts.

        Raises:
            UsageError: A field is missing, or cannot be read.
        """
        if not isinstance(given, dict) or not {"from", "to"} <= given.keys():
            problem = f"quiet_hours is {given!r}; it must be like {_EXAMPLE}"
            raise UsageError(f"image selection: {problem}")
        require_known("field of quiet_hours", map(str, given), _FIELDS)
        zone = str(given.get("timezone", "UTC"))
        return cls(_time("from", given["from"]), _time("to", given["to"]), zone)

    def to_fields(self) -> dict[str, str]:
        """Return the fields that `from_fields` makes it from."""
        return {"from": _text(self.begin), "to": _text(self.end), "timezone": self.timezone}

    def __str__(self) -> str:
        return f"{_text(self.begin)} to {_text(self.end)}, {self.timezone}"

    @property
    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problem = f"there is no time zone {self.timezone!r}; one is Europe/Berlin"
            raise UsageError(f"image selection: quiet_hours: {problem}") from None

    def until(self, now: datetime) -> datetime | None:
        """Return when the quiet hours end that are at a moment; None if there are none then."""
        local = now.astimezone(self._zone)
        at, passes_midnight = local.time(), self.begin > self.end
        has_begun, has_not_ended = at >= self.begin, at < self.end
        if not (has_begun or has_not_ended if passes_midnight else has_begun and has_not_ended):
            return None
        return self._at(self.end, local, 0 if has_not_ended else 1)

    def next_begin(self, now: datetime) -> datetime:
        """Return when the next quiet hours begin, from a moment outside of them."""
        local = now.astimezone(self._zone)
        return self._at(self.begin, local, 0 if local.time() < self.begin else 1)

    def last_end(self, now: datetime) -> datetime:
        """Return when the last quiet hours ended before a moment."""
        local = now.astimezone(self._zone)
        return self._at(self.end, local, 0 if local.time() >= self.end else -1)

    def _at(self, at: time, local: datetime, days: int) -> datetime:
        """Return a time of day, so many days after that of a moment, in UTC."""
        # In UTC, because differences between local times leave out changes to summer time.
        day = local.date() + days * _DAY
        return datetime.combine(day, at, self._zone).astimezone(UTC)


def _time(name: str, given: Any) -> time:
    try:
        found = time.fromisoformat(str(given).strip())
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None or ":" not in str(given):
        problem = f'{name} is {given!r}; it must be a time such as "08:00"'
        raise UsageError(f"image selection: quiet_hours: {problem}")
    return found


def _text(at: time) -> str:
    return f"{at:%H:%M}" if at.replace(hour=0, minute=0) == time() else at.isoformat()
