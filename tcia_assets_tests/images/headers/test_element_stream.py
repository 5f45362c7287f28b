"""An object is read as a stream of elements, of which only a piece is held."""

from __future__ import annotations

import io

import pytest

from tcia_assets.formats.elements import TruncatedHeader
from tcia_assets.images.headers.element_stream import ElementStream
from tcia_assets_tests.images.headers.dicom_bytes import (
    LAST_ELEMENT,
    SERIES,
    SOP,
    dicom_file,
    element,
)


def skip_all(stream: ElementStream) -> list[int]:
    """Skip all values, and return the tags."""
    tags = []
    while not stream.is_at_end:
        tag, _, length = stream.read_element(stream.encoding)
        stream.skip(length)
        tags.append(tag)
    return tags


class CountingStream(io.BytesIO):
    """A stream that records the most bytes that were read at once."""

    largest_read = 0

    def read(self, size: int | None = -1) -> bytes:
        self.largest_read = max(self.largest_read, size or 0)
        return super().read(size)


def test_elements_are_read_taken_and_skipped() -> None:
    content = dicom_file(element(0x00280010, "US", b"\2\0"), element(0x00091001, "OB", b"x" * 10))
    stream = ElementStream(io.BytesIO(content))
    values = {}
    while not stream.is_at_end:
        tag, vr, length = stream.read_element(stream.encoding)
        if vr == b"OB":
            stream.skip(length)
        else:
            values[tag] = stream.take(length).strip()
    assert values == {0x00080018: SOP.encode(), 0x0020000E: SERIES.encode(), 0x00280010: b"\2\0"}
    assert stream.position == len(content)


def test_a_long_value_is_skipped_in_pieces() -> None:
    long = element(0x00091001, "OB", bytes(1 << 20))
    source = CountingStream(dicom_file(long, LAST_ELEMENT))
    assert skip_all(ElementStream(source)) == [0x00080018, 0x00091001, 0x0020000E, 0x00290010]
    assert source.largest_read < 1 << 17


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_a_truncated_object_raises(cut: int) -> None:
    stream = ElementStream(io.BytesIO(dicom_file(LAST_ELEMENT)[:-cut]))
    with pytest.raises(TruncatedHeader, match="ends within its header"):
        skip_all(stream)


def test_truncated_file_meta_information_raises() -> None:
    with pytest.raises(TruncatedHeader):
        ElementStream(io.BytesIO(dicom_file()[:140]))
