"""Convert the encoded value of a DICOM element to the value of its column."""

from __future__ import annotations

import math
import re
import struct
from datetime import date
from functools import lru_cache
from typing import Any

from tcia_assets.errors import escape_unprintable
from tcia_assets.formats.attributes import Attribute, declared_attributes
from tcia_assets.formats.elements import (
    MAX_UID_LENGTH,
    Element,
    decode_ascii,
    decode_text,
    is_uid,
)

# Four times what DICOM allows for a text of one value.
_MAX_TEXT_LENGTH = 256
_MAX_JOINED_LENGTH = 1024
_INT64_LIMIT = 1 << 63

_BINARY_FORMATS = {b"US": "H", b"SS": "h", b"UL": "L", b"SL": "l", b"FL": "f", b"FD": "d"}
# Python's float() and int() also accept 1_000, nan and the digits of other scripts.
_DECIMALS = re.compile(rb"[-+0-9.eE \\]+")
# The form with dots is that of ACR-NEMA, which DICOM asks readers to accept.
_DAY = re.compile(r"([0-9]{4})([.]?)([0-9]{2})\2([0-9]{2})")
_AGE = re.compile(r"([0-9]{1,3})([DWMY])")
_UNITS_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}

# Most values are the same in all objects of a Series. Long ones are not kept.
_CACHED_VALUES, _MAX_CACHED_BYTES = 4096, 128


def read_value(
    attribute: Attribute, element: Element, order: str, character_set: Element | None
) -> Any:
    """Return the value as the column has it; None if it is empty.

    Args:
        attribute: The attribute.
        element: Its element.
        order: The order of bytes: "<" or ">", as in `struct`.
        character_set: The element of the object's SpecificCharacterSet.

    Raises:
        ValueError: The value is not valid for the column.
    """
    convert = _convert if len(element.raw) <= _MAX_CACHED_BYTES else _convert.__wrapped__
    return convert(attribute.tag, element, order, character_set)


def age_in_years(age: str | None) -> float | None:
    """Return a DICOM age string in years; None if the text is not one.

    >>> age_in_years("063Y"), age_in_years("018M"), age_in_years("63")
    (63.0, 1.5, None)
    """
    found = _AGE.fullmatch((age or "").upper())
    return int(found[1]) / _UNITS_PER_YEAR[found[2]] if found else None


@lru_cache(maxsize=_CACHED_VALUES)
def _convert(tag: int, element: Element, order: str, character_set: Element | None) -> Any:
    attribute = declared_attributes()[tag]
    if element.vr == b"SQ":
        raise ValueError(f"a sequence is not {attribute.column.kind.rule}")
    vr = attribute.vr if element.vr in {b"", b"UN"} else element.vr
    raw = element.raw if vr in _BINARY_FORMATS else element.raw.strip(b" \0")
    return _value(attribute, Element(vr, raw), order, character_set) if raw else None


def _value(
    attribute: Attribute, element: Element, order: str, character_set: Element | None
) -> Any:
    match attribute.column.kind.name:
        case "uid":
            value: Any = _parse_uid(element)
        case "text":
            value = _parse_text(attribute, element, character_set)
        case "day":
            value = _parse_day(element)
        case "numbers":
            value = [float(number) for number in _parse_numbers(attribute, element, order)]
        case kind:
            (number,) = _parse_numbers(attribute, element, order)
            value = float(number) if kind == "number" else _whole(number, kind)
    if value is None:
        raise _invalid(attribute, element)
    return value


def _parse_uid(element: Element) -> str | None:
    uid = decode_ascii(element.raw)
    return uid if is_uid(uid) else None


def _parse_text(
    attribute: Attribute, element: Element, character_set: Element | None
) -> str | None:
    text, longest = decode_text(element.raw, character_set), _MAX_TEXT_LENGTH
    if attribute.most != 1:
        text = "\\".join(part.strip(" ") for part in text.split("\\"))
        longest = _MAX_JOINED_LENGTH
    return escape_unprintable(text) if len(text) <= longest else None


def _parse_day(element: Element) -> date | None:
    found = _DAY.fullmatch(decode_ascii(element.raw))
    try:
        return date(int(found[1]), int(found[3]), int(found[4])) if found else None
    except ValueError:
        return None


def _whole(number: float, kind: str) -> int | None:
    least = 0 if kind == "count" else -_INT64_LIMIT
    return int(number) if number == int(number) and least <= number < _INT64_LIMIT else None


def _parse_numbers(attribute: Attribute, element: Element, order: str) -> list[float]:
    """Return finite numbers, as many as the attribute has.

    Whole numbers in text are returned as int, because a float would round large ones.
    """
    try:
        if element.vr in _BINARY_FORMATS:
            number = struct.Struct(f"{order}{_BINARY_FORMATS[element.vr]}")
            values = [value for (value,) in number.iter_unpack(element.raw)]
        else:
            values = _parse_decimals(element.raw)
        most = len(values) if attribute.most is None else attribute.most
        if attribute.least <= len(values) <= most and all(map(math.isfinite, values)):
            return values
    except (ValueError, OverflowError, struct.error):
        pass
    raise _invalid(attribute, element)


def _parse_decimals(raw: bytes) -> list[float]:
    if not _DECIMALS.fullmatch(raw):
        raise ValueError("not decimal numbers")
    texts = (part.strip() for part in raw.split(b"\\"))
    return [int(text) if text.isdigit() else float(text) for text in texts]


def _invalid(attribute: Attribute, element: Element) -> ValueError:
    text = element.raw[:MAX_UID_LENGTH].decode("latin-1")
    return ValueError(f"{text!r} is not {attribute.column.kind.rule}")
