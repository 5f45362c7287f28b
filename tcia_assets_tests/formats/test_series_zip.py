"""The zip of a Series is written in order, with fixed times and the MD5s at its end."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tcia_assets.formats.series_zip import write_series_zip


def write(path: Path, images: dict[str, bytes]) -> bytes:
    with write_series_zip(path) as new:
        new.add("LICENSE", io.BytesIO(b"CC BY 4.0\n"), 10)
        for name, content in images.items():
            new.add_image(name, io.BytesIO(content), len(content), f"{len(content):032x}")
    return path.read_bytes()


def test_members_are_stored_in_order_and_listed_last(tmp_path: Path) -> None:
    content = write(tmp_path / "a.zip", {"2.dcm": b"two" * 999, "1.dcm": b"one"})
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert file.namelist() == ["LICENSE", "2.dcm", "1.dcm", "md5hashes.csv"]
        assert {m.compress_type for m in file.infolist()[:3]} == {zipfile.ZIP_STORED}
        assert file.read("2.dcm") == b"two" * 999
        assert file.read("md5hashes.csv").decode().splitlines() == [
            "Filename,MD5Hash",
            f"2.dcm,{2997:032x}",
            f"1.dcm,{3:032x}",
        ]


def test_the_same_members_give_the_same_bytes(tmp_path: Path) -> None:
    images = {f"{n}.dcm": bytes([n]) * 1000 for n in range(20)}
    assert write(tmp_path / "a.zip", images) == write(tmp_path / "b.zip", images)


def test_an_error_in_between_leaves_no_list(tmp_path: Path) -> None:
    def write_half() -> None:
        with write_series_zip(tmp_path / "a.zip") as new:
            new.add_image("1.dcm", io.BytesIO(b"1"), 1, "0" * 32)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert file.namelist() == ["1.dcm"]
