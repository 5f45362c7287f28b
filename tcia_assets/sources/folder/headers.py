"""Read the header of one file of a folder: the attributes that describe Series, Study and patient.

What else a header has is read later, from the zip of the Series.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from tcia_assets.catalog import PATIENTS, SERIES, STUDIES
from tcia_assets.formats.attributes import Attribute, attribute_of
from tcia_assets.formats.elements import (
    CHARACTER_SET,
    FoundElements,
    decode_ascii,
    find_elements,
    is_dicom,
    is_uid,
)
from tcia_assets.formats.values import read_value
from tcia_assets.spec import Column

SOP_INSTANCE_UID, _SOP_TAG = "SOPInstanceUID", 0x0008_0018
# FileSetID, which the index of a medium has and no image.
_DIRECTORY_TAG = 0x0004_1130
# Nearly always enough; then more, because private elements may lie between.
_HEADS = (16 << 10, 1 << 20, 16 << 20)


class LeftOut(StrEnum):
    """Why a file is not imported."""

    NOT_DICOM = "not DICOM"
    DIRECTORY = "DICOMDIR"
    WITHOUT_UID = "DICOM without SOPInstanceUID or SeriesInstanceUID"


class NoObject(ValueError):
    """A file that holds no DICOM object that can be imported; `why` is the reason."""

    def __init__(self, why: LeftOut) -> None:
        self.why = why
        super().__init__(why.value)


@cache
def header_columns() -> tuple[Column, ...]:
    """Return the columns that a header fills, of `series`, `studies` and `patients`."""
    columns = (c for table in (SERIES, STUDIES, PATIENTS) for c in table.columns if c.tag)
    return tuple({column.name: column for column in columns}.values())


@cache
def _attributes() -> dict[int, Attribute]:
    return {each.tag: each for each in map(attribute_of, header_columns())}


def read_object(path: Path) -> dict[str, Any]:
    """Return what the header of a file says, by column, and its SOPInstanceUID.

    A value that is absent, or cannot be read, is None; `images` names those that cannot.

    Raises:
        NoObject: The file is left out.
        OSError: It cannot be read.
    """
    try:
        found = _read_head(path)
    except ValueError:
        raise NoObject(LeftOut.NOT_DICOM) from None
    uid = decode_ascii(found.by_tag[_SOP_TAG].raw) if _SOP_TAG in found.by_tag else ""
    if not uid and _DIRECTORY_TAG in found.by_tag:
        raise NoObject(LeftOut.DIRECTORY)
    row = {each.column.name: _value(each, found) for each in _attributes().values()}
    if not is_uid(uid) or row["SeriesInstanceUID"] is None:
        raise NoObject(LeftOut.WITHOUT_UID)
    return row | {SOP_INSTANCE_UID: uid}


def _read_head(path: Path) -> FoundElements:
    tags = {*_attributes(), _SOP_TAG, _DIRECTORY_TAG}
    with path.open("rb", buffering=0) as file:
        head = b""
        for size in _HEADS:
            head += file.read(size - len(head))
            if not is_dicom(head):
                raise ValueError("no DICM after the preamble")
            found = find_elements(head, tags)
            if found.is_complete or len(head) < size:
                break
    return found


def _value(attribute: Attribute, found: FoundElements) -> Any:
    element = found.by_tag.get(attribute.tag)
    if element is None:
        return None
    try:
        return read_value(attribute, element, found.order, found.by_tag.get(CHARACTER_SET))
    except ValueError:
        return None
