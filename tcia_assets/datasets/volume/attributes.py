"""Values of DICOM attributes, or a default where a header has something unusable in their place.

Numbers and codes are read from the bytes of the file: pydicom makes an object of each, with checks
that these functions do anyway, which would be most of the time of a header.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

Numbers = tuple[float, ...]

_DECIMAL, _INTEGER = "DS", "IS"
# Kinds of text that are ASCII in every character set.
_CODES = frozenset({"AS", "CS", "DA", "DT", "TM", "UI"})
_PADDING = b" \0"
_SEPARATOR = b"\\"


def first_item(holder: Dataset, sequence: str) -> Dataset | None:
    """Return the first item of a sequence, or None."""
    items = holder.get(sequence)
    return items[0] if items else None


def read_numbers(holder: Dataset, keyword: str, count: int) -> Numbers | None:
    """Return exactly `count` finite numbers, or None."""
    try:
        kind, raw = _raw(holder, keyword)
        value = raw.split(_SEPARATOR) if kind == _DECIMAL else _parsed(holder, keyword)
        numbers = () if value is None else tuple(float(each) for each in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def read_number(holder: Dataset, keyword: str) -> float | None:
    """Return a finite number, or None."""
    try:
        number = float(_number(holder, keyword))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_int(holder: Dataset, keyword: str, default: int) -> int:
    """Return a number without its fraction, or the default."""
    number = read_number(holder, keyword)
    return default if number is None else int(number)


def read_text(holder: Dataset, keyword: str) -> str:
    """Return a value as text without surrounding blanks, or ""."""
    kind, raw = _raw(holder, keyword)
    if kind in _CODES and raw.isascii() and _SEPARATOR not in raw:
        return raw.decode("ascii").strip()
    try:
        value = _parsed(holder, keyword)
    except (TypeError, ValueError):
        return ""
    return "" if value is None else str(value).strip()


def read_texts(holder: Dataset, keyword: str) -> tuple[str, ...]:
    """Return all values as texts without surrounding blanks; none for an empty attribute."""
    try:
        value = _parsed(holder, keyword)
    except (TypeError, ValueError):
        return ()
    if value is None or value == "":
        return ()
    return tuple(str(each).strip() for each in ([value] if isinstance(value, str) else value))


def read_moment(holder: Dataset, event: str) -> str:
    """Return date and time of an event such as "Content", which sort as texts; or ""."""
    return read_text(holder, f"{event}Date") and (
        read_text(holder, f"{event}Date") + read_text(holder, f"{event}Time")
    )


# --- Elements -------------------------------------------------------------------------------------


@cache
def _tag_and_vr(keyword: str) -> tuple[BaseTag, str]:
    tag = Tag(keyword)
    return tag, dictionary_VR(tag)


def _raw(holder: Dataset, keyword: str) -> tuple[str, bytes]:
    """Return the VR and the bytes of a value that pydicom has not parsed yet; "" without one."""
    tag, usual = _tag_and_vr(keyword)
    element = holder.get_item(tag)
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return "", b""
    return element.VR or usual, element.value.rstrip(_PADDING)


def _number(holder: Dataset, keyword: str) -> Any:
    """Return what a number is made of; None without the attribute."""
    kind, raw = _raw(holder, keyword)
    # Of an integer, pydicom refuses a fraction.
    is_plain = kind == _DECIMAL or (kind == _INTEGER and raw.strip().isdigit())
    return raw if is_plain else _parsed(holder, keyword)


def _parsed(holder: Dataset, keyword: str) -> Any:
    """Return the value of an attribute as pydicom parses it; None without the attribute."""
    tag, _ = _tag_and_vr(keyword)
    return None if holder.get_item(tag) is None else holder[tag].value
