"""Locks between processes; the system releases each when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from tcia_assets.errors import Busy, StorageError


@contextlib.contextmanager
def hold_lock(path: Path, what: str, *, wait: float) -> Iterator[None]:
    """Hold the lock whose file is at the path.

    Args:
        path: The lock file; it and its folder are created.
        what: What the lock guards, for the error message.
        wait: How many seconds to wait for another holder.

    Raises:
        Busy: Another process or thread still holds it after `wait` seconds.
        StorageError: The lock file cannot be created.
    """
    guard = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        guard.acquire(timeout=wait)
    except Timeout:
        problem = f"{what} has been locked by another run for more than {wait:g} s"
        raise Busy(f"{problem}: {path}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path} cannot be written: {reason}") from error
    try:
        yield
    finally:
        guard.release()


def open_locked(path: Path, flags: int = os.O_RDWR, *, wait: bool = True) -> int:
    """Create or open a file that its holder removes at the end, and lock it.

    Args:
        path: The file. Whoever can lock it may take its last holder for dead.
        flags: How to open it, as for `os.open`.
        wait: Whether to wait for another holder.

    Returns:
        The descriptor; closing it releases the lock.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is false.
    """
    operation = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        descriptor = os.open(path, os.O_CREAT | flags, 0o666)
        try:
            fcntl.flock(descriptor, operation)
        except BaseException:
            os.close(descriptor)
            raise
        if _is_at(descriptor, path):
            return descriptor
        # Its last holder, or a process that found the lock free, removed it before it was locked.
        os.close(descriptor)


def try_lock(file: IO[bytes]) -> None:
    """Lock an open file until it is closed.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock of an existing file.

    Raises:
        FileNotFoundError: There is no such file any more.
    """
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
