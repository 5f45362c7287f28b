"""Whether a zip is accepted: each rule has a zip that breaks only it, on real DICOM bytes."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset, FileMetaDataset

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance import (
    Expectation,
    Inspection,
    Member,
    Proof,
    accept,
    inflate,
    inspect,
    pack,
)
from tcia_assets.sandbox.zips import EMPTY, Entry, stream

SERIES = "1.3.6.1.4.1.14519.5.2.1.1"
LICENCE = Entry("LICENSE", [b"CC BY 4.0\n"])
MD5_LIST = "md5hashes.csv"


def dicom(number: int, series: str = SERIES, pixels: bytes = b"\1\2" * 64) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = f"{SERIES}.{number}"
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = series
    dataset.add_new("PixelData", "OW", pixels)
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


IMAGES = {f"{number:08}.dcm": dicom(number) for number in (1, 2, 3)}
NAMES = list(IMAGES)
BYTES = sum(map(len, IMAGES.values()))
EXPECTED = Expectation(SERIES, len(IMAGES), BYTES)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def md5_list(images: dict[str, bytes], **other: str) -> Entry:
    lines = [f"{name},{other.get(name, md5(content))}\n" for name, content in images.items()]
    return Entry(MD5_LIST, ["".join(["Filename,MD5Hash\n", *lines]).encode()])


def entries(images: dict[str, bytes]) -> list[Entry]:
    return [Entry(name, [content]) for name, content in images.items()]


def served(images: dict[str, bytes] = IMAGES, *more: Entry, md5s: Entry | None = None) -> bytes:
    """As the archive sends it."""
    last = md5s or md5_list(images)
    return b"".join(stream([LICENCE, *entries(images), *more, last]))


def without_list(images: dict[str, bytes] = IMAGES) -> bytes:
    return b"".join(stream([LICENCE, *entries(images)]))


@pytest.fixture
def at(tmp_path: Path) -> Callable[[bytes], Path]:
    def put(content: bytes) -> Path:
        path = tmp_path / "series.zip"
        path.write_bytes(content)
        return path

    return put


Put = Callable[[bytes], Path]

each_inflater = pytest.mark.parametrize("by", inflate.AVAILABLE, ids=lambda by: by.name)


def reason(path: Path, expected: Expectation = EXPECTED) -> str:
    """Why it is refused, the same on one thread and on two and by each inflater."""
    reasons = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tcia_assets.images.acceptance.rules._WORTH_THREADS", 0)
        for by in inflate.AVAILABLE:
            patch.setattr(inflate, "FASTEST", by)
            for workers in (1, 2):
                with pytest.raises(BadArchive) as caught:
                    accept(path, expected, workers=workers)
                reasons.add(str(caught.value))
    assert len(reasons) == 1
    return reasons.pop()


def findings(path: Path, expected: Expectation = EXPECTED) -> Inspection:
    return inspect(path, expected)


# --- Surgery ------------------------------------------------------------------------------------


class Surgery(bytearray):
    """A zip whose fields can be changed where they stand."""

    @property
    def directory_at(self) -> int:
        return int(struct.unpack_from("<L", self, len(self) - 6)[0])

    def central(self, number: int) -> int:
        """Where the n-th line of the directory is."""
        place = self.directory_at
        for _ in range(number):
            place += 46 + sum(struct.unpack_from("<3H", self, place + 28))
        return place

    def local(self, number: int) -> int:
        return int(struct.unpack_from("<L", self, self.central(number) + 42)[0])

    def behind(self, number: int) -> int:
        """Where the CRC and sizes behind the data of the n-th member are."""
        start = self.local(number)
        packed = struct.unpack_from("<L", self, self.central(number) + 20)[0]
        return int(start + 30 + sum(struct.unpack_from("<2H", self, start + 26)) + packed)

    def put(self, place: int, layout: str, *values: object) -> Surgery:
        struct.pack_into(layout, self, place, *values)
        return self

    def both(self, number: int, field: tuple[int, int], layout: str, value: object) -> Surgery:
        """The same in a member's own header and in the directory."""
        self.put(self.local(number) + field[0], layout, value)
        return self.put(self.central(number) + field[1], layout, value)


FLAGS, METHOD, NEEDS = (6, 8), (8, 10), (4, 6)
CRC, PACKED, SIZE, ATTRIBUTES, OFFSET = 16, 20, 24, 38, 42


def renamed(old: str, new: str) -> bytes:
    assert len(old) == len(new)
    return served().replace(old.encode(), new.encode())


# --- What is accepted ---------------------------------------------------------------------------


@each_inflater
@pytest.mark.parametrize("workers", [1, 2])
def test_a_whole_zip_is_proven_by_its_md5_list(
    at: Put, monkeypatch: pytest.MonkeyPatch, by: inflate.Inflater, workers: int
) -> None:
    monkeypatch.setattr(inflate, "FASTEST", by)
    monkeypatch.setattr("tcia_assets.images.acceptance.rules._WORTH_THREADS", 0)

    proof = accept(at(served()), EXPECTED, workers=workers)

    members = tuple(
        Member(name, f"{SERIES}.{number}", len(content), md5(content))
        for number, (name, content) in enumerate(IMAGES.items(), start=1)
    )
    assert proof == Proof(3, BYTES, "md5", members)


def test_all_three_inflaters_are_tested() -> None:
    assert [by.name for by in inflate.AVAILABLE] == ["deflate", "isal", "zlib"]


@pytest.mark.parametrize(
    ("absent", "left"),
    [
        (["deflate"], ["isal", "zlib"]),
        (["isal"], ["deflate", "zlib"]),
        (["deflate", "isal"], ["zlib"]),
    ],
)
def test_zlib_is_enough_without_the_extra(
    at: Put, monkeypatch: pytest.MonkeyPatch, absent: list[str], left: list[str]
) -> None:
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    available = inflate._available()
    assert [by.name for by in available] == left
    monkeypatch.setattr(inflate, "FASTEST", available[0])
    assert accept(at(served()), EXPECTED).verified_by == "md5"


def test_the_list_alone_proves_a_series_of_which_nothing_was_told(at: Put) -> None:
    assert accept(at(served()), Expectation(SERIES, None, None)).verified_by == "md5"


@pytest.mark.parametrize(("told", "proof"), [(BYTES, "count+size"), (None, "count")])
def test_without_a_list_the_proof_is_what_was_told(at: Put, told: int | None, proof: str) -> None:
    expected = replace(EXPECTED, image_bytes=told)
    assert accept(at(without_list()), expected).verified_by == proof


@pytest.mark.parametrize("digest", ["", "null", "NULL", " "])
def test_a_digest_that_the_archive_does_not_have_is_no_error_and_no_proof(
    at: Put, digest: str
) -> None:
    path = at(served(md5s=md5_list(IMAGES, **{NAMES[1]: digest})))
    assert accept(path, EXPECTED).verified_by == "count+size"
    assert accept(path, replace(EXPECTED, image_bytes=None)).verified_by == "count"


def test_a_digest_may_be_in_capitals(at: Put) -> None:
    capitals = md5(IMAGES[NAMES[0]]).upper()
    path = at(served(md5s=md5_list(IMAGES, **{NAMES[0]: capitals})))
    assert accept(path, EXPECTED).verified_by == "md5"


def test_stored_members_and_empty_licences_are_as_good(at: Put) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("LICENSE", b"")
        for name, content in IMAGES.items():
            archive.writestr(name, content)
    assert accept(at(written.getvalue()), EXPECTED).verified_by == "count+size"


def test_an_empty_member_may_be_deflated(at: Put) -> None:
    content = b"".join(stream([Entry("LICENSE", ()), *entries(IMAGES)]))
    assert accept(at(content), EXPECTED).image_count == 3


def test_64_bit_headers_are_read(at: Put) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in IMAGES.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert accept(at(written.getvalue()), EXPECTED).image_count == 3


def wide(content: bytes) -> bytes:
    """With sizes, places and end in 64 bits, as a zip beyond 4 GiB has them."""
    zip_ = Surgery(content)
    start, count = zip_.directory_at, len(zipfile.ZipFile(io.BytesIO(content)).infolist())
    lines = []
    for number in range(count):
        place = zip_.central(number)
        packed, size, name_length = struct.unpack_from("<2LH", zip_, place + PACKED)
        line = Surgery(zip_[place : place + 46 + name_length])
        line.put(PACKED, "<2L", 0xFFFFFFFF, 0xFFFFFFFF).put(OFFSET, "<L", 0xFFFFFFFF)
        line.put(30, "<H", 28)
        lines.append(line + struct.pack("<2H3Q", 1, 24, size, packed, zip_.local(number)))
    directory = b"".join(lines)
    after = start + len(directory)
    return bytes(
        zip_[:start]
        + directory
        + struct.pack(
            "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), start
        )
        + struct.pack("<4sLQL", b"PK\x06\x07", 0, after, 1)
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    )


def test_a_64_bit_directory_is_read(at: Put) -> None:
    content = wide(served())
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    assert accept(at(content), EXPECTED).image_count == 3


def test_two_ends_that_disagree_are_refused(at: Put) -> None:
    content = Surgery(wide(served()))
    content.put(len(content) - 12, "<H", 4)
    assert "two ends disagree" in reason(at(content))


# --- What the archive told ----------------------------------------------------------------------


@pytest.mark.parametrize("image_count", [2, 4])
def test_another_count_is_refused(at: Put, image_count: int) -> None:
    expected = replace(EXPECTED, image_count=image_count)
    assert f"3 images where the archive counts {image_count}" in reason(at(served()), expected)


@pytest.mark.parametrize("by", [-1, 1])
def test_another_size_is_refused(at: Put, by: int) -> None:
    expected = replace(EXPECTED, image_bytes=BYTES + by)
    assert f"{BYTES} bytes where the archive has {BYTES + by}" in reason(at(served()), expected)


def test_another_series_is_refused(at: Put) -> None:
    images = IMAGES | {NAMES[2]: dicom(3, SERIES + "0")}
    assert f"'00000003.dcm' is of Series {SERIES}0" in reason(
        at(served(images)), Expectation(SERIES, 3, None)
    )


def test_two_objects_of_one_uid_are_refused(at: Put) -> None:
    images = IMAGES | {NAMES[2]: IMAGES[NAMES[0]]}
    told = reason(at(served(images)))
    assert "'00000001.dcm' and '00000003.dcm' have the same SOPInstanceUID" in told


def test_the_expected_objects_are_all_there_and_no_others(at: Put) -> None:
    uids = frozenset(f"{SERIES}.{number}" for number in (1, 2, 3))
    assert accept(at(served()), replace(EXPECTED, sop_instance_uids=uids)).image_count == 3

    others = uids - {f"{SERIES}.3"} | {f"{SERIES}.9"}
    expected = replace(EXPECTED, sop_instance_uids=others)
    assert f"'00000003.dcm' is {SERIES}.3, which the Series does not have" in reason(
        at(served()), expected
    )

    expected = Expectation(SERIES, None, None, uids | {f"{SERIES}.9"})
    assert f"1 of 4 images are missing, such as {SERIES}.9" in reason(at(served()), expected)


def test_nothing_told_and_no_list_proves_nothing(at: Put) -> None:
    told = reason(at(without_list()), Expectation(SERIES, None, None))
    assert "nothing proves it whole" in told


@pytest.mark.parametrize("content", [EMPTY, b"".join(stream([Entry("LICENSE", ())]))])
@pytest.mark.parametrize("expected", [EXPECTED, Expectation(SERIES, None, None)])
def test_a_zip_without_images_is_refused(at: Put, content: bytes, expected: Expectation) -> None:
    assert "the zip holds no image" in reason(at(content), expected)


# --- The list -----------------------------------------------------------------------------------


def test_a_wrong_md5_names_the_member(at: Put) -> None:
    path = at(served(md5s=md5_list(IMAGES, **{NAMES[1]: "0" * 32})))
    assert "the MD5 of '00000002.dcm' is not the one that the archive lists" in reason(path)


@pytest.mark.parametrize(
    ("listed", "name"),
    [(IMAGES | {"00000009.dcm": b""}, "00000009.dcm"), ({NAMES[0]: IMAGES[NAMES[0]]}, NAMES[1])],
)
def test_a_list_of_other_names_is_refused(at: Put, listed: dict[str, bytes], name: str) -> None:
    told = reason(at(served(md5s=md5_list(listed))))
    assert "images and md5hashes.csv differ in" in told
    assert repr(name) in told


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "does not begin with Filename,MD5Hash"),
        (b"Name,Hash\n", "does not begin with Filename,MD5Hash"),
        (b"Filename,MD5Hash\na.dcm\n", "a line that is not a name and a hash"),
        (b"Filename,MD5Hash\na.dcm,0,0\n", "a line that is not a name and a hash"),
        (b"Filename,MD5Hash\na.dcm,12\n", "which is no MD5"),
        (b"Filename,MD5Hash\na.dcm,\na.dcm," + b"0" * 32, "lists 'a.dcm' with two hashes"),
        (b"Filename,MD5Hash\n\xff,\n", "cannot be read"),
        (b'Filename,MD5Hash\n"a.dcm,\n', "cannot be read"),
        (b"Filename,MD5Hash\n" + bytes(5000), "too large to be a text"),
    ],
)
def test_a_list_that_is_none_is_refused(at: Put, text: bytes, problem: str) -> None:
    assert problem in reason(at(served(md5s=Entry(MD5_LIST, [text]))))


def test_a_damaged_licence_is_refused(at: Put) -> None:
    zip_ = Surgery(served())
    zip_.put(zip_.central(0) + CRC, "<L", 1).put(zip_.behind(0) + 4, "<L", 1)
    assert "LICENSE: its CRC is wrong" in reason(at(zip_))


# --- The members --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a DICOM file"),
        (b"<html>", "not a DICOM file"),
        (b"".join(stream([Entry("inside.dcm", [IMAGES[NAMES[0]]])])), "not a DICOM file"),
        (IMAGES[NAMES[0]][:140], ""),
        (bytes(128) + b"DICM" + bytes(64), ""),
    ],
    ids=["empty", "html", "nested zip", "cut header", "no header"],
)
def test_what_is_not_dicom_is_refused(at: Put, content: bytes, problem: str) -> None:
    path = at(served(IMAGES | {NAMES[1]: content}))
    assert f"'00000002.dcm': {problem}" in reason(path, Expectation(SERIES, 3, None))


def test_a_wrong_crc_is_refused(at: Put) -> None:
    zip_ = Surgery(served())
    zip_.put(zip_.central(2) + CRC, "<L", 1).put(zip_.behind(2) + 4, "<L", 1)
    assert "'00000002.dcm': its CRC is wrong" in reason(at(zip_))


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("largest", [0, inflate.LARGEST_AT_ONCE], ids=["pieces", "at once"])
def test_another_size_than_claimed_is_refused(
    at: Put, monkeypatch: pytest.MonkeyPatch, by: int, largest: int
) -> None:
    monkeypatch.setattr(inflate, "LARGEST_AT_ONCE", largest)
    zip_, size = Surgery(served()), len(IMAGES[NAMES[1]]) + by
    zip_.put(zip_.central(2) + SIZE, "<L", size).put(zip_.behind(2) + 12, "<L", size)
    told = reason(at(zip_), Expectation(SERIES, 3, None))
    assert f"'00000002.dcm': it does not inflate to the {size} bytes that it claims" in told


def with_tail(number: int, tail: bytes) -> bytes:
    """A zip whose image of that number has bytes behind its compressed data, counted as its own."""
    name, content = NAMES[number], IMAGES[NAMES[number]]
    deflate = zlib.compressobj(wbits=-15)
    packed = deflate.compress(content) + deflate.flush()
    sealed = Entry(name, [packed, tail], deflated=(zlib.crc32(content), len(content)))
    members = entries(IMAGES)
    members[number] = sealed
    return b"".join(stream([LICENCE, *members, md5_list(IMAGES)]))


GZIP_END = struct.pack("<2L", zlib.crc32(IMAGES[NAMES[1]]), len(IMAGES[NAMES[1]]))


@pytest.mark.parametrize(
    "tail",
    [b"\0", b"hidden" * 10, bytes(800), GZIP_END, GZIP_END + b"hidden", GZIP_END * 2],
    ids=["a byte", "60 bytes", "many", "an end of gzip", "behind an end of gzip", "two of them"],
)
@pytest.mark.parametrize("largest", [0, inflate.LARGEST_AT_ONCE], ids=["pieces", "at once"])
def test_bytes_that_hide_behind_the_data_of_a_member_are_refused(
    at: Put, monkeypatch: pytest.MonkeyPatch, tail: bytes, largest: int
) -> None:
    monkeypatch.setattr(inflate, "LARGEST_AT_ONCE", largest)
    assert accept(at(with_tail(1, b"")), EXPECTED).verified_by == "md5"
    told = reason(at(with_tail(1, tail)))
    assert f"'00000002.dcm': {len(tail)} bytes follow the end of its data" in told


def test_a_claim_of_nothing_is_held_against_the_data(at: Put) -> None:
    zip_ = Surgery(served())
    zip_.put(zip_.central(0) + SIZE, "<L", 0).put(zip_.behind(0) + 12, "<L", 0)
    assert "LICENSE: it does not inflate to the 0 bytes" in reason(at(zip_))


@each_inflater
@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3 << 20])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_in_pieces_and_at_once_give_the_same(
    monkeypatch: pytest.MonkeyPatch, by: inflate.Inflater, size: int, level: int
) -> None:
    monkeypatch.setattr(inflate, "FASTEST", by)
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    deflate = zlib.compressobj(level, wbits=-15)
    packed = memoryview(deflate.compress(content) + deflate.flush())
    from tcia_assets.images.acceptance.directory import Entry as Line

    line = Line("a", 8, zlib.crc32(content), len(packed), size, 0)
    for largest in (0, inflate.LARGEST_AT_ONCE):
        monkeypatch.setattr(inflate, "LARGEST_AT_ONCE", largest)
        inflated = inflate.inflate(packed, line, most_head=1000)
        assert inflated.md5 == md5(content)
        assert b"".join(inflated.head)[:1000] == content[:1000]


def test_a_header_longer_than_the_short_head_is_read_whole(at: Put) -> None:
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(dicom(1)))
    dataset.add_new(0x00190010, "LO", "SOMEONE")
    dataset.add_new(0x00191001, "OB", bytes(200_000))
    written = io.BytesIO()
    dataset.save_as(written)
    images = IMAGES | {NAMES[0]: written.getvalue()}
    assert accept(at(served(images)), Expectation(SERIES, 3, None)).image_count == 3


@pytest.mark.parametrize("room", range(-3, len(SERIES) + 10))
def test_a_head_that_ends_inside_a_uid_is_read_whole(
    at: Put, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    # The value stands behind 8 bytes of tag, VR and length.
    place = IMAGES[NAMES[0]].rindex(SERIES.encode()) - 8
    monkeypatch.setattr("tcia_assets.images.acceptance.rules._SHORT_HEAD", place + room)
    assert accept(at(served()), EXPECTED).image_count == 3


# --- Hostile zips -------------------------------------------------------------------------------


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
def test_a_name_that_may_leave_the_folder_is_refused(at: Put, name: str) -> None:
    path = at(served(IMAGES, Entry(name, [b"outside"])))
    told = reason(path, Expectation(SERIES, 4, None))
    assert "the zip has a member named" in told
    assert told.isprintable()


def test_a_name_that_is_no_text_is_refused(at: Put) -> None:
    content = served().replace(b"00000001.dcm", b"0000000\xff.dcm")
    assert "the zip has a member named b'0000000\\xff.dcm'" in reason(at(content))


@pytest.mark.parametrize("second", ["00000001.dcm", "00000001.DCM"])
def test_two_members_of_one_name_are_refused(at: Put, second: str) -> None:
    content = renamed("00000002.dcm", second)
    assert f"two members of the zip have the name {second!r}" in reason(at(content))


@pytest.mark.parametrize(
    ("mode", "problem"),
    [(0o120777, "is a symbolic link"), (0o040755, "is not a file"), (0o020666, "is not a file")],
)
def test_what_is_no_file_is_refused(at: Put, mode: int, problem: str) -> None:
    path = at(served(IMAGES, Entry("00000004.dcm", [b"/etc/passwd"], mode=mode)))
    assert problem in reason(path, Expectation(SERIES, 4, None))


def test_a_folder_of_dos_is_refused(at: Put) -> None:
    zip_ = Surgery(served())
    zip_.put(zip_.central(1) + ATTRIBUTES, "<L", 0x10)
    assert "'00000001.dcm' is not a file" in reason(at(zip_))


@pytest.mark.parametrize("flag", [0x0001, 0x0020, 0x0040, 0x2000])
def test_an_encrypted_member_is_refused(at: Put, flag: int) -> None:
    content = Surgery(served()).both(1, FLAGS, "<H", 0x0808 | flag)
    assert "'00000001.dcm' is encrypted" in reason(at(content))


@pytest.mark.parametrize("method", [9, 12, 14, 93, 99])
def test_another_compression_is_refused(at: Put, method: int) -> None:
    content = Surgery(served()).both(1, METHOD, "<H", method)
    assert f"'00000001.dcm' is compressed by method {method}" in reason(at(content))


def test_a_later_zip_version_is_refused(at: Put) -> None:
    content = Surgery(served()).both(1, NEEDS, "<B", 63)
    assert "needs more than a plain zip" in reason(at(content))


def refused_before_inflation(path: Path, expected: Expectation) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for by in ("_at_once", "_streamed", "_slices"):
            patch.delattr(inflate, by)
        return reason(path, expected)


def claiming(size: int, packed: bytes) -> bytes:
    """A bomb: `packed` is all that there is of `size` bytes."""
    bomb = Entry("00000004.dcm", [packed], deflated=(0, size))
    return served(IMAGES, bomb)


def test_more_bytes_than_told_are_refused_before_inflation(at: Put) -> None:
    path = at(claiming(10 * 10**9 // 1000, bytes(10**4)))
    assert "bytes where the archive has" in refused_before_inflation(
        path, replace(EXPECTED, image_count=4)
    )


def test_ten_gigabytes_from_ten_megabytes_are_refused_before_inflation(at: Put) -> None:
    bombs = [Entry(f"{n}.dcm", [bytes(2**20)], deflated=(0, 1000 << 20)) for n in range(2)]
    told = refused_before_inflation(at(served(IMAGES, *bombs)), Expectation(SERIES, None, None))
    assert "bytes claimed by a zip of" in told


@pytest.mark.parametrize("size", [1033 * 10**4 + 2048, 2 << 30])
def test_what_deflate_cannot_hold_is_refused_before_inflation(at: Put, size: int) -> None:
    told = refused_before_inflation(
        at(claiming(size, bytes(10**4))), Expectation(SERIES, None, None)
    )
    assert f"'00000004.dcm' claims {size} bytes, packed in 10000" in told


def test_what_hides_behind_a_small_claim_is_refused_before_inflation(at: Put) -> None:
    told = refused_before_inflation(
        at(claiming(100, bytes(10**4))), Expectation(SERIES, None, None)
    )
    assert "claims 100 bytes, packed in 10000" in told


def test_one_image_too_many_is_refused_before_inflation(at: Put) -> None:
    content = served(IMAGES | {"00000004.dcm": b"more"})
    assert "4 images where the archive counts 3" in refused_before_inflation(at(content), EXPECTED)


@pytest.mark.parametrize("expected", [EXPECTED, Expectation(SERIES, None, None)])
def test_a_million_members_are_refused_before_one_is_read(at: Put, expected: Expectation) -> None:
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
    assert "the zip claims 1000000 members, more than the" in reason(at(content), expected)


def test_a_directory_with_more_lines_than_the_end_counts_is_refused(at: Put) -> None:
    zip_ = Surgery(served())
    zip_.put(len(zip_) - 14, "<2H", 4, 4)
    assert "the zip is broken" in reason(at(zip_))


@pytest.mark.parametrize("number", [2, 3])
def test_members_inside_each_other_are_refused(at: Put, number: int) -> None:
    """One kernel of data, and headers that all point to it."""
    zip_ = Surgery(served())
    zip_[zip_.local(number) : zip_.local(number)] = b""
    zip_.put(zip_.central(number) + OFFSET, "<L", zip_.local(1))
    name_at = zip_.central(number) + 46
    zip_[name_at : name_at + 12] = b"0000000A.dcm"
    assert "overlaps the member behind it" in reason(at(zip_))


def test_a_member_that_quotes_the_header_of_the_next_is_refused(at: Put) -> None:
    """The bomb that needs no shared headers: stored blocks that hold the next member's header."""
    inner = b"".join(stream([Entry("00000002.dcm", [IMAGES[NAMES[1]]])]))
    inner = inner[: Surgery(inner).directory_at]
    block = b"\1" + struct.pack("<2H", len(inner), len(inner) ^ 0xFFFF) + inner
    outer = Entry("00000001.dcm", [block], deflated=(zlib.crc32(inner), len(inner)))
    zip_ = Surgery(b"".join(stream([outer, Entry("00000002.dcm", [IMAGES[NAMES[1]]])])))
    zip_.put(zip_.central(1) + OFFSET, "<L", 30 + 12 + 5)
    assert "'00000001.dcm' overlaps the member behind it" in reason(
        at(zip_), Expectation(SERIES, 2, None)
    )


# --- The whole ----------------------------------------------------------------------------------


def shifted(content: bytes, by: int, at: int = 0) -> bytes:
    """With bytes put in at a place, and all places behind it right again."""
    zip_ = Surgery(content)
    count = struct.unpack_from("<H", zip_, len(zip_) - 12)[0]
    for number in range(count):
        start = zip_.local(number)
        if start >= at:
            zip_.put(zip_.central(number) + OFFSET, "<L", start + by)
    zip_.put(len(zip_) - 6, "<L", zip_.directory_at + by)
    zip_[at:at] = b"#" * by
    return bytes(zip_)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_bytes_before_or_between_members_are_refused(at: Put, number: int) -> None:
    content = shifted(served(), 7, Surgery(served()).local(number))
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    where = "before the first member" if not number else "behind the member"
    assert f"there are bytes {where}" in reason(at(content))


@pytest.mark.parametrize("content", [served(), EMPTY])
def test_bytes_before_the_directory_are_refused(at: Put, content: bytes) -> None:
    content = shifted(content, 7, Surgery(content).directory_at)
    assert "there are bytes be" in reason(at(content))


def test_bytes_before_a_zip_that_does_not_know_of_them_are_refused(at: Put) -> None:
    assert "its directory is not where it says" in reason(at(b"#!/bin/sh\n" + served()))


def test_bytes_behind_the_zip_are_refused(at: Put) -> None:
    assert "there are bytes behind the zip's directory" in reason(at(served() + b"trailing bytes"))


def test_a_zip_behind_the_zip_is_refused(at: Put) -> None:
    assert "its directory is not where it says" in reason(at(served() + served()))


def test_a_comment_is_refused(at: Put) -> None:
    content = Surgery(served())
    content.put(len(content) - 2, "<H", 5)
    assert "the zip has a comment" in reason(at(content + b"hello"))


def test_a_comment_of_a_member_is_refused(at: Put) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in IMAGES.items():
            info = zipfile.ZipInfo(name)
            info.comment = b"hello"
            archive.writestr(info, content)
    assert "'00000001.dcm' has a comment" in reason(at(written.getvalue()))


def test_volumes_are_refused(at: Put) -> None:
    content = Surgery(served())
    content.put(len(content) - 18, "<2H", 1, 1)
    assert "it is one of several volumes" in reason(at(content))


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>502 Bad Gateway</html>", bytes(500)])
def test_what_is_no_zip_is_refused(at: Put, content: bytes) -> None:
    assert "the zip is broken" in reason(at(content))


def test_a_header_that_disagrees_with_the_directory_is_refused(at: Put) -> None:
    zip_ = Surgery(served())
    name_at = zip_.local(1) + 30
    zip_[name_at : name_at + 12] = b"0000000X.dcm"
    assert "the header of '00000001.dcm' and the directory disagree" in reason(at(zip_))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux for its mappings")
def test_a_refused_zip_is_let_go_while_the_error_lives(at: Put) -> None:
    zip_ = Surgery(served())
    path = at(zip_.put(zip_.central(2) + CRC, "<L", 1).put(zip_.behind(2) + 4, "<L", 1))
    with pytest.raises(BadArchive) as caught:
        accept(path, EXPECTED)
    assert "CRC" in str(caught.value)
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_a_file_that_is_not_there_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        accept(tmp_path / "none.zip", EXPECTED)


@pytest.mark.parametrize("content", [served(), wide(served()), without_list()])
def test_a_zip_cut_anywhere_is_refused(at: Put, content: bytes) -> None:
    path = at(content)
    for size in reversed(range(len(content))):
        with path.open("r+b") as file:
            file.truncate(size)
        with pytest.raises(BadArchive):
            inspect(path, EXPECTED)


def contents(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def verdict(path: Path, by: inflate.Inflater, workers: int) -> Proof | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflate, "FASTEST", by)
        patch.setattr("tcia_assets.images.acceptance.rules._WORTH_THREADS", 0)
        try:
            return accept(path, EXPECTED, workers=workers)
        except BadArchive as error:
            return str(error)


@pytest.mark.parametrize("whole", [served(), wide(served()), without_list()])
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(
    tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "changed.zip"
    path.write_bytes(changed)

    verdicts = {verdict(path, by, 1) for by in inflate.AVAILABLE}
    verdicts.add(verdict(path, inflate.FASTEST, 2))

    assert len(verdicts) == 1
    if isinstance(only := verdicts.pop(), Proof):
        assert only.members == accept(_put(tmp_path / "whole.zip", whole), EXPECTED).members
        assert contents(bytes(changed)) == contents(whole)


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200), before=st.sampled_from([b"", served()]))
def test_any_bytes_are_refused_as_a_bad_archive(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, before: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zip"
    path.write_bytes(before + content + b"PK\5\6" + bytes(18))
    with pytest.raises(BadArchive):
        accept(path, EXPECTED)


# --- What is good in a zip that is not ----------------------------------------------------------


def names(members: Iterable[Member]) -> list[str]:
    return [member.name for member in members]


def test_a_whole_zip_has_no_problems(at: Put) -> None:
    found = findings(at(served()))
    assert found.problems == ()
    assert found.members == accept(at(served()), EXPECTED).members


def test_the_last_of_a_short_zip_is_not_trusted(at: Put) -> None:
    """The server gives an image that it cuts a right CRC, and stops there."""
    images = {NAMES[0]: IMAGES[NAMES[0]], NAMES[1]: IMAGES[NAMES[1]][:-20]}
    found = findings(at(without_list(images)))
    assert names(found.members) == [NAMES[0]]
    assert found.problems[0] == "2 images where the archive counts 3"
    assert found.problems[-1] == "'00000002.dcm' may be cut: it is the last of a zip that is short"


def test_a_list_vouches_for_the_last_of_a_short_zip(at: Put) -> None:
    images = {name: IMAGES[name] for name in NAMES[:2]}
    found = findings(at(served(images)))
    assert names(found.members) == NAMES[:2]
    assert len(found.problems) == 2


def test_each_bad_member_is_a_problem_and_the_others_are_good(at: Put) -> None:
    zip_ = Surgery(served(md5s=md5_list(IMAGES, **{NAMES[0]: "0" * 32})))
    zip_.put(zip_.central(3) + CRC, "<L", 1).put(zip_.behind(3) + 4, "<L", 1)
    uids = frozenset(f"{SERIES}.{number}" for number in (1, 2, 3))
    found = findings(at(zip_), replace(EXPECTED, sop_instance_uids=uids))
    assert names(found.members) == [NAMES[1]]
    assert found.problems[:2] == (
        "the MD5 of '00000001.dcm' is not the one that the archive lists",
        "'00000003.dcm': its CRC is wrong",
    )
    assert found.missing == uids - {f"{SERIES}.2"}


def test_an_empty_zip_misses_all_images(at: Put) -> None:
    uids = frozenset({f"{SERIES}.1"})
    found = findings(at(EMPTY), replace(EXPECTED, sop_instance_uids=uids))
    assert (found.members, found.missing) == ((), uids)


@pytest.mark.parametrize(
    "content",
    [
        served()[:-1],
        served() + b"x",
        served(IMAGES, Entry("../outside.dcm", [b"outside"])),
        served(IMAGES | {"00000004.dcm": b"more"}),
    ],
)
def test_nothing_is_good_in_a_zip_that_is_broken_or_hostile(at: Put, content: bytes) -> None:
    with pytest.raises(BadArchive):
        findings(at(content))


# --- Completion ---------------------------------------------------------------------------------


@pytest.fixture
def third(tmp_path: Path) -> dict[str, Path]:
    return {f"{SERIES}.3.dcm": _put(tmp_path / "third.dcm", IMAGES[NAMES[2]])}


def test_a_short_zip_is_completed_with_single_images(
    at: Put, tmp_path: Path, third: dict[str, Path]
) -> None:
    source, target = at(served({name: IMAGES[name] for name in NAMES[:2]})), tmp_path / "new.zip"

    pack(source, findings(source).members, third, target)

    proof = accept(target, EXPECTED)
    assert names(proof.members) == [*NAMES[:2], f"{SERIES}.3.dcm"]
    assert list(contents(target.read_bytes())) == ["LICENSE", *names(proof.members), MD5_LIST]
    with zipfile.ZipFile(target) as archive:
        assert archive.read("LICENSE") == b"CC BY 4.0\n"
        assert archive.testzip() is None


def test_kept_members_are_not_compressed_again(
    at: Put, tmp_path: Path, third: dict[str, Path]
) -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr(NAMES[0], IMAGES[NAMES[0]])
        archive.writestr(NAMES[1], IMAGES[NAMES[1]])
    source, target = at(stored.getvalue()), tmp_path / "new.zip"

    pack(source, findings(source).members, third, target)

    with zipfile.ZipFile(target) as archive:
        assert archive.getinfo(NAMES[0]).compress_type == zipfile.ZIP_STORED
        assert archive.namelist() == [NAMES[0], f"{SERIES}.3.dcm", MD5_LIST]


def test_the_same_images_give_the_same_zip(at: Put, tmp_path: Path, third: dict[str, Path]) -> None:
    import datetime as dt

    kept = entries({name: IMAGES[name] for name in NAMES[:2]})
    written = []
    for year in (2001, 2020):
        sent = b"".join(stream([LICENCE, *kept], dt.datetime(year, 1, 1, tzinfo=dt.UTC)))
        source = at(sent)
        pack(source, findings(source).members, third, tmp_path / "new.zip")
        written.append((tmp_path / "new.zip").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("name", [NAMES[0], NAMES[0].upper(), "LICENSE", MD5_LIST, "../x.dcm"])
def test_a_name_that_is_taken_or_hostile_is_not_packed(
    at: Put, tmp_path: Path, third: dict[str, Path], name: str
) -> None:
    source, target = at(served()), tmp_path / "new.zip"
    (path,) = third.values()
    with pytest.raises(BadArchive):
        pack(source, findings(source).members, {name: path}, target)
    assert not target.exists()


def test_a_member_that_is_not_there_cannot_be_kept(at: Put, tmp_path: Path) -> None:
    member = Member("00000009.dcm", f"{SERIES}.9", 1, "0" * 32)
    with pytest.raises(BadArchive, match=r"has no image '00000009\.dcm' to keep"):
        pack(at(served()), [member], {}, tmp_path / "new.zip")


def test_a_damaged_licence_is_not_packed(at: Put, tmp_path: Path) -> None:
    zip_ = Surgery(served())
    zip_.put(zip_.central(0) + CRC, "<L", 1).put(zip_.behind(0) + 4, "<L", 1)
    source = at(zip_)
    with pytest.raises(BadArchive, match="its CRC is wrong"):
        pack(source, findings(source).members, {}, tmp_path / "new.zip")


# --- Memory -------------------------------------------------------------------------------------

_PEAK = """
import sys, threading
from pathlib import Path
from tcia_assets.images.acceptance import Expectation, accept, inflate

def anonymous():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) >> 10

inflate.FASTEST = next(by for by in inflate.AVAILABLE if by.name == sys.argv[3])
done, peak = threading.Event(), anonymous()
def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
try:
    proof = accept(Path(sys.argv[1]), Expectation(sys.argv[2], 1, None))
finally:
    done.set()
    watcher.join()
print(proof.image_bytes >> 20, peak)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for its memory")
@each_inflater
def test_memory_does_not_depend_on_the_size_of_a_member(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, by: inflate.Inflater
) -> None:
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        head = dicom(1, pixels=bytes(2))
        pieces = [head, *[bytes(1 << 20)] * 300]
        file.writelines(stream([Entry(NAMES[0], pieces)]))

    run = subprocess.run(
        [sys.executable, "-c", _PEAK, str(path), SERIES, by.name],
        capture_output=True,
        text=True,
        check=True,
    )

    size, peak = map(int, run.stdout.split())
    assert size == 300
    assert peak < 100
