"""The Series of the sandbox archive, and changes to them: release, withdraw, move and others.

The current Series are found by UID or by SQL. They are stored in `database.py`; the query of a
request is built in `queries.py`.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypedDict, Unpack

import pyarrow as pa

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.database import Database
from tcia_assets.sandbox.series_index import HIDDEN, VISIBLE, WITHDRAWN, SeriesFacts, SeriesIndex
from tcia_assets.store import sql
from tcia_assets.store.files import publish

# The image Series that a SEG, RTSTRUCT or RTDOSE refers to. It is chosen from the original
# catalogue, so that changes to other Series do not change the objects.
_REFERENCED = """
    SELECT other.row_number
    FROM archive.catalogue AS one
    JOIN archive.catalogue AS other USING (StudyInstanceUID)
    WHERE one.row_number = ? AND other.Modality IN ('CT', 'MR', 'PT')
    ORDER BY list_position(['CT', 'MR', 'PT'], other.Modality), other.SeriesInstanceUID
    LIMIT 1
"""
_BY_UID = """
    SELECT SeriesInstanceUID, row_number, ImageCount, FileSize FROM archive.catalogue
    ORDER BY SeriesInstanceUID
"""
_CHANGED = """
    SELECT SeriesInstanceUID AS uid, row_number, ImageCount AS image_count, FileSize AS file_size,
        state, revision
    FROM archive.changed
"""
_SHARED_LISTS = {
    "One Series per Collection": """
        SELECT min(SeriesInstanceUID) AS uid FROM archive.catalogue GROUP BY Collection
    """,
    "Segmentations": """
        SELECT SeriesInstanceUID AS uid FROM archive.catalogue
        WHERE Modality IN ('SEG', 'RTSTRUCT') ORDER BY row_number LIMIT 50
    """,
}
_NO_LIMIT = 2**62
_SMALL = 256 << 10  # bytes of a Series
_REFERRING_MODALITIES = {"SEG", "RTSTRUCT", "RTDOSE"}


class CollectionSelection(TypedDict, total=False):
    """Select all Series of a Collection, or the last `count` by UID."""

    collection: str
    count: int | None


class Archive:
    """The Series of a catalogue and their current state; safe to use from many threads.

    `tables` and `rows` run SQL over `archive.series` (the visible Series) or `archive.everything`.

    Args:
        catalogue: The Series at the start, or their Parquet file.
        now: The current time, for release dates and submission times.
        state: A file that keeps the changes; those that it has are made at the start.
    """

    def __init__(
        self,
        catalogue: pa.Table | Path,
        *,
        now: Callable[[], dt.datetime] | None = None,
        state: Path | None = None,
    ) -> None:
        self._state = state
        self._now = now or (lambda: dt.datetime.now(dt.UTC))
        self._lock = threading.RLock()
        self._database = Database(catalogue)
        self.tables, self.rows = self._database.tables, self._database.rows
        self.columns, self.source = self._database.columns, self._database.source
        if state and state.is_file():
            self._database.load_changes(state)
        self._changed = self._changed_series()
        (rows,) = self.tables([_BY_UID])
        self._index = SeriesIndex(rows)
        self._collections = self._collection_names()
        self._lists = self._default_lists = {
            name: tuple(sorted(row["uid"] for row in self.rows(statement)))
            for name, statement in _SHARED_LISTS.items()
        }

    def _changed_series(self) -> dict[str, SeriesFacts]:
        return {row.pop("uid"): SeriesFacts(**row) for row in self.rows(_CHANGED)}

    def _collection_names(self) -> list[str]:
        rows = self.rows("SELECT DISTINCT Collection AS name FROM archive.everything")
        return sorted(row["name"] for row in rows)

    # --- Reading --------------------------------------------------------------------------------

    def find(self, uid: str) -> SeriesFacts | None:
        """Return a visible or hidden Series, or None if there is none."""
        series = self._changed.get(uid) or self._index.find(uid)
        return None if series is None or series.state == WITHDRAWN else series

    def matching_collections(self, name: str) -> tuple[str, ...]:
        """Return the Collections of that name in any case, also those without visible Series."""
        return tuple(each for each in self._collections if _fold(each) == _fold(name))

    def row(self, row_number: int) -> dict[str, Any]:
        """Return the current row of a Series, visible or hidden."""
        return self.rows("FROM archive.everything WHERE row_number = ?", [row_number])[0]

    def objects(self, series: SeriesFacts) -> Iterator[tuple[str, bytes]]:
        """Yield the SOPInstanceUID and the file of each DICOM object of a Series."""
        row = self._row_of_files(series.row_number)
        referenced = self.referenced(series.row_number, row["Modality"])
        if series.file_size > _SMALL:
            return phantom.objects(row, referenced, series.revision)
        source = tuple(referenced.items()) if referenced else None
        return iter(_small_objects(tuple(row.items()), source, series.revision))

    def referenced(self, row_number: int, modality: str | None) -> dict[str, Any] | None:
        """Return the row of the image Series to which a Series refers, if it does."""
        if modality not in _REFERRING_MODALITIES:
            return None
        found = self.rows(_REFERENCED, [row_number])
        return self._row_of_files(found[0]["row_number"]) if found else None

    def _row_of_files(self, row_number: int) -> dict[str, Any]:
        """Return the current row with its original Collection: a move changes no file."""
        original = self.rows(
            "SELECT Collection FROM archive.catalogue WHERE row_number = ?", [row_number]
        )[0]
        return self.row(row_number) | original

    # --- Shared lists ---------------------------------------------------------------------------

    @property
    def lists(self) -> Mapping[str, tuple[str, ...]]:
        """The UIDs of each shared list, by its name."""
        return MappingProxyType(self._lists)

    def list_members(self, name: str) -> list[str]:
        """Return the UIDs on all shared lists of that name in any case."""
        return [uid for n, uids in self._lists.items() if _fold(n) == _fold(name) for uid in uids]

    def share(self, name: str, uids: Iterable[str]) -> None:
        """Create a shared list, or replace it."""
        with self._lock:
            self._lists = {**self._lists, name: tuple(uids)}

    # --- Changes --------------------------------------------------------------------------------

    # Each takes the UIDs of Series or a `CollectionSelection`, and returns the changed UIDs.

    def hold(
        self, uids: Iterable[str] | None = None, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Hide Series that are not released yet."""
        return self._change(self._chosen(uids, VISIBLE, which), state=HIDDEN, DateReleased=None)

    def release(
        self,
        uids: Iterable[str] | None = None,
        *,
        day: dt.date | None = None,
        **which: Unpack[CollectionSelection],
    ) -> list[str]:
        """Make hidden Series visible, with the release date `day` (default: today)."""
        day = day or self._now().date()
        return self._change(self._chosen(uids, HIDDEN, which), state=VISIBLE, DateReleased=day)

    def hide(
        self, uids: Iterable[str] | None = None, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Hide Series that keep their release date, as during a re-submission."""
        return self._change(self._chosen(uids, VISIBLE, which), state=HIDDEN)

    def show(
        self, uids: Iterable[str] | None = None, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Make hidden Series visible again, with the release date that they had."""
        return self._change(self._chosen(uids, HIDDEN, which), state=VISIBLE)

    def withdraw(
        self, uids: Iterable[str] | None = None, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Delete Series; a Collection without Series disappears."""
        return self._change(self._chosen(uids, VISIBLE, which), state=WITHDRAWN)

    def move(
        self, uids: Iterable[str] | None = None, *, to: str, **which: Unpack[CollectionSelection]
    ) -> list[str]:
        """Move Series to another Collection, which may be a new one."""
        return self._change(self._chosen(uids, VISIBLE, which), Collection=to)

    def revise(
        self,
        uids: Iterable[str] | None = None,
        *,
        image_count: int | None = None,
        **which: Unpack[CollectionSelection],
    ) -> list[str]:
        """Replace the pixels under the same UIDs, submitted now; optionally change the number."""
        counted = {} if image_count is None else {"ImageCount": image_count}
        submitted = self._now().replace(microsecond=0)  # the archive stores whole seconds
        chosen = self._chosen(uids, VISIBLE, which)
        more = "revision = revision + 1"
        return self._change(chosen, more, MaxSubmissionTimestamp=submitted, **counted)

    def reset(self) -> None:
        """Restore the original catalogue and the default shared lists."""
        with self._lock:
            self._database.reset()
            self._follow_changes()
            self._lists = self._default_lists

    def _chosen(
        self, uids: Iterable[str] | None, state: str, which: CollectionSelection
    ) -> list[str]:
        """Return these UIDs, or those of a Collection's Series that have this state."""
        if uids is not None and not which:
            return list(uids)
        if uids is not None or not {"collection"} <= set(which) <= {"collection", "count"}:
            raise UsageError(f"name Series by UID, or a Collection and a count, not {[*which]}")
        name, count = which["collection"], which.get("count")
        if name not in self._collections:
            raise UnknownName("Collection", name, self._collections)
        rows = self.rows(
            "SELECT SeriesInstanceUID AS uid FROM archive.everything "
            "WHERE Collection = ? AND state = ? ORDER BY uid DESC LIMIT ?",
            [name, state, _NO_LIMIT if count is None else count],
        )
        return sorted(row["uid"] for row in rows)

    def _change(self, uids: list[str], *also: str, **values: object) -> list[str]:
        """Set columns of Series, all or none.

        Raises:
            UnknownName: A Series does not exist or was withdrawn.
        """
        settings = ", ".join([*also, *(f"{sql.identifier(name)} = ?" for name in values)])
        with self._lock:
            row_numbers = [self._existing(uid).row_number for uid in uids]
            self._database.change(row_numbers, settings, list(values.values()))
            self._follow_changes()
        return uids

    def _follow_changes(self) -> None:
        self._changed = self._changed_series()
        self._collections = self._collection_names()
        if self._state:
            publish(self._state, self._database.save_changes)

    def _existing(self, uid: str) -> SeriesFacts:
        series = self.find(uid)
        if series is None:
            raise UnknownName("Series", uid, ())
        return series

    def close(self) -> None:
        """Close the database and remove its files."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@lru_cache(maxsize=256)
def _small_objects(
    row: tuple[tuple[str, Any], ...], source: tuple[tuple[str, Any], ...] | None, revision: int
) -> tuple[tuple[str, bytes], ...]:
    """Return the objects of a small Series, which clients ask for again and again."""
    return tuple(phantom.objects(dict(row), dict(source) if source else None, revision))


def _fold(name: str) -> str:
    return name.rstrip(" ").upper()
