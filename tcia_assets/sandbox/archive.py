"""The archive's state: the catalogue's Series, and what has happened to them since.

What belongs here: the current Series, found by UID or asked by SQL, and every change to them. What
does not: the database (`database.py`), and how a dialect asks for its rows (`queries.py`).
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypedDict, Unpack

import pyarrow as pa

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.database import Database
from tcia_assets.sandbox.series_index import HIDDEN, VISIBLE, WITHDRAWN, Facts, SeriesIndex
from tcia_assets.store import sql

# What is made of a SEG, RTSTRUCT or RTDOSE must not change when another Series does: the choice
# looks at the catalogue as it was.
_SOURCE = """
    SELECT other.place
    FROM archive.catalogue AS one
    JOIN archive.catalogue AS other USING (StudyInstanceUID)
    WHERE one.place = ? AND other.Modality IN ('CT', 'MR', 'PT')
    ORDER BY list_position(['CT', 'MR', 'PT'], other.Modality), other.SeriesInstanceUID
    LIMIT 1
"""
_BY_UID = """
    SELECT SeriesInstanceUID, place, ImageCount, FileSize FROM archive.catalogue
    ORDER BY SeriesInstanceUID
"""
_TOUCHED = """
    SELECT SeriesInstanceUID AS uid, place, ImageCount AS image_count, FileSize AS file_size,
        fate, revision
    FROM archive.touched
"""
_LISTS = {
    "One Series per Collection": """
        SELECT min(SeriesInstanceUID) AS uid FROM archive.catalogue GROUP BY Collection
    """,
    "Segmentations": """
        SELECT SeriesInstanceUID AS uid FROM archive.catalogue
        WHERE Modality IN ('SEG', 'RTSTRUCT') ORDER BY place LIMIT 50
    """,
}
_ALL = 2**62
_LIES_ON_IMAGES = {"SEG", "RTSTRUCT", "RTDOSE"}


class CollectionSelection(TypedDict, total=False):
    """Series of a Collection: all, or the last `count` by UID."""

    collection: str
    count: int | None


class Archive:
    """The Series of a catalogue, and their fates; safe to use from many threads."""

    def __init__(
        self, catalogue: pa.Table | Path, *, now: Callable[[], dt.datetime] | None = None
    ) -> None:
        self._now = now or (lambda: dt.datetime.now(dt.UTC))
        self._lock = threading.RLock()
        self._store = Database(catalogue)
        self.tables, self.rows = self._store.tables, self._store.rows
        self.columns, self.source = self._store.columns, self._store.source
        self._touched: dict[str, Facts] = {}
        (rows,) = self.tables([_BY_UID])
        self._index = SeriesIndex(rows)
        self._collections = self._named()
        self._lists = self._default_lists = {
            name: tuple(sorted(row["uid"] for row in self.rows(question)))
            for name, question in _LISTS.items()
        }

    def _named(self) -> list[str]:
        rows = self.rows("SELECT DISTINCT Collection AS name FROM archive.everything")
        return sorted(row["name"] for row in rows)

    # --- Reading --------------------------------------------------------------------------------

    # `tables` and `rows` answer SQL over `archive.series`, or over `archive.everything`.

    def facts(self, uid: str) -> Facts | None:
        """What is known of a Series, hidden ones included; None where it does not exist."""
        known = self._touched.get(uid) or self._index.find(uid)
        return None if known is None or known.fate == WITHDRAWN else known

    def matching_collections(self, name: str) -> tuple[str, ...]:
        """The Collections of that name, whatever its case; also those with no visible Series."""
        return tuple(each for each in self._collections if _fold(each) == _fold(name))

    def row(self, place: int) -> dict[str, Any]:
        """The current row of a Series, hidden or not."""
        return self.rows("FROM archive.everything WHERE place = ?", [place])[0]

    def objects(self, facts: Facts) -> Iterator[tuple[str, bytes]]:
        """The DICOM objects of a Series: SOPInstanceUID and file, made as they are asked for."""
        row = self._submitted(facts.place)
        source = None
        if row["Modality"] in _LIES_ON_IMAGES:
            found = self.rows(_SOURCE, [facts.place])
            source = self._submitted(found[0]["place"]) if found else None
        return phantom.objects(row, source, facts.revision)

    def _submitted(self, place: int) -> dict[str, Any]:
        """The current row, with the Collection that its files name: a move changes no file."""
        born = self.rows("SELECT Collection FROM archive.catalogue WHERE place = ?", [place])[0]
        return self.row(place) | born

    # --- Shared lists ---------------------------------------------------------------------------

    @property
    def lists(self) -> Mapping[str, tuple[str, ...]]:
        """The shared lists: UIDs by name."""
        return MappingProxyType(self._lists)

    def list_members(self, name: str) -> list[str]:
        """The UIDs on all lists of that name, whatever its case; several may have it."""
        return [uid for n, uids in self._lists.items() if _fold(n) == _fold(name) for uid in uids]

    def share(self, name: str, uids: Iterable[str]) -> None:
        """Define a shared list, or replace it."""
        with self._lock:
            self._lists = {**self._lists, name: tuple(uids)}

    # --- Changes --------------------------------------------------------------------------------

    # Each takes the UIDs of Series, or a Collection with or without a `count` of its last Series by
    # UID, and returns the UIDs that it changed.

    def hold(
        self, uids: Iterable[str] | None = None, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Hide Series as if they had never been released."""
        return self._change(self._chosen(uids, VISIBLE, which), fate=HIDDEN, DateReleased=None)

    def release(
        self,
        uids: Iterable[str] | None = None,
        *,
        day: dt.date | None = None,
        **which: Unpack[CollectionSelection],
    ) -> list[str]:
        """Make Series visible, released on `day` (default: today)."""
        day = day or self._now().date()
        return self._change(self._chosen(uids, HIDDEN, which), fate=VISIBLE, DateReleased=day)

    def hide(
        self, uids: Iterable[str] | None = None, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Make Series invisible; they keep their release date, as in a re-submission."""
        return self._change(self._chosen(uids, VISIBLE, which), fate=HIDDEN)

    def show(
        self, uids: Iterable[str] | None = None, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Make hidden Series visible again, with the release date that they had."""
        return self._change(self._chosen(uids, HIDDEN, which), fate=VISIBLE)

    def withdraw(
        self, uids: Iterable[str] | None = None, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Delete Series; a Collection without any vanishes."""
        return self._change(self._chosen(uids, VISIBLE, which), fate=WITHDRAWN)

    def move(
        self, uids: Iterable[str] | None = None, *, to: str, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Put Series into another Collection, which may be a new one."""
        return self._change(self._chosen(uids, VISIBLE, which), Collection=to)

    def revise(
        self,
        uids: Iterable[str] | None = None,
        *,
        image_count: int | None = None,
        **which: Unpack[CollectionSelection],
    ) -> list[str]:
        """Other pixels under the same UIDs, submitted now; optionally more or fewer objects."""
        counted = {} if image_count is None else {"ImageCount": image_count}
        submitted = self._now().replace(microsecond=0)  # as much as the archive's database keeps
        chosen = self._chosen(uids, VISIBLE, which)
        more = "revision = revision + 1"
        return self._change(chosen, more, MaxSubmissionTimestamp=submitted, **counted)

    def reset(self) -> None:
        """The catalogue as it was, and the default shared lists."""
        with self._lock:
            self._store.reset()
            self._touched = {}
            self._collections = self._named()
            self._lists = self._default_lists

    def _chosen(
        self, uids: Iterable[str] | None, fate: str, which: CollectionSelection
    ) -> list[str]:
        """These Series, whatever became of them; else those of a Collection that have that fate."""
        if uids is not None and not which:
            return list(uids)
        if uids is not None or not {"collection"} <= set(which) <= {"collection", "count"}:
            raise UsageError(f"name Series by UID, or a Collection and a count, not {[*which]}")
        name, count = which["collection"], which.get("count")
        if name not in self._collections:
            raise UnknownName("Collection", name, self._collections)
        rows = self.rows(
            "SELECT SeriesInstanceUID AS uid FROM archive.everything "
            "WHERE Collection = ? AND fate = ? ORDER BY uid DESC LIMIT ?",
            [name, fate, _ALL if count is None else count],
        )
        return sorted(row["uid"] for row in rows)

    def _change(self, uids: list[str], *also: str, **values: object) -> list[str]:
        """Set columns of Series, all at once.

        Raises:
            UnknownName: a Series does not exist, or was withdrawn; then nothing is changed.
        """
        settings = ", ".join([*also, *(f"{sql.identifier(name)} = ?" for name in values)])
        with self._lock:
            places = [self._known(uid).place for uid in uids]
            self._store.change(places, settings, list(values.values()))
            self._touched = {row.pop("uid"): Facts(**row) for row in self.rows(_TOUCHED)}
            self._collections = self._named()
        return uids

    def _known(self, uid: str) -> Facts:
        facts = self.facts(uid)
        if facts is None:
            raise UnknownName("Series", uid, ())
        return facts

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fold(name: str) -> str:
    return name.rstrip(" ").upper()
