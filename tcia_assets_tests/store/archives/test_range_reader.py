"""What is read in ranges is what a file with the same bytes gives."""

from __future__ import annotations

import io
from zipfile import ZipFile

from tcia_assets.store.archives.range_reader import RangeReader


def test_a_zip_is_read_by_requests_for_what_is_needed_of_it() -> None:
    content = io.BytesIO()
    with ZipFile(content, "w") as made:
        for number in range(9):
            made.writestr(f"{number}.dcm", bytes([number]) * 10_000)
    whole, requested = content.getvalue(), []

    def read_range(start: int, end: int) -> memoryview:
        requested.append(end - start)
        return memoryview(whole)[start:end]

    with ZipFile(io.BufferedReader(RangeReader(read_range, len(whole)), 1000)) as found:
        assert found.namelist() == [f"{number}.dcm" for number in range(9)]
        assert found.read("4.dcm") == bytes([4]) * 10_000
    assert sum(requested) < len(whole) / 3


def test_nothing_is_requested_beyond_the_end() -> None:
    def read_range(start: int, end: int) -> memoryview:
        assert start < end <= 6
        return memoryview(b"abcdef")[start:end]

    reader = RangeReader(read_range, 6)
    assert reader.seek(-2, io.SEEK_END) == 4
    assert (reader.read(9), reader.read(9), reader.tell()) == (b"ef", b"", 6)
    assert reader.seek(9) == 9 and reader.read(1) == b""
    assert reader.seek(-99, io.SEEK_CUR) == 0 and reader.readall() == b"abcdef"
