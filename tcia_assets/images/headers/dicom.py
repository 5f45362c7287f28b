"""Read the header of a DICOM object: its identity, and the columns of `images`.

Converting elements to values belongs here. How elements are encoded is in `elements.py`, where
objects come from in `image_rows.py`, and what their sequences hold in `referenced_objects.py`.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from tcia_assets.catalog import IMAGES
from tcia_assets.errors import escape_unprintable
from tcia_assets.images.headers.elements import (
    CHARACTER_SET,
    MAX_UID_LENGTH,
    Element,
    FoundElements,
    TruncatedHeader,
    decode_ascii,
    decode_text,
    find_elements,
    import_pydicom,
    is_uid,
)
from tcia_assets.spec import Column

_IDENTITY_TAGS = (0x0008_0018, 0x0020_000E)
# Four times what DICOM allows for a text of one value.
_MAX_TEXT_LENGTH = 256
_INT64_LIMIT = 1 << 63


@dataclass(frozen=True)
class Identity:
    """Which object a file holds, and of which Series."""

    sop_instance_uid: str
    series_instance_uid: str


def identify(head: bytes) -> Identity:
    """Return the identity of a DICOM object.

    Args:
        head: The first bytes of the file, or all. Nothing after SeriesInstanceUID is read.

    Raises:
        TruncatedHeader: The bytes end before both UIDs.
        ValueError: The bytes are not a DICOM file, or it has no identity.
    """
    found = find_elements(head, _IDENTITY_TAGS)
    uids = [decode_ascii(found.by_tag[t].raw) if t in found.by_tag else "" for t in _IDENTITY_TAGS]
    if not all(uids):
        missing = "a DICOM file without SOPInstanceUID or SeriesInstanceUID"
        if found.is_complete:
            raise ValueError(missing)
        raise TruncatedHeader(f"{missing}: it may be truncated")
    for uid in uids:
        if not is_uid(uid):
            raise ValueError(f"a DICOM file with {uid[:MAX_UID_LENGTH]!r} instead of a UID")
    return Identity(*uids)


def read_header(head: bytes, size: int) -> dict[str, Any]:
    """Return the value of each column of `images` that a header fills, and `error`.

    An attribute is None if it is absent, empty or not valid for its column; `error` names the
    invalid ones, or is None. Attributes that enhanced objects have per frame are absent.

    Args:
        head: The first bytes of the object, or all.
        size: The size of the whole object, in bytes.

    Raises:
        TruncatedHeader: The header continues after `head`.
        ValueError: Nothing can be read; the message has the reason.
        MissingExtra: pydicom is not installed.
    """
    attributes = _attributes()
    found = find_elements(head, attributes.keys())
    problems = []
    if not found.is_complete:
        if len(head) < size and found.min_length <= size:
            raise TruncatedHeader(f"the header continues after {len(head)} bytes")
        if found.min_length != size:
            problems.append("the object ends within its header")
    row: dict[str, Any] = {}
    for attribute in attributes.values():
        name = attribute.column.name
        try:
            row[name] = _read_value(attribute, found)
        except ValueError as error:
            row[name] = None
            problems.append(f"{name}: {error}")
    if row["SOPInstanceUID"] is None:
        problems.insert(0, "it has no SOPInstanceUID")
    return row | {"error": "; ".join(problems) or None}


# --- Values -------------------------------------------------------------------------------------

_BINARY_FORMATS = {b"US": "H", b"SS": "h", b"UL": "L", b"SL": "l", b"FL": "f", b"FD": "d"}
# Python's float() and int() also accept 1_000, nan and the digits of other scripts.
_DECIMALS = re.compile(rb"[-+0-9.eE \\]+")


class _Attribute(NamedTuple):
    """A column of `images` that the header fills, with its usual VR and number of values."""

    column: Column
    tag: int
    vr: bytes
    multiplicity: int


@cache
def _attributes() -> dict[int, _Attribute]:
    """Return the attributes by tag, in the order of the columns."""
    dictionary = import_pydicom().datadict

    def attribute(column: Column) -> _Attribute:
        tag = int(column.tag[1:5] + column.tag[6:10], 16)
        vr, values = dictionary.dictionary_VR(tag), dictionary.dictionary_VM(tag)
        return _Attribute(column, tag, vr.encode(), int(values))

    found = (attribute(column) for column in IMAGES.columns if column.tag)
    return {each.tag: each for each in found}


def _read_value(attribute: _Attribute, found: FoundElements) -> Any:
    """Return the value, or None if there is none; raise ValueError if it is not valid."""
    element = found.by_tag.get(attribute.tag)
    if element is None:
        return None
    if element.vr == b"SQ":
        raise ValueError(f"a sequence is not {attribute.column.kind.rule}")
    vr = attribute.vr if element.vr in {b"", b"UN"} else element.vr
    raw = element.raw if vr in _BINARY_FORMATS else element.raw.strip(b" \0")
    return _convert(attribute, Element(vr, raw), found) if raw else None


def _convert(attribute: _Attribute, element: Element, found: FoundElements) -> Any:
    """Return the value as the kind of the column has it; raise ValueError if it is not valid."""
    match attribute.column.kind.name:
        case "uid":
            uid = decode_ascii(element.raw)
            if is_uid(uid):
                return uid
        case "text":
            text = decode_text(element.raw, found.by_tag.get(CHARACTER_SET))
            if len(text) <= _MAX_TEXT_LENGTH:
                return escape_unprintable(text)
        case "whole" | "count" as kind:
            (value,) = _parse_numbers(attribute, element, found)
            least = 0 if kind == "count" else -_INT64_LIMIT
            if value == int(value) and least <= value < _INT64_LIMIT:
                return int(value)
        case "number":
            return float(_parse_numbers(attribute, element, found)[0])
        case "numbers":
            return [float(value) for value in _parse_numbers(attribute, element, found)]
    raise _invalid(attribute, element)


def _parse_numbers(attribute: _Attribute, element: Element, found: FoundElements) -> list[float]:
    """Return finite numbers, as many as the attribute has.

    Whole numbers in text are returned as int, because a float would round large ones.
    """
    try:
        if element.vr in _BINARY_FORMATS:
            number = struct.Struct(f"{found.order}{_BINARY_FORMATS[element.vr]}")
            values = [value for (value,) in number.iter_unpack(element.raw)]
        else:
            values = _parse_decimals(element.raw)
        if len(values) == attribute.multiplicity and all(map(math.isfinite, values)):
            return values
    except (ValueError, OverflowError, struct.error):
        pass
    raise _invalid(attribute, element)


def _parse_decimals(raw: bytes) -> list[float]:
    if not _DECIMALS.fullmatch(raw):
        raise ValueError("not decimal numbers")
    texts = (part.strip() for part in raw.split(b"\\"))
    return [int(text) if text.isdigit() else float(text) for text in texts]


def _invalid(attribute: _Attribute, element: Element) -> ValueError:
    text = element.raw[:MAX_UID_LENGTH].decode("latin-1")
    return ValueError(f"{text!r} is not {attribute.column.kind.rule}")
