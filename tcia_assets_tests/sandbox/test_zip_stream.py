"""Zips as streams: format, timestamps, sizes of chunks."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
import zlib

import pytest

from tcia_assets.sandbox.zip_stream import EMPTY, Entry, merge_chunks, zip_chunks

NOW = dt.datetime(2026, 1, 2, 3, 4, 6)  # noqa: DTZ001 - zips have local times


def opened(*entries: Entry) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(zip_chunks(entries, NOW))))


def test_entries_are_read_back_with_their_names_modes_and_times() -> None:
    archive = opened(Entry("a", [b"one", b"two"]), Entry("é", (), mode=0o120777))
    assert archive.testzip() is None
    first, second = archive.infolist()
    assert (archive.read("a"), archive.read("é")) == (b"onetwo", b"")
    assert (first.date_time, first.external_attr) == ((2026, 1, 2, 3, 4, 6), 0)
    assert second.external_attr >> 16 == 0o120777


def test_a_zip_without_entries_is_the_empty_zip() -> None:
    assert b"".join(zip_chunks([])) == EMPTY


def test_deflated_content_is_copied() -> None:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflate.compress(bytes(5000)) + deflate.flush()
    archive = opened(Entry("zeros", [deflated], deflated=(zlib.crc32(bytes(5000)), 5000)))
    assert archive.read("zeros") == bytes(5000)
    assert archive.getinfo("zeros").compress_size == len(deflated)


@pytest.mark.slow
def test_more_entries_than_a_plain_zip_can_hold_are_counted_in_zip64() -> None:
    with opened(*(Entry(f"{number}", ()) for number in range(1 << 16))) as archive:
        assert len(archive.namelist()) == 1 << 16


@pytest.mark.parametrize("size", [1, 3, 100])
def test_merged_chunks_have_the_size_and_the_same_bytes(size: int) -> None:
    pieces = [bytes([number]) * 2 for number in range(10)]
    merged = list(merge_chunks(pieces, size))
    assert b"".join(merged) == b"".join(pieces)
    assert all(len(chunk) >= size for chunk in merged[:-1])
