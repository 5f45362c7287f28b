"""A file that is read in ranges, each by a request."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class RangeReader(io.RawIOBase):
    """Bytes at a distance as a file that can be read and sought.

    Args:
        read_range: Returns the bytes from a position up to another one.
        size: The number of all bytes.
    """

    def __init__(self, read_range: Callable[[int, int], memoryview], size: int) -> None:
        super().__init__()
        self._read_range, self._size = read_range, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        end = min(self._position + len(view), self._size)
        if end <= self._position:
            return 0
        piece = self._read_range(self._position, end)
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
