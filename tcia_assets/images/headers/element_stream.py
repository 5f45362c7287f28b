"""Read the elements of a DICOM object from a stream, holding only a piece of it.

Buffering belongs here. How an element is encoded is in `elements.py`, what it means in
`referenced_objects.py`.
"""

from __future__ import annotations

import struct
from typing import IO

from tcia_assets.formats.elements import (
    Encoding,
    TruncatedHeader,
    detect_encoding,
    inflate_body,
    read_element,
    read_meta,
)

_PIECE_BYTES = 1 << 16
# The most that `read_element` reads before an element's value.
_ELEMENT_HEAD_BYTES = 12
# The most that is read of an object whose body is deflated.
_MAX_DEFLATED_BYTES = 1 << 26


class ElementStream:
    """A DICOM object as a stream of elements, after its file meta information.

    Methods raise TruncatedHeader if the object ends too early. Reading from the stream raises
    whatever the stream raises.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """Read the file meta information; raise ValueError if the stream is not a DICOM file."""
        self._stream: IO[bytes] | None = stream
        self._buffer, self._offset = b"", 0
        self._bytes_before_buffer = 0
        self._fill(_PIECE_BYTES)
        start = read_meta(self._buffer, {})
        if not start.is_complete:
            raise _truncated()
        self.skip(start.offset)
        if start.is_deflated:
            self._fill(_MAX_DEFLATED_BYTES)
            self._buffer, self._offset = inflate_body(self._buffer[self._offset :]), 0
            self._stream = None
        self._fill(_ELEMENT_HEAD_BYTES)
        self.encoding = detect_encoding(self._buffer, self._offset, start.order)

    @property
    def position(self) -> int:
        """The number of bytes read and skipped so far."""
        return self._bytes_before_buffer + self._offset

    @property
    def is_at_end(self) -> bool:
        """Whether no bytes are left."""
        return self._offset >= len(self._buffer) and not self._fill(1)

    def read_element(self, encoding: Encoding) -> tuple[int, bytes, int]:
        """Return tag, VR and length of the next element. Its value must be taken or skipped."""
        self._fill(_ELEMENT_HEAD_BYTES)
        try:
            tag, vr, length, self._offset = read_element(self._buffer, self._offset, encoding)
        except struct.error:
            raise _truncated() from None
        return tag, vr, length

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if not self._fill(count):
            raise _truncated()
        self._offset += count
        return self._buffer[self._offset - count : self._offset]

    def skip(self, count: int) -> None:
        """Skip the next bytes."""
        while count > len(self._buffer) - self._offset:
            count -= len(self._buffer) - self._offset
            self._offset = len(self._buffer)
            if not self._fill(1):
                raise _truncated()
        self._offset += count

    def _fill(self, count: int) -> bool:
        """Buffer the next `count` bytes; return False if fewer are left."""
        while len(self._buffer) - self._offset < count and self._stream is not None:
            piece = self._stream.read(max(_PIECE_BYTES, count))
            if not piece:
                self._stream = None
            self._bytes_before_buffer += self._offset
            self._buffer, self._offset = self._buffer[self._offset :] + piece, 0
        return len(self._buffer) - self._offset >= count


def _truncated() -> TruncatedHeader:
    return TruncatedHeader("the object ends within its header")
