"""Which Series is each channel of a case, from the warehouse.

A case is a Series of the reference channel. Each other channel is a Series of the same Study, if
possible in the same frame of reference; of several, the one that was acquired nearest in time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import combinations
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.channel_settings import ZEROS
from tcia_assets.datasets.cohort import CHANNELS
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.declared_sql import run_declared
from tcia_assets.datasets.quality import (
    CHANNEL_AMBIGUOUS,
    CHANNEL_BY_TIME,
    CHANNEL_MISSING,
    CHANNEL_ZEROS,
    SAMPLE_CODES,
)
from tcia_assets.store.warehouse import Warehouse

# Times of acquisition that differ by less are the same: scanners write them to the second.
_SAME_TIME = timedelta(seconds=1)
_MOST_SHOWN = 3

# Withdrawn Series too: they are in the cohort, and have no zip. A moved one has two rows.
_MEMBERS = """
    SELECT SeriesInstanceUID AS uid
    FROM (FROM series WHERE moved_to IS NULL) AS current_series
    WHERE SeriesInstanceUID IN (SELECT uid FROM chosen) AND ({where}
    ) ORDER BY uid
"""
_FACTS = """
    WITH read AS (
        SELECT SeriesInstanceUID, list(DISTINCT FrameOfReferenceUID) AS frames,
               min(AcquisitionDate) AS day, min(AcquisitionTime) AS clock
        FROM images WHERE SeriesInstanceUID IN (SELECT uid FROM chosen) GROUP BY ALL
    )
    SELECT c.uid, s.StudyInstanceUID AS study, s.SeriesDescription AS description,
           s.ImageCount AS images, r.frames, r.day, r.clock
    FROM chosen AS c JOIN (FROM series WHERE moved_to IS NULL) AS s ON s.SeriesInstanceUID = c.uid
    LEFT JOIN read AS r ON r.SeriesInstanceUID = c.uid ORDER BY c.uid
"""


@dataclass(frozen=True)
class _Series:
    """What is known of a Series: `frames` and `acquired` only of one on disk."""

    uid: str
    study: str | None
    description: str
    images: int
    frames: frozenset[str]
    acquired: datetime | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Series:
        frames = frozenset(frame for frame in row["frames"] or () if frame)
        acquired = _moment(row["day"], row["clock"])
        description = " ".join((row["description"] or "").split())
        return cls(row["uid"], row["study"], description, row["images"] or 0, frames, acquired)

    def shares_frame(self, other: _Series) -> bool:
        """Return whether two Series may have a frame of reference in common."""
        return not self.frames or not other.frames or bool(self.frames & other.frames)

    def apart(self, other: _Series) -> timedelta | None:
        """Return the time between two acquisitions; None if it is not known."""
        if self.acquired is None or other.acquired is None:
            return None
        return abs(self.acquired - other.acquired)

    def __str__(self) -> str:
        return f"{self.uid} ({self.description})" if self.description else self.uid


def members_of_channels(
    declaration: Declaration, warehouse: Warehouse, chosen: Sequence[str]
) -> dict[str, list[str]]:
    """Return the Series of each channel, sorted, out of those that the cohort's query selects.

    Raises:
        BadDeclaration: A condition fails or selects nothing, or Series are of several channels
            that do not take different volumes of them.
    """
    uids = {"chosen": pa.table({"uid": pa.array(chosen, pa.string())})}
    members = {}
    for name, channel in declaration.channels.items():
        key = f"channels.{name}.where"
        statement = _MEMBERS.format(where=channel.where)
        members[name] = run_declared(declaration, key, warehouse, statement, uids)["uid"]
        members[name] = members[name].to_pylist()
        if not members[name]:
            problem = f"no Series of the {len(chosen):,} that the cohort selects is this channel"
            raise declaration.error_at(key, f"{problem}; the cohort selects those of all channels")
    for one, other in combinations(members, 2):
        if both := sorted({*members[one]} & {*members[other]}):
            _check_shared(declaration, warehouse, (one, other), both)
    return members


def _check_shared(
    declaration: Declaration, warehouse: Warehouse, names: tuple[str, str], uids: Sequence[str]
) -> None:
    """Raise BadDeclaration unless two channels take different volumes of the same Series."""
    first, second = (declaration.channels[name].volume(declaration.volume) for name in names)
    if first.choose != second.choose:
        return
    shown = ", ".join(str(each) for each in _facts(warehouse, uids[:_MOST_SHOWN]).values())
    more = ", ..." if len(uids) > _MOST_SHOWN else ""
    problem = (
        f"{len(uids):,} Series are both {names[0]!r} and {names[1]!r}: {shown}{more}; let the "
        "conditions exclude each other, or choose different volumes, such as {choose: {b: 0}}"
    )
    raise declaration.error_at(f"channels.{names[1]}.where", problem)


def find_reference(
    declaration: Declaration, members: Mapping[str, Sequence[str]], drawn_on: Sequence[str]
) -> str:
    """Return the channel on which masks are drawn, or the first one of a dataset without masks.

    Args:
        declaration: Of the dataset.
        members: The Series of each channel.
        drawn_on: The Series with which masks are paired.

    Raises:
        BadDeclaration: Masks are drawn on several channels, or on none.
    """
    if declaration.target is None:
        return next(iter(members))
    drawn = {*drawn_on}
    counts = {name: len(drawn.intersection(uids)) for name, uids in members.items()}
    found = [name for name, count in counts.items() if count]
    if len(found) == 1:
        return found[0]
    several = ", ".join(f"{count:,} Series of {name!r}" for name, count in counts.items() if count)
    reason = f"masks are drawn on {several or 'no channel'}"
    raise declaration.error_at("channels", f"{reason}: name the right one, 'reference: NAME'")


def pair_channels(
    declaration: Declaration,
    warehouse: Warehouse,
    members: Mapping[str, Sequence[str]],
    reference: str,
) -> pa.Table:
    """Return which Series is each channel of each case, as `cohort.CHANNELS`.

    Args:
        declaration: Of the dataset.
        warehouse: Has the Study, frame of reference and time of acquisition of each Series.
        members: The Series of each channel.
        reference: The channel whose Series are the cases.
    """
    facts = _facts(warehouse, sorted({uid for uids in members.values() for uid in uids}))
    in_study: dict[tuple[str, str | None], list[_Series]] = defaultdict(list)
    for name, uids in members.items():
        for uid in uids:
            in_study[name, facts[uid].study].append(facts[uid])
    rows = []
    for uid in members[reference]:
        for name in declaration.channels:
            is_reference = name == reference
            case = {"image_series_instance_uid": uid, "channel": name, "is_reference": is_reference}
            if is_reference:
                rows.append(case | {"SeriesInstanceUID": uid})
            else:
                found = in_study[name, facts[uid].study]
                rows.append(case | _choose(declaration, name, facts[uid], found))
    return pa.Table.from_pylist(rows, CHANNELS)


def _choose(
    declaration: Declaration, name: str, case: _Series, found: Sequence[_Series]
) -> dict[str, str]:
    """Return the Series of a channel, with what is uncertain about it."""
    if not found:
        is_zeros = declaration.channels[name].missing == ZEROS
        return _finding(CHANNEL_ZEROS if is_zeros else CHANNEL_MISSING, repr(name))
    shared = [each for each in found if each.shares_frame(case)]
    ordered = sorted(shared or found, key=lambda each: _preference(case, each))
    best, *others = ordered
    row = {"SeriesInstanceUID": best.uid}
    if others and best != case:
        detail = f"{name!r} is {best}, not {', '.join(_named(case, best, others))}"
        code = CHANNEL_BY_TIME if _is_nearest(case, best, others) else CHANNEL_AMBIGUOUS
        row |= _finding(code, detail)
    return row


def _preference(case: _Series, other: _Series) -> tuple[Any, ...]:
    """Return by what candidates are sorted: the case itself, time, most images, UID."""
    apart = case.apart(other)
    return (other != case, apart is None, apart or timedelta(0), -other.images, other.uid)


def _is_nearest(case: _Series, best: _Series, others: Sequence[_Series]) -> bool:
    """Return whether time distinguishes the best candidate from the others."""
    times = [case.apart(each) for each in (best, *others)]
    if None in times:
        return False
    nearest, *rest = sorted(each for each in times if each is not None)
    return rest[0] - nearest >= _SAME_TIME


def _named(case: _Series, best: _Series, others: Sequence[_Series]) -> Iterator[str]:
    """Name other candidates, with how much farther in time they are."""
    for each in others[:_MOST_SHOWN]:
        here, there = case.apart(best), case.apart(each)
        seconds = (
            "" if here is None or there is None else f", {(there - here).total_seconds():+g} s"
        )
        yield f"{each}{seconds}"
    if len(others) > _MOST_SHOWN:
        yield f"{len(others) - _MOST_SHOWN} more"


def _finding(code: str, detail: str) -> dict[str, str]:
    return {"finding": code, "message": f"{SAMPLE_CODES[code]}: {detail}"}


def _facts(warehouse: Warehouse, uids: Sequence[str]) -> dict[str, _Series]:
    chosen = {"chosen": pa.table({"uid": pa.array(uids, pa.string())})}
    rows = warehouse.query(_FACTS, tables=chosen).to_pylist()
    return {row["uid"]: _Series.of(row) for row in rows}


def _moment(day: date | None, clock: str | None) -> datetime | None:
    """Return a moment from DICOM's day and time; None if one of them cannot be read."""
    digits = (clock or "").replace(":", "")
    if day is None or not digits[:6].isdecimal() or len(digits) < 6:  # noqa: PLR2004 - HHMMSS
        return None
    try:
        return datetime.strptime(f"{day:%Y%m%d}{digits[:6]}", "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
