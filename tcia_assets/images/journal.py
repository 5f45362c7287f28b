"""The journal of a run: the manifest rows that are not in the partition yet, as lines of JSON.

Journals lie in a folder of their own, so that nobody lists 200,000 zips to find them.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import DataError, StorageError
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.store.archives import RUNS
from tcia_assets.store.locks import is_locked, open_locked, try_lock

# Its time says when what killed runs left beside the zips was last removed.
_TIDIED = "tidied"
_TIDIED_EVERY_S = 24 * 3600.0


class Journal:
    """A file to which one run appends rows; it is locked while the run lives.

    Args:
        folder: The folder of the Collection's zips; it is created.

    Raises:
        StorageError: The file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RUNS / f"{secrets.token_hex(8)}.journal"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Locked, so that no other run takes it for a dead run's journal and removes it.
            self._descriptor = open_locked(self._path, os.O_APPEND | os.O_WRONLY)
        except OSError as error:
            raise StorageError(f"{folder} cannot be written to: {error.strerror}") from error

    def append(self, row: ManifestRow) -> None:
        """Write a row as the next line.

        Raises:
            StorageError: The file cannot be written; the journal is as before.
        """
        line = (row.to_json() + "\n").encode()
        end = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror}") from error
        if written < len(line):
            # The disk may have room again for the next row, which must start a new line.
            os.ftruncate(self._descriptor, end)
            raise StorageError(f"{self._path} cannot be written: the disk is full")

    def remove(self) -> None:
        """Remove the file: its rows are in the partition."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and release its lock."""
        os.close(self._descriptor)


def has_dead_journal(folder: Path) -> bool:
    """Return whether a killed run has left a journal in the folder of a Collection's zips."""
    return False in _journal_locks(folder)


def has_living_journal(folder: Path) -> bool:
    """Return whether a run is fetching into the folder of a Collection's zips."""
    return True in _journal_locks(folder)


def _journal_locks(folder: Path) -> Iterator[bool]:
    """Yield, for each journal, whether its run holds its lock."""
    for path in journals_in(folder):
        with suppress(FileNotFoundError):  # its run has just removed it
            yield is_locked(path)


def journals_in(folder: Path) -> list[Path]:
    """Return the journals of a Collection, sorted; of an earlier version they are beside zips."""
    runs = folder / RUNS
    return sorted(runs.glob("*.journal") if runs.is_dir() else folder.glob(".*.journal"))


def is_tidy(folder: Path) -> bool:
    """Return whether the folder was tidied within a day, and no run was killed since."""
    try:
        return time.time() - (folder / RUNS / _TIDIED).stat().st_mtime < _TIDIED_EVERY_S
    except FileNotFoundError:
        return False


def mark_tidy(folder: Path) -> None:
    """Record that the folder was tidied; a run has a journal in it."""
    (folder / RUNS / _TIDIED).touch()


def take_over_dead_journals(folder: Path, merge: Callable[[list[ManifestRow]], None]) -> None:
    """Merge the rows of journals whose run was killed, and remove these journals.

    Args:
        folder: The folder of the Collection's zips.
        merge: Called with the rows of each journal.

    Raises:
        DataError: A complete line of a journal is not a row.
    """
    for path in journals_in(folder):
        try:
            with path.open("rb") as file:
                try_lock(file)
                merge(parse_rows(str(path), file.read().decode(errors="replace")))
                (folder / RUNS / _TIDIED).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue  # its run lives and merges it itself, or has just merged it


def parse_rows(place: str, text: str) -> list[ManifestRow]:
    """Return the rows of a journal, without the incomplete last line that a kill may leave.

    Args:
        place: Where the journal is, for the error.
        text: What is in it.

    Raises:
        DataError: A complete line is not a row.
    """
    return [_parse(place, line) for line in text.split("\n")[:-1]]


def _parse(place: str, line: str) -> ManifestRow:
    try:
        return ManifestRow.from_json(line)
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{place} has the line {line[:80]!r}, which is not a row; move the file away"
        raise DataError(problem, table=IMAGE_ARCHIVES.name) from error
