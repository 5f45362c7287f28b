"""Whole objects on this machine, named by their SHA-256, up to a number of bytes.

    <folder>/<first two digits>/<SHA-256>

What was used longest ago goes first. A file in use is locked, so that no other process removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from tcia_assets.store.archives import ChangedFile
from tcia_assets.store.files import find_dead_drafts, publish, sha256_of, storage_errors
from tcia_assets.store.locks import open_locked, try_lock

_PIECE_BYTES = 1 << 20
# What was added is still to be read, once: it counts as used so much later, until it is.
_UNREAD_NS = 24 * 3600 * 10**9


class FileCache:
    """A folder of files, shared by the processes of a machine.

    Args:
        folder: The folder; it need not exist yet.
        max_bytes: The most that its files take, but for those in use.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes

    @contextmanager
    def use(self, sha256: str, open_source: Callable[[], BinaryIO]) -> Iterator[Path]:
        """Provide a file with this SHA-256; it stays while the block lasts.

        Args:
            sha256: Of its bytes.
            open_source: Opens what is copied if the file is not here.

        Raises:
            ChangedFile: The source has other bytes.
            StorageError: The disk is full.
        """
        path = self._path(sha256)
        with contextlib.ExitStack() as stack:
            while not self._hold(path, stack) or sha256_of(path) != sha256:
                self._fetch(open_source, path, sha256)  # also in place of one that rotted here
            modified = path.stat().st_mtime_ns
            os.utime(path, ns=(time.time_ns(), modified))
            yield path
        self.make_room(0)

    @contextmanager
    def copy(self, open_source: Callable[[], BinaryIO]) -> Iterator[Path]:
        """Provide a copy of a source; it is removed at the end.

        Raises:
            StorageError: The disk is full.
        """
        draft = self._folder / f".{secrets.token_hex(8)}.draft"
        with open_source() as source, storage_errors(draft):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = open_locked(draft)
            try:
                with draft.open("wb") as target:
                    shutil.copyfileobj(source, target, _PIECE_BYTES)
            except BaseException:
                draft.unlink()
                os.close(descriptor)
                raise
        try:
            yield draft
        finally:
            draft.unlink()
            os.close(descriptor)

    def add(self, file: Path, sha256: str) -> None:
        """Move a file here that has this SHA-256, or remove it if it is too large.

        It goes after those that were used, until it is used.
        """
        size = file.stat().st_size
        if size > self._max_bytes:
            file.unlink()
            return
        self.make_room(size)
        path = self._path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        modified = file.stat().st_mtime_ns
        os.utime(file, ns=(time.time_ns() + _UNREAD_NS, modified))
        file.replace(path)

    def make_room(self, size_bytes: int) -> None:
        """Remove what was used longest ago, until this many bytes more are within the limit."""
        files = sorted(self._files())
        total = size_bytes + sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self._max_bytes:
                return
            if _remove_unused(path):
                total -= size

    def _fetch(self, open_source: Callable[[], BinaryIO], path: Path, sha256: str) -> None:
        with open_source() as source:
            self._remove_dead_drafts()
            self.make_room(source.seek(0, os.SEEK_END))
            source.seek(0)
            try:
                publish(path, lambda draft: _copy(source, draft, sha256), keep_equal=False)
            except _Differs:
                problem = "its SHA-256 differs from the one in the manifest"
                raise ChangedFile(errno.EIO, problem) from None

    def _remove_dead_drafts(self) -> None:
        for draft in find_dead_drafts(self._folder):
            draft.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Yield time of last use, size and path of each file; drafts are left out."""
        for path in self._folder.glob("??/[!.]*"):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                yield stat.st_atime_ns, stat.st_size, path

    def _hold(self, path: Path, stack: contextlib.ExitStack) -> bool:
        """Lock a file against removal until the stack ends; returns False if it is not there."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        fcntl.flock(file, fcntl.LOCK_SH)
        if _is_at(file, path):
            stack.callback(file.close)
            return True
        file.close()  # another process removed it before it was locked
        return False


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_unused(path: Path) -> bool:
    """Remove a file unless a process is using it."""
    try:
        with path.open("rb") as file:
            try_lock(file)
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


class _Differs(Exception):
    """What was copied has another SHA-256; no OSError, which would mean that the disk fails."""


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(_PIECE_BYTES)
    except ChangedFile:
        raise _Differs from None


def _copy(source: BinaryIO, draft: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with draft.open("wb") as target:
        while piece := _read(source):
            digest.update(piece)
            target.write(piece)
    if digest.hexdigest() != sha256:
        raise _Differs
