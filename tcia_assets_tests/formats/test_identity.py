"""The UIDs of a DICOM file are read from as few bytes as hold them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.formats.elements import TruncatedHeader
from tcia_assets.formats.identity import Identity, identify, identify_file
from tcia_assets_tests.images.headers.dicom_bytes import (
    SERIES,
    SERIES_ELEMENT,
    SOP,
    dicom_file,
    element,
)


def test_the_identity_is_read_from_the_bytes_before_its_end() -> None:
    content = dicom_file(element(0x00280010, "US", b"\0\2"))
    head = content[: content.index(SERIES_ELEMENT) + len(SERIES_ELEMENT)]
    assert identify(head) == Identity(SOP, SERIES)
    with pytest.raises(TruncatedHeader):
        identify(head[:-1])


@pytest.mark.parametrize("private_bytes", [0, 20_000, 2 << 20])
def test_a_file_is_read_as_far_as_its_uids(tmp_path: Path, private_bytes: int) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom_file(element(0x00191001, "OB", bytes(private_bytes))) + bytes(5000))
    assert identify_file(path) == Identity(SOP, SERIES)


@pytest.mark.parametrize("content", [b"", b"<html>", bytes(200)])
def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a DICOM file"):
        identify_file(path)
