"""Since when a source does not answer, and whether it counts as gone.

Remembered in one small file of the data folder, which is written by the first failure and removed
by the next answer. An answer that is stored, a row of `snapshots`, is one too. So it survives
restarts, and follows from what is stored.

Nothing is changed while a source does not answer: no Series is missing, and the warehouse stays as
of its last comparison.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tcia_assets.catalog import SNAPSHOTS
from tcia_assets.errors import RemoteError, escape_unprintable, shorten
from tcia_assets.settings import Settings
from tcia_assets.sources.names import family_of
from tcia_assets.store.files import publish_text
from tcia_assets.store.warehouse import Warehouse

_FILE = "source_outage.json"
_GONE_STATUS = 410
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Outage:
    """A source that does not answer.

    Attributes:
        source: Which one: software and host.
        since: When the first failure was after its last answer.
        until: The moment for which this holds.
        gone_days: After so many days it counts as gone.
        why: The first failure.
        compared_at: When any Collection was last compared with it; None if none was.
    """

    source: str
    since: datetime
    until: datetime
    gone_days: int
    why: str
    compared_at: datetime | None = None

    @property
    def days(self) -> int:
        """The number of whole days that it has lasted."""
        return (self.until - self.since) // _DAY

    @property
    def is_gone(self) -> bool:
        """Whether the source counts as gone."""
        return self.days >= self.gone_days

    def __str__(self) -> str:
        compared = f" of {self.compared_at:%Y-%m-%d %H:%M} UTC" if self.compared_at else ""
        silent = f"{self.source} has not answered since {self.since:%Y-%m-%d} ({self.days} days"
        if not self.is_gone:
            return f"{silent}; it counts as gone after {self.gone_days}): {self.why}"
        other = (
            "; to go on with the Imaging Data Commons in the same folder, set TCIA_SOURCE=idc "
            "(docs/sources.md)"
            if not self.source.startswith("idc")
            else ""
        )
        return (
            f"{silent}) and counts as gone: the warehouse stays as of its last comparison"
            f"{compared}, and nothing is marked missing{other}. The first failure: {self.why}"
        )


def counts_as_silence(error: RemoteError) -> bool:
    """Return whether a source that fails so gives no answer: nothing, a page, or 410 Gone."""
    return error.retryable or error.status == _GONE_STATUS


def record_failure(warehouse: Warehouse, settings: Settings, why: str, now: datetime) -> Outage:
    """Remember that the source did not answer, if it is the first time, and return since when.

    Args:
        warehouse: The warehouse that the source fills.
        settings: Those that the source was opened with.
        why: The error.
        now: When it failed.
    """
    found = find_outage(warehouse, settings, now)
    if found is None:
        why = escape_unprintable(shorten(why))
        record = {"source": settings.address, "since": now.astimezone(UTC).isoformat(), "why": why}
        publish_text(_path(warehouse), json.dumps(record) + "\n")
        found = find_outage(warehouse, settings, now)
    return found or Outage(settings.address, now, now, settings.source_gone_days, why)


def record_answer(warehouse: Warehouse, settings: Settings) -> None:
    """Forget the outage of this source, if there was one."""
    record = _read(warehouse)
    if record and record["source"] == settings.address:
        _path(warehouse).unlink(missing_ok=True)


def find_outage(warehouse: Warehouse, settings: Settings, now: datetime) -> Outage | None:
    """Return the outage of the source of these settings; None if it answered last time."""
    record = _read(warehouse)
    if not record or record["source"] != settings.address:
        return None
    since = datetime.fromisoformat(record["since"])
    compared_at = _compared_at(warehouse, settings)
    if compared_at and compared_at > since:
        return None
    return Outage(
        record["source"], since, now, settings.source_gone_days, record["why"], compared_at
    )


def _path(warehouse: Warehouse) -> Path:
    return warehouse.root / _FILE


def _read(warehouse: Warehouse) -> dict[str, str] | None:
    try:
        record = json.loads(_path(warehouse).read_text(encoding="utf-8"))
        datetime.fromisoformat(record["since"])
        return {name: str(record[name]) for name in ("source", "since", "why")}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # there is none, or somebody has edited it


def _compared_at(warehouse: Warehouse, settings: Settings) -> datetime | None:
    found = warehouse.query(
        f"SELECT max(taken_at) AS at FROM {SNAPSHOTS.name} "
        "WHERE split_part(source, '-', 1) = $family",
        {"family": family_of(settings.address)},
    )["at"][0].as_py()
    return found if found is None else found.astimezone(UTC)
