"""A temporary folder for replies. The next process removes what a killed one left behind."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tcia_assets.errors import StorageError

_PREFIX, _LOCK = "tcia-replies-", "lock"
# The process that made a folder may not hold its lock yet.
_YOUNG_S = 60.0


class Scratch:
    """A folder in the system's temporary directory, until `close`.

    A lock in the folder is held as long as the process lives: the system releases it when the
    process ends, however that happens, and then any other process may remove the folder.
    """

    def __init__(self) -> None:
        with scratch_errors():
            _remove_abandoned(Path(tempfile.gettempdir()))
            self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
            self.path = Path(self._folder.name)
            # It may be closed by another thread than the one that opened it.
            self._lock = FileLock(self.path / _LOCK, thread_local=False)
            self._lock.acquire()

    def close(self) -> None:
        self._lock.release()
        self._folder.cleanup()


@contextmanager
def scratch_errors() -> Iterator[None]:
    """Raise StorageError, with what to do, for an OSError of the body."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"a reply cannot be stored in the temporary folder: {reason}; make room there, or set "
            "TMPDIR to another folder"
        ) from error


def _remove_abandoned(parent: Path) -> None:
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        # Skip a folder that is in use, belongs to another user, or was just removed.
        with suppress(OSError, Timeout):
            if time.time() - lock.parent.stat().st_mtime > _YOUNG_S:
                with FileLock(lock, timeout=0):
                    shutil.rmtree(lock.parent)
