"""The MD5 list of a zip is read, compared and written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.formats import md5_list
from tcia_assets.images.acceptance.rules import accept
from tcia_assets.sandbox.zip_stream import Entry
from tcia_assets_tests.images.acceptance.sample_zips import (
    EXPECTED,
    IMAGES,
    MD5_LIST,
    NAMES,
    WriteZip,
    md5,
    md5_list_entry,
    refusal,
    series_zip,
)


@pytest.mark.parametrize("absent", ["", "null", "NULL", " "])
def test_an_absent_md5_is_neither_an_error_nor_a_proof(write_zip: WriteZip, absent: str) -> None:
    path = write_zip(series_zip(md5s=md5_list_entry(IMAGES, **{NAMES[1]: absent})))
    assert accept(path, EXPECTED).verified_by == "count+size"
    assert accept(path, replace(EXPECTED, image_bytes=None)).verified_by == "count"


def test_an_md5_may_be_in_upper_case(write_zip: WriteZip) -> None:
    upper_case = md5(IMAGES[NAMES[0]]).upper()
    path = write_zip(series_zip(md5s=md5_list_entry(IMAGES, **{NAMES[0]: upper_case})))
    assert accept(path, EXPECTED).verified_by == "md5"


def test_a_wrong_md5_names_the_member(write_zip: WriteZip) -> None:
    path = write_zip(series_zip(md5s=md5_list_entry(IMAGES, **{NAMES[1]: "0" * 32})))
    assert "the MD5 of '00000002.dcm' differs from the one in md5hashes.csv" in refusal(path)


@pytest.mark.parametrize(
    ("listed", "name"),
    [(IMAGES | {"00000009.dcm": b""}, "00000009.dcm"), ({NAMES[0]: IMAGES[NAMES[0]]}, NAMES[1])],
)
def test_a_list_with_different_names_is_refused(
    write_zip: WriteZip, listed: dict[str, bytes], name: str
) -> None:
    problem = refusal(write_zip(series_zip(md5s=md5_list_entry(listed))))
    assert "the images and md5hashes.csv differ in" in problem
    assert repr(name) in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "does not begin with Filename,MD5Hash"),
        (b"Name,Hash\n", "does not begin with Filename,MD5Hash"),
        (b"Filename,MD5Hash\na.dcm\n", "a line that is not a name and a hash"),
        (b"Filename,MD5Hash\na.dcm,0,0\n", "a line that is not a name and a hash"),
        (b"Filename,MD5Hash\na.dcm,12\n", "not an MD5"),
        (b"Filename,MD5Hash\na.dcm,\na.dcm," + b"0" * 32, "lists 'a.dcm' with two hashes"),
        (b"Filename,MD5Hash\n\xff,\n", "cannot be read"),
        (b'Filename,MD5Hash\n"a.dcm,\n', "cannot be read"),
        (b"Filename,MD5Hash\n" + bytes(5000), "too large for a text"),
    ],
)
def test_an_invalid_list_is_refused(write_zip: WriteZip, text: bytes, problem: str) -> None:
    assert problem in refusal(write_zip(series_zip(md5s=Entry(MD5_LIST, [text]))))


def test_a_written_list_is_parsed_as_it_was() -> None:
    hashes = {name: md5(content) for name, content in IMAGES.items()}
    assert md5_list.parse(md5_list.format_list(hashes.items())) == hashes


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=8))
def test_the_hash_of_a_node_is_independent_of_order_and_case(parts: list[bytes]) -> None:
    hashes = [md5(part) for part in parts]

    assert (
        md5_list.combined_md5(hashes)
        == md5_list.combined_md5(reversed(hashes))
        == md5_list.combined_md5(h.upper() for h in hashes)
    )
    assert md5_list.combined_md5(hashes) == md5("".join(sorted(hashes)).encode())
