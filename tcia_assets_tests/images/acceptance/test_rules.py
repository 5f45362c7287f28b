"""A zip is accepted if it is the whole Series: each rule has a zip that violates only it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance import inflate
from tcia_assets.images.acceptance.rules import Expectation, Member, Proof, accept, inspect
from tcia_assets.sandbox.zip_stream import EMPTY, Entry, zip_chunks
from tcia_assets_tests.examples import examples
from tcia_assets_tests.images.acceptance.sample_zips import (
    BYTES,
    CRC,
    EXPECTED,
    IMAGES,
    NAMES,
    SERIES,
    EditableZip,
    WriteZip,
    as_zip64,
    dicom,
    each_inflater,
    image_entries,
    md5,
    md5_list_entry,
    names_of,
    read_members,
    refusal,
    series_zip,
    zip_without_list,
)


@each_inflater
@pytest.mark.parametrize("workers", [1, 2])
def test_a_whole_zip_is_proven_by_its_md5_list(
    write_zip: WriteZip, inflater: inflate.Inflater, workers: int
) -> None:
    path = write_zip(series_zip())

    proof = accept(path, EXPECTED, workers=workers, inflater=inflater)

    members = tuple(
        Member(name, f"{SERIES}.{number}", len(content), md5(content))
        for number, (name, content) in enumerate(IMAGES.items(), start=1)
    )
    assert proof == Proof(3, BYTES, "md5", members)


def test_the_md5_list_alone_proves_a_series_without_listed_totals(write_zip: WriteZip) -> None:
    assert accept(write_zip(series_zip()), Expectation(SERIES, None, None)).verified_by == "md5"


@pytest.mark.parametrize(("listed_bytes", "proof"), [(BYTES, "count+size"), (None, "count")])
def test_without_an_md5_list_the_listed_totals_are_the_proof(
    write_zip: WriteZip, listed_bytes: int | None, proof: str
) -> None:
    expected = replace(EXPECTED, image_bytes=listed_bytes)
    assert accept(write_zip(zip_without_list()), expected).verified_by == proof


def test_stored_members_and_an_empty_license_are_accepted(write_zip: WriteZip) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("LICENSE", b"")
        for name, content in IMAGES.items():
            archive.writestr(name, content)
    assert accept(write_zip(written.getvalue()), EXPECTED).verified_by == "count+size"


def test_an_empty_member_may_be_deflated(write_zip: WriteZip) -> None:
    content = b"".join(zip_chunks([Entry("LICENSE", ()), *image_entries(IMAGES)]))
    assert accept(write_zip(content), EXPECTED).image_count == 3


@pytest.mark.parametrize("image_count", [2, 4])
def test_a_different_image_count_is_refused(write_zip: WriteZip, image_count: int) -> None:
    expected = replace(EXPECTED, image_count=image_count)
    assert f"3 images, but the source lists {image_count}" in refusal(
        write_zip(series_zip()), expected
    )


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_different_size_is_refused(write_zip: WriteZip, difference: int) -> None:
    listed = BYTES + difference
    problem = refusal(write_zip(series_zip()), replace(EXPECTED, image_bytes=listed))
    assert f"{BYTES} bytes, but the source lists {listed}" in problem


def test_an_image_of_a_different_series_is_refused(write_zip: WriteZip) -> None:
    images = IMAGES | {NAMES[2]: dicom(3, SERIES + "0")}
    assert f"'00000003.dcm' belongs to Series {SERIES}0" in refusal(
        write_zip(series_zip(images)), Expectation(SERIES, 3, None)
    )


def test_two_images_with_the_same_uid_are_refused(write_zip: WriteZip) -> None:
    images = IMAGES | {NAMES[2]: IMAGES[NAMES[0]]}
    problem = refusal(write_zip(series_zip(images)))
    assert "'00000001.dcm' and '00000003.dcm' have the same SOPInstanceUID" in problem


def test_exactly_the_expected_images_are_required(write_zip: WriteZip) -> None:
    path = write_zip(series_zip())
    uids = frozenset(f"{SERIES}.{number}" for number in (1, 2, 3))
    assert accept(path, replace(EXPECTED, sop_instance_uids=uids)).image_count == 3

    different = uids - {f"{SERIES}.3"} | {f"{SERIES}.9"}
    problem = refusal(path, replace(EXPECTED, sop_instance_uids=different))
    assert f"'00000003.dcm' is {SERIES}.3, which the source does not list" in problem

    problem = refusal(path, Expectation(SERIES, None, None, uids | {f"{SERIES}.9"}))
    assert f"1 of 4 images are missing, such as {SERIES}.9" in problem


def test_a_zip_without_list_or_listed_count_is_refused(write_zip: WriteZip) -> None:
    problem = refusal(write_zip(zip_without_list()), Expectation(SERIES, None, None))
    assert "nothing proves that it is whole" in problem


@pytest.mark.parametrize("content", [EMPTY, b"".join(zip_chunks([Entry("LICENSE", ())]))])
@pytest.mark.parametrize("expected", [EXPECTED, Expectation(SERIES, None, None)])
def test_a_zip_without_images_is_refused(
    write_zip: WriteZip, content: bytes, expected: Expectation
) -> None:
    assert "the zip holds no image" in refusal(write_zip(content), expected)


def test_a_damaged_license_is_refused(write_zip: WriteZip) -> None:
    zip_ = EditableZip(series_zip())
    zip_.put(zip_.central_at(0) + CRC, "<L", 1).put(zip_.descriptor_at(0) + 4, "<L", 1)
    assert "LICENSE: its CRC is wrong" in refusal(write_zip(zip_))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a DICOM file"),
        (b"<html>", "not a DICOM file"),
        (b"".join(zip_chunks([Entry("inside.dcm", [IMAGES[NAMES[0]]])])), "not a DICOM file"),
        (IMAGES[NAMES[0]][:140], ""),
        (bytes(128) + b"DICM" + bytes(64), ""),
    ],
    ids=["empty", "html", "nested zip", "cut header", "no header"],
)
def test_a_member_that_is_not_dicom_is_refused(
    write_zip: WriteZip, content: bytes, problem: str
) -> None:
    path = write_zip(series_zip(IMAGES | {NAMES[1]: content}))
    assert f"'00000002.dcm': {problem}" in refusal(path, Expectation(SERIES, 3, None))


def test_a_header_longer_than_the_first_bytes_is_read(write_zip: WriteZip) -> None:
    images = IMAGES | {NAMES[0]: dicom(1, private_bytes=200_000)}
    assert accept(write_zip(series_zip(images)), Expectation(SERIES, 3, None)).image_count == 3


@pytest.mark.parametrize("room", range(-4, len(SERIES) + 10))
def test_first_bytes_that_end_inside_a_uid_are_not_used(write_zip: WriteZip, room: int) -> None:
    """64 KiB are read first; the UID begins that many bytes before their end."""
    uid_at = dicom(1, private_bytes=2).rindex(SERIES.encode())
    image = dicom(1, private_bytes=(64 << 10) - room - uid_at + 2 & ~1)
    assert abs(image.rindex(SERIES.encode()) - ((64 << 10) - room)) <= 1
    images = IMAGES | {NAMES[0]: image}
    assert accept(write_zip(series_zip(images)), Expectation(SERIES, 3, None)).image_count == 3


def fail(*_: Any) -> Any:
    raise AssertionError("nothing should be inflated")


def refusal_before_inflation(path: Path, expected: Expectation) -> str:
    never: Any = SimpleNamespace(decompressobj=fail, crc32=fail, error=())
    with pytest.raises(BadArchive) as caught:
        accept(path, expected, inflater=never)
    return str(caught.value)


def zip_with_false_claim(size: int, compressed: bytes) -> bytes:
    """Return a zip with a member that claims to inflate to `size` bytes."""
    bomb = Entry("00000004.dcm", [compressed], deflated=(0, size))
    return series_zip(IMAGES, bomb)


def test_more_bytes_than_listed_are_refused_before_inflation(write_zip: WriteZip) -> None:
    path = write_zip(zip_with_false_claim(10 * 10**9 // 1000, bytes(10**4)))
    assert "bytes, but the source lists" in refusal_before_inflation(
        path, replace(EXPECTED, image_count=4)
    )


def test_ten_gigabytes_from_ten_megabytes_are_refused_before_inflation(write_zip: WriteZip) -> None:
    bombs = [Entry(f"{n}.dcm", [bytes(2**20)], deflated=(0, 1000 << 20)) for n in range(2)]
    problem = refusal_before_inflation(
        write_zip(series_zip(IMAGES, *bombs)), Expectation(SERIES, None, None)
    )
    assert "bytes claims to hold" in problem


@pytest.mark.parametrize("size", [1033 * 10**4 + 2048, 2 << 30])
def test_an_impossible_ratio_is_refused_before_inflation(write_zip: WriteZip, size: int) -> None:
    problem = refusal_before_inflation(
        write_zip(zip_with_false_claim(size, bytes(10**4))), Expectation(SERIES, None, None)
    )
    assert f"'00000004.dcm' claims {size} bytes, compressed to 10000" in problem


def test_a_claim_smaller_than_the_data_is_refused_before_inflation(write_zip: WriteZip) -> None:
    problem = refusal_before_inflation(
        write_zip(zip_with_false_claim(100, bytes(10**4))), Expectation(SERIES, None, None)
    )
    assert "claims 100 bytes, compressed to 10000" in problem


def test_one_image_too_many_is_refused_before_inflation(write_zip: WriteZip) -> None:
    content = series_zip(IMAGES | {"00000004.dcm": b"more"})
    assert "4 images, but the source lists 3" in refusal_before_inflation(
        write_zip(content), EXPECTED
    )


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads the mappings of Linux")
def test_a_refused_zip_is_unmapped_while_the_error_exists(write_zip: WriteZip) -> None:
    zip_ = EditableZip(series_zip())
    path = write_zip(
        zip_.put(zip_.central_at(2) + CRC, "<L", 1).put(zip_.descriptor_at(2) + 4, "<L", 1)
    )
    with pytest.raises(BadArchive) as caught:
        accept(path, EXPECTED)
    assert "CRC" in str(caught.value)
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_a_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        accept(tmp_path / "none.zip", EXPECTED)


def verdict(path: Path, inflater: inflate.Inflater, workers: int) -> Proof | str:
    try:
        return accept(path, EXPECTED, workers=workers, inflater=inflater)
    except BadArchive as error:
        return str(error)


@pytest.mark.parametrize("whole", [series_zip(), as_zip64(series_zip()), zip_without_list()])
@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(
    tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    path, whole_path = tmp_path / "changed.zip", tmp_path / "whole.zip"
    path.write_bytes(changed)
    whole_path.write_bytes(whole)

    verdicts = {verdict(path, inflater, 1) for inflater in inflate.AVAILABLE}
    verdicts.add(verdict(path, inflate.FASTEST, 2))

    assert len(verdicts) == 1
    if isinstance(only := verdicts.pop(), Proof):
        assert only.members == accept(whole_path, EXPECTED).members
        assert read_members(bytes(changed)) == read_members(whole)


def test_a_whole_zip_has_no_problems(write_zip: WriteZip) -> None:
    found = inspect(write_zip(series_zip()), EXPECTED)
    assert found.problems == ()
    assert found.members == accept(write_zip(series_zip()), EXPECTED).members


def test_the_last_image_of_an_incomplete_zip_is_not_trusted(write_zip: WriteZip) -> None:
    """NBIA gives an image that it cuts off a valid CRC, and ends the zip."""
    images = {NAMES[0]: IMAGES[NAMES[0]], NAMES[1]: IMAGES[NAMES[1]][:-20]}
    found = inspect(write_zip(zip_without_list(images)), EXPECTED)
    assert names_of(found.members) == [NAMES[0]]
    assert found.problems[0] == "2 images, but the source lists 3"
    assert (
        found.problems[-1]
        == "'00000002.dcm' may be cut off: it is the last image of an incomplete zip"
    )


def test_an_md5_proves_the_last_image_of_an_incomplete_zip(write_zip: WriteZip) -> None:
    images = {name: IMAGES[name] for name in NAMES[:2]}
    found = inspect(write_zip(series_zip(images)), EXPECTED)
    assert names_of(found.members) == NAMES[:2]
    assert len(found.problems) == 2


def test_each_bad_member_is_a_problem_and_the_others_are_good(write_zip: WriteZip) -> None:
    zip_ = EditableZip(series_zip(md5s=md5_list_entry(IMAGES, **{NAMES[0]: "0" * 32})))
    zip_.put(zip_.central_at(3) + CRC, "<L", 1).put(zip_.descriptor_at(3) + 4, "<L", 1)
    uids = frozenset(f"{SERIES}.{number}" for number in (1, 2, 3))
    found = inspect(write_zip(zip_), replace(EXPECTED, sop_instance_uids=uids))
    assert names_of(found.members) == [NAMES[1]]
    assert found.problems[:2] == (
        "the MD5 of '00000001.dcm' differs from the one in md5hashes.csv",
        "'00000003.dcm': its CRC is wrong",
    )
    assert found.missing == uids - {f"{SERIES}.2"}


def test_an_empty_zip_misses_all_images(write_zip: WriteZip) -> None:
    uids = frozenset({f"{SERIES}.1"})
    found = inspect(write_zip(EMPTY), replace(EXPECTED, sop_instance_uids=uids))
    assert (found.members, found.missing) == ((), uids)


@pytest.mark.parametrize(
    "content",
    [
        series_zip()[:-1],
        series_zip() + b"x",
        series_zip(IMAGES, Entry("../outside.dcm", [b"outside"])),
        series_zip(IMAGES | {"00000004.dcm": b"more"}),
    ],
)
def test_nothing_of_a_broken_or_hostile_zip_is_used(write_zip: WriteZip, content: bytes) -> None:
    with pytest.raises(BadArchive):
        inspect(write_zip(content), EXPECTED)
