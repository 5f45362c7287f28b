"""The manifest of a Collection while runs add to it.

What belongs here: how a row is kept as soon as it is there. What does not: what it says.

Each run appends its rows to a journal of its own, which costs nothing and needs no lock, and folds
them into the partition every few seconds. A journal that a killed run leaves is folded by the next.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import DataError, StorageError
from tcia_assets.images.places import folder, quarantine_path, zip_path
from tcia_assets.metadata import history
from tcia_assets.store.locks import open_locked
from tcia_assets.store.warehouse import Warehouse

Row = dict[str, Any]

# A fold costs more the more rows there are: what lies between two is so many times what one took,
# and at least so many seconds.
_FOLD_EVERY_S = 5.0
_FOLD_EVERY_TIMES = 20.0
_LONGEST_BETWEEN_FOLDS_S = 300.0
# By these a row is known to be still the one that was read.
_SAME = ("status", "sha256", "fetched_at")
_UID = IMAGE_ARCHIVES.key[0]
_OF_EVENTS = (_UID, "fetched_at", "sha256", "fingerprint")


class Manifest:
    """What one run adds to the manifest of a Collection; to be closed, however the run ends."""

    def __init__(self, warehouse: Warehouse, collection: str) -> None:
        self._warehouse, self._collection = warehouse, collection
        place = warehouse.root / folder(collection)
        _fold_dead_journals(place, warehouse, collection)
        self._stored = read(warehouse, collection)
        self._journal = _Journal(place)
        self._unfolded: dict[str, Row] = {}
        self._fold_at = time.monotonic() + _FOLD_EVERY_S

    def known(self, uids: Iterable[str]) -> dict[str, Row]:
        """What the manifest said of these Series when the run began, where it said anything.

        To be asked in the thread that may be interrupted, before others begin: the first time,
        Arrow imports what it needs, and an interrupt that hits Python in the midst of an import
        can leave it locked for all other threads.
        """
        return _of(self._stored, list(uids))

    def put(self, row: Row) -> None:
        """Keeps a row: in the journal at once, in the partition within seconds."""
        self._journal.append(row)
        self._unfolded[row[_UID]] = row
        if time.monotonic() > self._fold_at:
            self._fold()

    def close(self) -> None:
        """All rows are in the partition, which exists also where there are none.

        Raises:
            StorageError: the disk refuses; the journal stays, and the next run folds it.
        """
        try:
            self._fold()
            self._journal.remove()
        finally:
            self._journal.close()

    def _fold(self) -> None:
        began = time.monotonic()
        # This run has fetched them, so they are the newest, whatever the clock says.
        fold(self._warehouse, self._collection, self._unfolded.values(), over_newer=True)
        self._unfolded.clear()
        ended = time.monotonic()
        pause = min(_FOLD_EVERY_TIMES * (ended - began), _LONGEST_BETWEEN_FOLDS_S)
        self._fold_at = ended + max(pause, _FOLD_EVERY_S)


def read(warehouse: Warehouse, collection: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The manifest of a Collection, or some columns of it; without rows where there is none."""
    return warehouse.read_or_empty(IMAGE_ARCHIVES, collection, columns)


def complete(warehouse: Warehouse, collection: str, columns: Sequence[str]) -> list[Row]:
    """These columns of the rows that are complete: of a large Collection, all take seconds."""
    rows = read(warehouse, collection, [*columns, "status"])
    found: list[Row] = rows.filter(pc.equal(rows["status"], "complete")).to_pylist()
    return found


def fold(
    warehouse: Warehouse, collection: str, rows: Iterable[Row], *, over_newer: bool = False
) -> None:
    """These rows stand in the manifest in place of older ones of their Series, or of any.

    Only rows of a run that is gone need the comparison: what others did since then is not known.
    """
    with warehouse.update(IMAGE_ARCHIVES, collection) as partition:
        stored = partition.rows
        rows = list(rows)
        newest = {} if over_newer else _of(stored, [row[_UID] for row in rows])
        for row in rows:
            there = newest.get(row[_UID])
            if over_newer or there is None or there["fetched_at"] <= row["fetched_at"]:
                newest[row[_UID]] = row
        partition.rows = _replaced(stored, newest)


def amend(
    warehouse: Warehouse, collection: str, changes: Iterable[tuple[Row | None, Row]]
) -> list[Row]:
    """Rows that were made from rows read earlier stand in their place, where those still stand.

    None is no row. A Series that was fetched meanwhile keeps what it has. Returns what stands now.
    """
    changes = list(changes)
    if not changes:
        return []
    with warehouse.update(IMAGE_ARCHIVES, collection) as partition:
        stored = partition.rows
        there = _of(stored, [row[_UID] for _, row in changes])
        kept = {row[_UID]: row for seen, row in changes if _is_same(seen, there.get(row[_UID]))}
        partition.rows = _replaced(stored, kept)
    return list(kept.values())


def _is_same(seen: Row | None, there: Row | None) -> bool:
    if seen is None or there is None:
        return seen is there
    return all(seen[name] == there[name] for name in _SAME)


def _of(stored: pa.Table, uids: list[str]) -> dict[str, Row]:
    rows = stored.filter(_is_in(stored, uids)).to_pylist()
    return {row[_UID]: row for row in rows}


def _is_in(stored: pa.Table, uids: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(stored[_UID], value_set=pa.array(list(uids), pa.string()))


def _replaced(stored: pa.Table, rows: dict[str, Row]) -> pa.Table:
    """Return the stored rows with these in place of their Series'; in Arrow, for they are many."""
    others = stored.filter(pc.invert(_is_in(stored, rows)))
    fresh = pa.Table.from_pylist(list(rows.values()), schema=IMAGE_ARCHIVES.schema)
    return pa.concat_tables([others, fresh])


def set_aside(warehouse: Warehouse, collection: str) -> str:
    """A manifest that cannot be read lies in quarantine from now on; where, or "" if it is sound.

    Raises:
        StorageError: the disk refuses.
    """
    path = warehouse.path(IMAGE_ARCHIVES, collection)
    with warehouse.lock(IMAGE_ARCHIVES, collection):
        if _is_sound(warehouse, collection):
            return ""
        name = f"manifest-{secrets.token_hex(8)}-{path.name}"
        place = str(Path(quarantine_path(collection, "")).with_name(name))
        try:
            (warehouse.root / place).parent.mkdir(parents=True, exist_ok=True)
            path.replace(warehouse.root / place)
        except OSError as error:
            raise StorageError(f"{path} cannot be moved to {place}: {error.strerror}") from error
    return place


def _is_sound(warehouse: Warehouse, collection: str) -> bool:
    try:
        read(warehouse, collection)
    except DataError:
        return False
    except OSError as error:
        if error.errno:
            path = warehouse.path(IMAGE_ARCHIVES, collection)
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        # Arrow says so of pages that it cannot unpack; the disk's own refusals have a number.
        return False
    return True


def give_up(warehouse: Warehouse, collection: str, uids: Iterable[str]) -> None:
    """These Series are another Collection's now, their zips with them."""
    gone = set(uids)
    with warehouse.update(IMAGE_ARCHIVES, collection) as partition:
        kept = partition.rows.filter(pc.invert(_is_in(partition.rows, gone)))
        if kept.num_rows < partition.rows.num_rows:
            partition.rows = kept
    for uid in gone:
        (warehouse.root / zip_path(collection, uid)).unlink(missing_ok=True)


def tell(warehouse: Warehouse, collection: str) -> None:
    """What is complete by now stands in the history, also where the run that did it was killed.

    A zip that was taken over from the Collection that its Series left was fetched there.
    """
    known = _known_marks(warehouse, collection)
    events = [
        history.Fetched(
            row[_UID],
            "refetched" if known.get(row[_UID]) else "fetched",
            row["fetched_at"],
            row["sha256"],
            fingerprint_after=row["fingerprint"],
        )
        for row in complete(warehouse, collection, _OF_EVENTS)
        if row["sha256"] not in known.get(row[_UID], ())
    ]
    history.record(collection, events, warehouse)


def _known_marks(warehouse: Warehouse, collection: str) -> dict[str, set[str]]:
    """By UID, the marks of what was fetched here, or before the Series came here."""
    known = history.fetched(collection, warehouse)
    arrived: dict[str, list[str]] = {}
    for uid, names in history.moved_into(collection, warehouse).items():
        for name in names:
            arrived.setdefault(name, []).append(uid)
    for name, uids in arrived.items():
        elsewhere = history.fetched(name, warehouse)
        for uid in uids:
            known.setdefault(uid, set()).update(elsewhere.get(uid, ()))
    return known


class _Journal:
    """Rows as lines of JSON; locked while its run lives."""

    def __init__(self, place: Path) -> None:
        self._path = place / f".{secrets.token_hex(8)}.journal"
        try:
            place.mkdir(parents=True, exist_ok=True)
            # Locked, so that no other run takes it for a dead one's and removes it.
            self._descriptor = open_locked(self._path, os.O_APPEND | os.O_WRONLY)
        except OSError as error:
            raise StorageError(f"{place} cannot be written to: {error.strerror}") from error

    def append(self, row: Row) -> None:
        line = (json.dumps(row, default=datetime.isoformat) + "\n").encode()
        end = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror}") from error
        if written < len(line):
            # There may be room again for the next row, which must begin a line.
            os.ftruncate(self._descriptor, end)
            raise StorageError(f"{self._path} cannot be written: the disk is full")

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._descriptor)


def _fold_dead_journals(place: Path, warehouse: Warehouse, collection: str) -> None:
    for path in sorted(place.glob(".*.journal")):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fold(warehouse, collection, _rows(path, file.read().decode(errors="replace")))
                path.unlink(missing_ok=True)
        except BlockingIOError:
            continue  # its run lives, and folds it itself
        except FileNotFoundError:
            continue  # its run has just folded it


def _rows(path: Path, text: str) -> list[Row]:
    """The rows of a journal; of its last line the kill may have left a part."""
    lines = text.split("\n")
    return [_row(path, line) for line in lines[:-1]]


def _row(path: Path, line: str) -> Row:
    try:
        row: Row = json.loads(line)
        return row | {_UID: row[_UID], "fetched_at": datetime.fromisoformat(row["fetched_at"])}
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{path} holds {line[:80]!r}, which is no row; move it away to go on"
        raise DataError(problem, table=IMAGE_ARCHIVES.name) from error
