"""What happened, by day: the page of changes, and the same as an Atom feed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from tcia_assets.pages import addresses, display, rendering
from tcia_assets.pages.series import changed_values
from tcia_assets.store.warehouse import Warehouse

_MAX_DAYS = 90
_MAX_FEED = 30
_MAX_EVENTS = 40
_MAX_GROUP = 5_000
_SHOWN_COLLECTIONS = 12
# What a day is told about first.
_ORDER = (
    *("withdrawn", "moved", "missing", "reappeared", "changed", "added", "fetched", "refetched"),
)
_WORDS = {
    "added": "new",
    "changed": "revised",
    "fetched": "fetched",
    "refetched": "fetched again",
}
_KINDS = {"withdrawn": "bad", "missing": "warn", "moved": "warn", "added": "good"}

# What was missing, and found to have moved or to be withdrawn on the same day, is listed once.
_SHOWN = """(
    SELECT * FROM series_changes WHERE seen_at::DATE >= $first AND NOT (
        event = 'missing' AND (Collection, SeriesInstanceUID, seen_at::DATE) IN (
            SELECT (Collection, SeriesInstanceUID, seen_at::DATE) FROM series_changes
            WHERE event IN ('moved', 'withdrawn') AND seen_at::DATE >= $first
        )
    )
)"""
_COUNTS = f"""
    SELECT seen_at::DATE AS day, event, Collection, count(*) AS series, max(seen_at) AS latest
    FROM {_SHOWN} GROUP BY ALL ORDER BY ALL
"""
_FIRST = """
    SELECT min(day) AS first FROM (
        SELECT DISTINCT seen_at::DATE AS day FROM series_changes ORDER BY day DESC LIMIT $most
    )
"""
# The events of a day are listed one by one where they are few: to sort those of a first refresh,
# half a million, would take longer than all other queries.
_EVENTS = f"""
    WITH few AS (
        SELECT seen_at::DATE AS day, event FROM {_SHOWN} GROUP BY ALL
        HAVING count(*) <= {_MAX_GROUP}
    )
    SELECT seen_at::DATE AS day, event, seen_at, Collection, SeriesInstanceUID, changed_columns,
        before, after
    FROM {_SHOWN}
    WHERE (seen_at::DATE, event) IN (FROM few)
    QUALIFY row_number() OVER (
        PARTITION BY seen_at::DATE, event ORDER BY seen_at DESC, Collection, SeriesInstanceUID
    ) <= {_MAX_EVENTS}
    ORDER BY seen_at DESC, Collection, SeriesInstanceUID
"""


@dataclass(frozen=True)
class Group:
    """The events of one kind on one day.

    Attributes:
        event: As in `series_changes`.
        word: What it is called.
        kind: good, warn, bad or "".
        series: Number of events.
        collections: Name, address ("" for none) and number of events of the Collections with most.
        others: Number of further Collections.
        events: The newest ones: UID, address ("" for none), Collection, time, what changed.
    """

    event: str
    word: str
    kind: str
    series: int
    collections: tuple[tuple[str, str, int], ...]
    others: int
    events: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class ChangeDay:
    """A day on which something happened; `latest` is the time of its last event."""

    day: date
    latest: datetime
    groups: tuple[Group, ...]

    @property
    def summary(self) -> str:
        """What happened, in one line."""
        parts = (
            f"{display.count(group.series, 'Series', 'Series')} {group.word}"
            for group in self.groups
        )
        return ", ".join(parts)


def read_changes(
    warehouse: Warehouse, slugs: Mapping[str, str], pages: Mapping[str, Mapping[str, str]]
) -> list[ChangeDay]:
    """Return the newest days on which something happened, the newest first.

    Args:
        warehouse: The mirror.
        slugs: Of all Collections.
        pages: By Collection, the UIDs of Series that have a page.
    """
    [row] = warehouse.query(_FIRST, {"most": _MAX_DAYS}).to_pylist()
    if row["first"] is None:
        return []
    counts = warehouse.query(_COUNTS, row).to_pylist()
    events = warehouse.query(_EVENTS, row).to_pylist()
    found = []
    for day in sorted({each["day"] for each in counts}, reverse=True):
        own = [each for each in counts if each["day"] == day]
        listed = [each for each in events if each["day"] == day]
        groups = [
            _group(event, [c for c in own if c["event"] == event], listed, slugs, pages)
            for event in sorted({each["event"] for each in own}, key=_rank)
        ]
        found.append(ChangeDay(day, max(each["latest"] for each in own), tuple(groups)))
    return found


def _rank(event: str) -> tuple[int, str]:
    return (_ORDER.index(event) if event in _ORDER else len(_ORDER), event)


def _group(
    event: str,
    counts: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    slugs: Mapping[str, str],
    pages: Mapping[str, Mapping[str, str]],
) -> Group:
    ordered = sorted(counts, key=lambda each: (-each["series"], each["Collection"]))
    shown = ordered[:_SHOWN_COLLECTIONS]
    return Group(
        event=event,
        word=_WORDS.get(event, event),
        kind=_KINDS.get(event, ""),
        series=sum(each["series"] for each in counts),
        collections=tuple(
            (each["Collection"], _collection(each["Collection"], slugs), each["series"])
            for each in shown
        ),
        others=len(ordered) - len(shown),
        events=tuple(_event(each, slugs, pages) for each in events if each["event"] == event),
    )


def _collection(name: str, slugs: Mapping[str, str]) -> str:
    return addresses.collection_page(slugs[name]) if name in slugs else ""


def _event(
    row: Mapping[str, Any],
    slugs: Mapping[str, str],
    pages: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    collection, uid = row["Collection"], row["SeriesInstanceUID"]
    has_page = uid in pages.get(collection, {})
    return {
        "uid": uid,
        "href": addresses.series_page(slugs[collection], uid) if has_page else "",
        "collection": collection,
        "at": row["seen_at"],
        "changes": list(changed_values(dict(row))),
    }


def changes_page(days: Sequence[ChangeDay]) -> str:
    """Return the page."""
    return rendering.render("changes.html", root="", here="changes.html", days=days)


def changes_feed(days: Sequence[ChangeDay]) -> str:
    """Return the feed in Atom 1.0: an entry a day.

    A day's entry has the same ID each time, and is updated by each event of the day.
    """
    latest = max((each.latest for each in days), default=datetime(1970, 1, 1, tzinfo=UTC))
    entries = [
        {
            "id": uuid.uuid5(uuid.NAMESPACE_URL, f"tcia_assets changes {each.day}").urn,
            "title": f"{display.day(each.day)}: {each.summary}",
            "updated": _instant(each.latest),
            "link": f"changes.html#day-{each.day}",
            "lines": [_line(group) for group in each.groups],
        }
        for each in days[:_MAX_FEED]
    ]
    own = uuid.uuid5(uuid.NAMESPACE_URL, "tcia_assets changes").urn
    return rendering.render(
        "changes.atom", root="", id=own, updated=_instant(latest), entries=entries
    )


def _instant(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _line(group: Group) -> str:
    names = ", ".join(f"{display.text(name)} ({series})" for name, _, series in group.collections)
    others = f" and {group.others} other Collections" if group.others else ""
    total = display.count(group.series, "Series", "Series")
    return f"{total} {group.word}: {names}{others}"
