"""A folder for bodies that are read and thrown away; what a killed process left goes with the next.

What belongs here: whose folder it is, and when it goes. What does not: what lies in it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX, _LOCK = "tcia-replies-", "lock"
# Who has just made a folder may not hold its lock yet.
_YOUNG_S = 60.0


class Scratch:
    """A folder in the system's place for such, until `close`.

    The system releases its lock when the process ends, however that happens: whoever comes next
    removes what nobody holds.
    """

    def __init__(self) -> None:
        _remove_abandoned(Path(tempfile.gettempdir()))
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
        self.path = Path(self._folder.name)
        # Whoever closes it may be another thread than this.
        self._lock = FileLock(self.path / _LOCK, thread_local=False)
        self._lock.acquire()

    def close(self) -> None:
        self._lock.release()
        self._folder.cleanup()


def _remove_abandoned(place: Path) -> None:
    for lock in place.glob(f"{_PREFIX}*/{_LOCK}"):
        # Held, or another user's, or gone by now.
        with suppress(OSError, Timeout):
            if time.time() - lock.parent.stat().st_mtime > _YOUNG_S:
                with FileLock(lock, timeout=0):
                    shutil.rmtree(lock.parent)
