"""A zip is refused if it violates the zip format or hides bytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance.rules import Expectation, accept, inspect
from tcia_assets.sandbox.zip_stream import EMPTY, Entry, zip_chunks
from tcia_assets_tests.examples import examples
from tcia_assets_tests.images.acceptance.sample_zips import (
    ATTRIBUTES,
    EXPECTED,
    FLAGS,
    IMAGES,
    METHOD,
    NAMES,
    NEEDS,
    OFFSET,
    SERIES,
    EditableZip,
    WriteZip,
    as_zip64,
    refusal,
    rename_member,
    series_zip,
    zip_without_list,
)


def test_64_bit_headers_are_read(write_zip: WriteZip) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in IMAGES.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert accept(write_zip(written.getvalue()), EXPECTED).image_count == 3


def test_a_64_bit_directory_is_read(write_zip: WriteZip) -> None:
    content = as_zip64(series_zip())
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    assert accept(write_zip(content), EXPECTED).image_count == 3


def test_two_end_records_that_disagree_are_refused(write_zip: WriteZip) -> None:
    content = EditableZip(as_zip64(series_zip()))
    content.put(len(content) - 12, "<H", 4)
    assert "two end records disagree" in refusal(write_zip(content))


@pytest.mark.parametrize(
    "name",
    [
        "../outside.dcm",
        "..\\outside.dcm",
        "/tmp/outside.dcm",
        "C:\\outside.dcm",
        "C:outside.dcm",
        "folder/",
        "folder/image.dcm",
        "..",
        ".",
        "",
        "a\nb.dcm",
        "a\0.dcm",
        "a\x1b[2J.dcm",
        "a\u202emcd.exe",
        "x" * 256,
    ],
)
def test_a_name_that_may_leave_the_folder_is_refused(write_zip: WriteZip, name: str) -> None:
    path = write_zip(series_zip(IMAGES, Entry(name, [b"outside"])))
    problem = refusal(path, Expectation(SERIES, 4, None))
    assert "the zip has a member named" in problem
    assert problem.isprintable()


def test_a_name_that_cannot_be_decoded_is_refused(write_zip: WriteZip) -> None:
    content = series_zip().replace(b"00000001.dcm", b"0000000\xff.dcm")
    assert "the zip has a member named b'0000000\\xff.dcm'" in refusal(write_zip(content))


@pytest.mark.parametrize("second", ["00000001.dcm", "00000001.DCM"])
def test_two_members_with_the_same_name_are_refused(write_zip: WriteZip, second: str) -> None:
    content = rename_member("00000002.dcm", second)
    assert f"two members of the zip have the name {second!r}" in refusal(write_zip(content))


@pytest.mark.parametrize(
    ("mode", "problem"),
    [(0o120777, "is a symbolic link"), (0o040755, "is not a file"), (0o020666, "is not a file")],
)
def test_a_member_that_is_not_a_file_is_refused(
    write_zip: WriteZip, mode: int, problem: str
) -> None:
    path = write_zip(series_zip(IMAGES, Entry("00000004.dcm", [b"/etc/passwd"], mode=mode)))
    assert problem in refusal(path, Expectation(SERIES, 4, None))


def test_a_dos_directory_is_refused(write_zip: WriteZip) -> None:
    zip_ = EditableZip(series_zip())
    zip_.put(zip_.central_at(1) + ATTRIBUTES, "<L", 0x10)
    assert "'00000001.dcm' is not a file" in refusal(write_zip(zip_))


@pytest.mark.parametrize("flag", [0x0001, 0x0020, 0x0040, 0x2000])
def test_an_encrypted_member_is_refused(write_zip: WriteZip, flag: int) -> None:
    content = EditableZip(series_zip()).put_in_both_headers(1, FLAGS, "<H", 0x0808 | flag)
    assert "'00000001.dcm' is encrypted" in refusal(write_zip(content))


@pytest.mark.parametrize("method", [9, 12, 14, 93, 99])
def test_an_unknown_compression_is_refused(write_zip: WriteZip, method: int) -> None:
    content = EditableZip(series_zip()).put_in_both_headers(1, METHOD, "<H", method)
    assert f"'00000001.dcm' is compressed by method {method}" in refusal(write_zip(content))


def test_a_later_zip_version_is_refused(write_zip: WriteZip) -> None:
    content = EditableZip(series_zip()).put_in_both_headers(1, NEEDS, "<B", 63)
    assert "needs more than a plain zip" in refusal(write_zip(content))


@pytest.mark.parametrize("expected", [EXPECTED, Expectation(SERIES, None, None)])
def test_a_million_members_are_refused_before_one_is_read(
    write_zip: WriteZip, expected: Expectation
) -> None:
    count, start = 1_000_000, 0
    directory = b"PK\1\2" * (46 * count // 4)
    content = (
        directory
        + struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start
        )
        + struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), start, 0)
    )
    assert "the zip claims 1000000 members; at most" in refusal(write_zip(content), expected)


def test_a_count_that_exceeds_the_directory_is_refused(write_zip: WriteZip) -> None:
    zip_ = EditableZip(series_zip())
    zip_.put(len(zip_) - 14, "<2H", 4, 4)
    assert "the zip is broken" in refusal(write_zip(zip_))


@pytest.mark.parametrize("number", [2, 3])
def test_overlapping_members_are_refused(write_zip: WriteZip, number: int) -> None:
    """Several records of the directory refer to the same data."""
    zip_ = EditableZip(series_zip())
    zip_[zip_.local_at(number) : zip_.local_at(number)] = b""
    zip_.put(zip_.central_at(number) + OFFSET, "<L", zip_.local_at(1))
    name_at = zip_.central_at(number) + 46
    zip_[name_at : name_at + 12] = b"0000000A.dcm"
    assert "overlaps the next member" in refusal(write_zip(zip_))


def test_a_member_that_contains_the_next_header_is_refused(write_zip: WriteZip) -> None:
    """A member's stored block holds the next member's local header and data."""
    inner = b"".join(zip_chunks([Entry("00000002.dcm", [IMAGES[NAMES[1]]])]))
    inner = inner[: EditableZip(inner).directory_at]
    block = b"\1" + struct.pack("<2H", len(inner), len(inner) ^ 0xFFFF) + inner
    outer = Entry("00000001.dcm", [block], deflated=(zlib.crc32(inner), len(inner)))
    zip_ = EditableZip(b"".join(zip_chunks([outer, Entry("00000002.dcm", [IMAGES[NAMES[1]]])])))
    zip_.put(zip_.central_at(1) + OFFSET, "<L", 30 + 12 + 5)
    assert "'00000001.dcm' overlaps the next member" in refusal(
        write_zip(zip_), Expectation(SERIES, 2, None)
    )


def insert_bytes(content: bytes, count: int, place: int) -> bytes:
    """Insert bytes at a place and correct all offsets after it."""
    zip_ = EditableZip(content)
    members = struct.unpack_from("<H", zip_, len(zip_) - 12)[0]
    for number in range(members):
        start = zip_.local_at(number)
        if start >= place:
            zip_.put(zip_.central_at(number) + OFFSET, "<L", start + count)
    zip_.put(len(zip_) - 6, "<L", zip_.directory_at + count)
    zip_[place:place] = b"#" * count
    return bytes(zip_)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_bytes_before_or_between_members_are_refused(write_zip: WriteZip, number: int) -> None:
    content = insert_bytes(series_zip(), 7, EditableZip(series_zip()).local_at(number))
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    problem = "bytes follow the member" if number else "bytes precede the first member"
    assert problem in refusal(write_zip(content))


@pytest.mark.parametrize("content", [series_zip(), EMPTY])
def test_bytes_before_the_directory_are_refused(write_zip: WriteZip, content: bytes) -> None:
    content = insert_bytes(content, 7, EditableZip(content).directory_at)
    problem = refusal(write_zip(content))
    assert "bytes follow the member" in problem or "bytes precede the directory" in problem


def test_bytes_before_an_unchanged_zip_are_refused(write_zip: WriteZip) -> None:
    assert "its directory is not at the recorded offset" in refusal(
        write_zip(b"#!/bin/sh\n" + series_zip())
    )


def test_bytes_after_the_zip_are_refused(write_zip: WriteZip) -> None:
    assert "bytes follow the zip's directory" in refusal(
        write_zip(series_zip() + b"trailing bytes")
    )


def test_a_zip_after_the_zip_is_refused(write_zip: WriteZip) -> None:
    assert "its directory is not at the recorded offset" in refusal(
        write_zip(series_zip() + series_zip())
    )


def test_a_comment_is_refused(write_zip: WriteZip) -> None:
    content = EditableZip(series_zip())
    content.put(len(content) - 2, "<H", 5)
    assert "the zip has a comment" in refusal(write_zip(content + b"hello"))


def test_a_comment_of_a_member_is_refused(write_zip: WriteZip) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in IMAGES.items():
            info = zipfile.ZipInfo(name)
            info.comment = b"hello"
            archive.writestr(info, content)
    assert "'00000001.dcm' has a comment" in refusal(write_zip(written.getvalue()))


def test_a_volume_of_several_is_refused(write_zip: WriteZip) -> None:
    content = EditableZip(series_zip())
    content.put(len(content) - 18, "<2H", 1, 1)
    assert "it is one of several volumes" in refusal(write_zip(content))


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>502 Bad Gateway</html>", bytes(500)])
def test_a_file_that_is_not_a_zip_is_refused(write_zip: WriteZip, content: bytes) -> None:
    assert "the zip is broken" in refusal(write_zip(content))


def test_a_header_that_disagrees_with_the_directory_is_refused(write_zip: WriteZip) -> None:
    zip_ = EditableZip(series_zip())
    name_at = zip_.local_at(1) + 30
    zip_[name_at : name_at + 12] = b"0000000X.dcm"
    assert "the header of '00000001.dcm' and the directory disagree" in refusal(write_zip(zip_))


@pytest.mark.parametrize("content", [series_zip(), as_zip64(series_zip()), zip_without_list()])
def test_a_zip_truncated_anywhere_is_refused(write_zip: WriteZip, content: bytes) -> None:
    path = write_zip(content)
    for size in reversed(range(len(content))):
        with path.open("r+b") as file:
            file.truncate(size)
        with pytest.raises(BadArchive):
            inspect(path, EXPECTED)


@settings(max_examples=examples(200), deadline=None)
@given(content=st.binary(max_size=200), before=st.sampled_from([b"", series_zip()]))
def test_any_bytes_are_refused_as_a_bad_archive(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, before: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zip"
    path.write_bytes(before + content + b"PK\5\6" + bytes(18))
    with pytest.raises(BadArchive):
        accept(path, EXPECTED)
