"""One DICOM object -> what its header says. The only importer of pydicom beside the sandbox.

What belongs here: reading DICOM. What does not: where objects come from (`archive.py`).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from tcia_assets.errors import MissingExtra

_MAGIC_AT = 128
MAGIC = b"DICM"


@dataclass(frozen=True)
class Identity:
    """Which object a file holds, and of which Series."""

    sop_instance_uid: str
    series_instance_uid: str


def is_dicom(head: bytes) -> bool:
    """Whether bytes begin as a DICOM file does: a preamble of 128 bytes, then DICM."""
    return head[_MAGIC_AT : _MAGIC_AT + len(MAGIC)] == MAGIC


def identify(whole: bytes) -> Identity:
    """The identity in a DICOM file; raises ValueError, with the reason, where there is none."""
    if not is_dicom(whole):
        raise ValueError("not a DICOM file: no DICM after the preamble")
    header = _header(whole)
    uids = [str(header.get(name, "")) for name in ("SOPInstanceUID", "SeriesInstanceUID")]
    if not all(uids):
        raise ValueError("a DICOM file without SOPInstanceUID or SeriesInstanceUID")
    return Identity(*uids)


def require() -> None:
    """Raises MissingExtra where pydicom is not installed: before the first byte is fetched."""
    _pydicom()


def _header(whole: bytes) -> Any:
    pydicom = _pydicom()
    try:
        return pydicom.dcmread(
            io.BytesIO(whole),
            stop_before_pixels=True,
            specific_tags=["SOPInstanceUID", "SeriesInstanceUID"],
        )
    # pydicom raises whatever a broken header leads it into.
    except Exception as error:
        raise ValueError(f"a DICOM header that cannot be read: {error}") from error


def _pydicom() -> Any:
    try:
        import pydicom  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("pydicom", "dicom", "checking images") from None
    return pydicom
