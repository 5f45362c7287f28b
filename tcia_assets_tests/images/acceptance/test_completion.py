"""An incomplete zip and single images make a whole zip."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from pathlib import Path

import pytest

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance.completion import pack
from tcia_assets.images.acceptance.rules import Member, accept, inspect
from tcia_assets.sandbox.zip_stream import zip_chunks
from tcia_assets_tests.images.acceptance.sample_zips import (
    CRC,
    EXPECTED,
    IMAGES,
    LICENSE_ENTRY,
    MD5_LIST,
    NAMES,
    SERIES,
    EditableZip,
    WriteZip,
    image_entries,
    names_of,
    read_members,
    series_zip,
)


@pytest.fixture
def third_image(tmp_path: Path) -> dict[str, Path]:
    path = tmp_path / "third.dcm"
    path.write_bytes(IMAGES[NAMES[2]])
    return {f"{SERIES}.3.dcm": path}


def test_an_incomplete_zip_is_completed_with_single_images(
    write_zip: WriteZip, tmp_path: Path, third_image: dict[str, Path]
) -> None:
    source = write_zip(series_zip({name: IMAGES[name] for name in NAMES[:2]}))
    target = tmp_path / "new.zip"

    pack(source, inspect(source, EXPECTED).members, third_image, target)

    proof = accept(target, EXPECTED)
    assert names_of(proof.members) == [*NAMES[:2], f"{SERIES}.3.dcm"]
    assert list(read_members(target.read_bytes())) == [
        "LICENSE",
        *names_of(proof.members),
        MD5_LIST,
    ]
    with zipfile.ZipFile(target) as archive:
        assert archive.read("LICENSE") == b"CC BY 4.0\n"
        assert archive.testzip() is None


def test_kept_members_are_compressed_or_not_as_before(
    write_zip: WriteZip, tmp_path: Path, third_image: dict[str, Path]
) -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr(NAMES[0], IMAGES[NAMES[0]])
        archive.writestr(NAMES[1], IMAGES[NAMES[1]])
    source, target = write_zip(stored.getvalue()), tmp_path / "new.zip"

    pack(source, inspect(source, EXPECTED).members, third_image, target)

    with zipfile.ZipFile(target) as archive:
        assert archive.getinfo(NAMES[0]).compress_type == zipfile.ZIP_STORED
        assert archive.namelist() == [NAMES[0], f"{SERIES}.3.dcm", MD5_LIST]


def test_the_same_images_give_the_same_zip(
    write_zip: WriteZip, tmp_path: Path, third_image: dict[str, Path]
) -> None:
    kept = image_entries({name: IMAGES[name] for name in NAMES[:2]})
    written = []
    for year in (2001, 2020):
        sent = b"".join(zip_chunks([LICENSE_ENTRY, *kept], dt.datetime(year, 1, 1, tzinfo=dt.UTC)))
        source = write_zip(sent)
        pack(source, inspect(source, EXPECTED).members, third_image, tmp_path / "new.zip")
        written.append((tmp_path / "new.zip").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("name", [NAMES[0], NAMES[0].upper(), "LICENSE", MD5_LIST, "../x.dcm"])
def test_a_taken_or_hostile_name_is_refused(
    write_zip: WriteZip, tmp_path: Path, third_image: dict[str, Path], name: str
) -> None:
    source, target = write_zip(series_zip()), tmp_path / "new.zip"
    (path,) = third_image.values()
    with pytest.raises(BadArchive):
        pack(source, inspect(source, EXPECTED).members, {name: path}, target)
    assert not target.exists()


def test_a_missing_member_cannot_be_kept(write_zip: WriteZip, tmp_path: Path) -> None:
    member = Member("00000009.dcm", f"{SERIES}.9", 1, "0" * 32)
    with pytest.raises(BadArchive, match=r"has no image '00000009\.dcm' to keep"):
        pack(write_zip(series_zip()), [member], {}, tmp_path / "new.zip")


def test_a_damaged_license_is_not_copied(write_zip: WriteZip, tmp_path: Path) -> None:
    zip_ = EditableZip(series_zip())
    zip_.put(zip_.central_at(0) + CRC, "<L", 1).put(zip_.descriptor_at(0) + 4, "<L", 1)
    source = write_zip(zip_)
    with pytest.raises(BadArchive, match="its CRC is wrong"):
        pack(source, inspect(source, EXPECTED).members, {}, tmp_path / "new.zip")
