"""How far a complete list of a Collection can be believed, and what else the archive says.

What belongs here: the table `snapshots`, whether a list that lacks Series may count, and the
questions whose answers make a missing Series a withdrawn one. What does not: what follows for the
rows (`snapshot.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import COLLECTIONS, SERIES, SNAPSHOTS, STUDIES
from tcia_assets.errors import RemoteError, UnknownReply
from tcia_assets.metadata.listing import Patience, Snapshot
from tcia_assets.sources.nbia.client import ArchiveClient, Reply
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

# More than a tenth gone at once is hardly an edit by hand; of a few Series one is more than that.
_TOLERANCE = 0.1
_KEPT = 400
_BURST = timedelta(hours=1)
# Clocks of two machines differ by less. What is later was noted by one that has been set back.
_SKEW = timedelta(hours=1)
_STUDY = STUDIES.key[1]
_UID = SERIES.key[0]

_Row = dict[str, Any]


# --- Lists --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Whether what a list lacks counts as missing; `reason` is in words, "" if nothing is odd."""

    plausible: bool
    reason: str = ""


def judge(
    listed: int, until_now: int, lost: int, earlier: pa.Table, at: datetime, patience: Patience
) -> Verdict:
    """What a list of so many Series is worth, which lacks `lost` of those listed `until_now`.

    One that lacks too many is believed when lists have lacked them for as long as, and as often as,
    it takes to withdraw a single Series. `earlier` are the Collection's rows of `snapshots`.
    """
    if lost <= max(1, until_now * _TOLERANCE):
        return Verdict(plausible=True)
    what = f"it lacks {lost} of the {until_now} Series listed until then"
    seen = _spread([at, *_alike_before(listed, earlier)], patience.gap)
    if seen >= patience.snapshots:
        return Verdict(plausible=True, reason=f"{what}, and so did those before it")
    problem = f"{what}: {seen} of {patience.snapshots} such lists, {patience.hours} h apart"
    return Verdict(plausible=False, reason=problem)


def _alike_before(listed: int, earlier: pa.Table) -> Iterator[datetime]:
    """When the lists were made, the newest first, that were as implausible and about as long."""
    most = max(1, listed * _TOLERANCE)
    for row in reversed(earlier.sort_by("taken_at").to_pylist()):
        if row["plausible"] or abs(row["listed"] - listed) > most:
            return
        yield row["taken_at"]


def _spread(newest_first: Sequence[datetime], gap: timedelta) -> int:
    """How many of these instants lie so far apart."""
    counted: list[datetime] = []
    for instant in reversed(newest_first):
        if not counted or instant - counted[-1] >= gap:
            counted.append(instant)
    return len(counted)


def snapshots(warehouse: Warehouse, collection: str, now: datetime) -> pa.Table:
    """The lists of a Collection that were compared so far, the oldest first.

    Without those of the future: they would be the newest ones for years.
    """
    rows = warehouse.read_or_empty(SNAPSHOTS, collection)
    latest = pa.scalar(now + _SKEW, rows["taken_at"].type)
    return rows.filter(pc.less_equal(rows["taken_at"], latest))


def note(
    collection: str,
    seen: Snapshot,
    verdict: Verdict,
    *,
    at: datetime,
    listed: int,
    lost: int,
    changes: int,
    newest_release: date | None,
    source: str,
    warehouse: Warehouse,
) -> None:
    """Keeps that a list was compared, as the last thing that a comparison does.

    At most 400 of a Collection are kept. One that showed nothing gives way to the next within the
    hour, so that however often is asked, they reach back for a week.
    """
    earlier = snapshots(warehouse, collection, at)
    row: _Row = {
        "Collection": collection,
        "taken_at": at,
        "snapshot": seen.name,
        "listed": listed,
        "lost": lost,
        "plausible": verdict.plausible,
        "reason": verdict.reason or None,
        "changes": changes,
        "newest_release": newest_release,
        "source": source,
    }
    kept = [each for each in earlier.to_pylist() if each["taken_at"] != at]
    if len(kept) > 1 and _gives_way(kept[-2], kept[-1], row):
        kept.pop()
    rows = pa.Table.from_pylist([*kept, row][-_KEPT:], schema=SNAPSHOTS.schema)
    warehouse.write(SNAPSHOTS, conform(SNAPSHOTS, rows), collection)


def _gives_way(before: _Row, last: _Row, row: _Row) -> bool:
    showed_nothing = not last["changes"] and last["plausible"] == row["plausible"]
    return showed_nothing and row["taken_at"] - before["taken_at"] < _BURST


def last_compared(warehouse: Warehouse, now: datetime) -> dict[str, datetime]:
    """When each Collection was last compared; those that never were are not in it."""
    rows = warehouse.query(
        f"SELECT Collection, max(taken_at) AS taken_at FROM {SNAPSHOTS.name} "
        "WHERE taken_at <= $latest GROUP BY Collection",
        {"latest": now + _SKEW},
    )
    return dict(zip(rows["Collection"].to_pylist(), rows["taken_at"].to_pylist(), strict=True))


# --- Single Series ------------------------------------------------------------------------------


@dataclass
class Answers:
    """What the archive says of Series that lists have lacked for long.

    It knows the `gone` no more. Those in `elsewhere` are in another Collection. The rest it still
    knows in one way or another, or was not asked for. `failure` is what ended the asking early.
    """

    gone: list[str] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    requests: int = 0
    size_bytes: int = 0
    failure: RemoteError | None = None

    def spent(self, reply: Reply) -> Reply:
        self.requests += reply.requests
        self.size_bytes += reply.size_bytes
        return reply


def ask_for(
    due: pa.Table, listed: pa.Table, collection: str, client: ArchiveClient, most: int
) -> Answers:
    """Asks for at most so many of the Series that are due, each by itself.

    `due` and `listed` are rows of `series`. None is gone where the archive lists the Collection no
    more, where a Study counts more Series than are listed in it, or where the archive has at the
    end no answer for a Series that it lists either: so it is with a token that has expired.
    """
    answers = Answers()
    try:
        if collection not in _names(client, answers):
            return answers
        doubtful = _doubtful(listed, collection, client, answers)
        certain = [uid for uid, study in _pairs(due) if study not in doubtful]
        # By lot: those that the archive still knows are due again the next time, and asked first
        # each time they would keep the others waiting for ever.
        chosen = random.sample(certain, min(most, len(certain)))
        found = _each(chosen, client, answers)
        if found:
            control = listed[_UID][0].as_py()
            answers.spent(client.ask(SERIES.endpoint, SeriesInstanceUID=control))
    except RemoteError as error:
        answers.failure = error
        return answers
    for uid, where in found.items():
        if not where:
            answers.gone.append(uid)
        elif collection not in where:
            answers.elsewhere[uid] = where[0]
    return answers


def _names(client: ArchiveClient, answers: Answers) -> list[str]:
    reply = answers.spent(client.ask(COLLECTIONS.endpoint))
    names: list[str] = reply.table["Collection"].to_pylist()
    return names


def _doubtful(
    listed: pa.Table, collection: str, client: ArchiveClient, answers: Answers
) -> set[str]:
    """Studies that, the archive says, have more Series than it lists."""
    studies = answers.spent(client.ask(STUDIES.endpoint, Collection=collection)).table
    if "SeriesCount" not in studies.column_names:
        return set()
    counted = {row["values"]: row["counts"] for row in pc.value_counts(listed[_STUDY]).to_pylist()}
    return {
        study
        for study, count in zip(
            studies[_STUDY].to_pylist(), studies["SeriesCount"].to_pylist(), strict=True
        )
        if count is not None and count > counted.get(study, 0)
    }


def _pairs(due: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(due[_UID].to_pylist(), due[_STUDY].to_pylist(), strict=True)


def _each(uids: Sequence[str], client: ArchiveClient, answers: Answers) -> dict[str, list[str]]:
    """The Collections in which the archive knows each Series; the first failure ends the asking."""
    with ThreadPoolExecutor(client.settings.max_connections) as pool:
        try:
            found = dict(zip(uids, pool.map(lambda uid: _where(uid, client), uids), strict=True))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    answers.asked = len(uids)
    for reply in found.values():
        if reply is None:
            answers.requests += 1
        else:
            answers.spent(reply)
    return {uid: _collections(reply) for uid, reply in found.items()}


def _where(uid: str, client: ArchiveClient) -> Reply | None:
    try:
        return client.ask(SERIES.endpoint, SeriesInstanceUID=uid)
    except UnknownReply:
        return None


def _collections(reply: Reply | None) -> list[str]:
    return [] if reply is None else sorted(set(reply.table["Collection"].to_pylist()))
