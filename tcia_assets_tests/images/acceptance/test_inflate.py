"""A member is inflated once, in bounded memory, with the same result by each library."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tcia_assets.images.acceptance import directory, inflate
from tcia_assets.images.acceptance.rules import Expectation, accept
from tcia_assets.sandbox.zip_stream import Entry, zip_chunks
from tcia_assets_tests.images.acceptance.sample_zips import (
    CRC,
    EXPECTED,
    IMAGES,
    LICENSE_ENTRY,
    NAMES,
    SERIES,
    SIZE,
    EditableZip,
    WriteZip,
    dicom,
    each_inflater,
    image_entries,
    md5,
    md5_list_entry,
    refusal,
    series_zip,
)


def test_all_inflaters_are_installed() -> None:
    assert [inflater.__name__ for inflater in inflate.AVAILABLE] == ["isal.isal_zlib", "zlib"]


def test_zlib_suffices_without_the_extra_fast(
    write_zip: WriteZip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    (only,) = inflate._find_available()
    assert only is zlib
    assert accept(write_zip(series_zip()), EXPECTED, inflater=only).verified_by == "md5"


def test_a_wrong_crc_is_refused(write_zip: WriteZip) -> None:
    zip_ = EditableZip(series_zip())
    zip_.put(zip_.central_at(2) + CRC, "<L", 1).put(zip_.descriptor_at(2) + 4, "<L", 1)
    assert "'00000002.dcm': its CRC is wrong" in refusal(write_zip(zip_))


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_size_that_differs_from_the_claim_is_refused(
    write_zip: WriteZip, difference: int
) -> None:
    zip_, size = EditableZip(series_zip()), len(IMAGES[NAMES[1]]) + difference
    zip_.put(zip_.central_at(2) + SIZE, "<L", size).put(zip_.descriptor_at(2) + 12, "<L", size)
    problem = refusal(write_zip(zip_), Expectation(SERIES, 3, None))
    assert f"'00000002.dcm': it does not inflate to the {size} bytes that it claims" in problem


def zip_with_tail(number: int, tail: bytes) -> bytes:
    """Return a zip in which bytes follow an image's compressed data and count as part of it."""
    name, content = NAMES[number], IMAGES[NAMES[number]]
    deflate = zlib.compressobj(wbits=-15)
    compressed = deflate.compress(content) + deflate.flush()
    members = image_entries(IMAGES)
    members[number] = Entry(name, [compressed, tail], deflated=(zlib.crc32(content), len(content)))
    return b"".join(zip_chunks([LICENSE_ENTRY, *members, md5_list_entry(IMAGES)]))


GZIP_TRAILER = struct.pack("<2L", zlib.crc32(IMAGES[NAMES[1]]), len(IMAGES[NAMES[1]]))


@pytest.mark.parametrize(
    "tail",
    [b"\0", b"hidden" * 10, bytes(800), GZIP_TRAILER, GZIP_TRAILER + b"hidden", GZIP_TRAILER * 2],
    ids=["a byte", "60 bytes", "many", "a gzip trailer", "after a trailer", "two trailers"],
)
def test_bytes_after_the_data_of_a_member_are_refused(write_zip: WriteZip, tail: bytes) -> None:
    assert accept(write_zip(zip_with_tail(1, b"")), EXPECTED).verified_by == "md5"
    problem = refusal(write_zip(zip_with_tail(1, tail)))
    assert f"'00000002.dcm': {len(tail)} bytes follow the end of its data" in problem


def test_a_member_that_claims_to_be_empty_is_checked(write_zip: WriteZip) -> None:
    zip_ = EditableZip(series_zip())
    zip_.put(zip_.central_at(0) + SIZE, "<L", 0).put(zip_.descriptor_at(0) + 12, "<L", 0)
    assert "LICENSE: it does not inflate to the 0 bytes" in refusal(write_zip(zip_))


@each_inflater
@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3 << 20])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_each_library_inflates_the_same(inflater: inflate.Inflater, size: int, level: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    deflate = zlib.compressobj(level, wbits=-15)
    compressed = memoryview(deflate.compress(content) + deflate.flush())
    entry = directory.Entry("a", 8, zlib.crc32(content), len(compressed), size, 0)

    inflated = inflate.inflate(compressed, entry, max_head=1000, inflater=inflater)

    assert inflated.md5 == md5(content)
    assert b"".join(inflated.head)[:1000] == content[:1000]


PEAK_MEMORY = """
import sys, threading
from pathlib import Path
from tcia_assets.images.acceptance import inflate
from tcia_assets.images.acceptance.rules import Expectation, accept

def anonymous_megabytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) >> 10

inflater = next(each for each in inflate.AVAILABLE if each.__name__ == sys.argv[3])
done, peak = threading.Event(), anonymous_megabytes()
def sample():
    global peak
    while not done.wait(0.002):
        peak = max(peak, anonymous_megabytes())
sampler = threading.Thread(target=sample)
sampler.start()
try:
    proof = accept(Path(sys.argv[1]), Expectation(sys.argv[2], 1, None), inflater=inflater)
finally:
    done.set()
    sampler.join()
print(proof.image_bytes >> 20, peak)
"""


@pytest.fixture(scope="module")
def zip_of_150_megabytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.zip"
    head = dicom(1, pixels=bytes(2))
    with path.open("wb") as file:
        file.writelines(zip_chunks([Entry(NAMES[0], [head, *[bytes(1 << 20)] * 150])]))
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory use of Linux")
@pytest.mark.parametrize("library", [inflater.__name__ for inflater in inflate.AVAILABLE])
def test_memory_does_not_depend_on_the_size_of_a_member(
    zip_of_150_megabytes: Path, library: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY, str(zip_of_150_megabytes), SERIES, library],
        capture_output=True,
        text=True,
        check=True,
    )

    size, peak = map(int, run.stdout.split())
    assert size == 150
    assert peak < 100
