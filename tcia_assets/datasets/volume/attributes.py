"""Values of DICOM attributes, or a default where a header has something unusable in their place."""

from __future__ import annotations

import math

from pydicom.dataset import Dataset

Numbers = tuple[float, ...]


def first_item(holder: Dataset, sequence: str) -> Dataset | None:
    """Return the first item of a sequence, or None."""
    items = holder.get(sequence)
    return items[0] if items else None


def read_numbers(holder: Dataset, keyword: str, count: int) -> Numbers | None:
    """Return exactly `count` finite numbers, or None."""
    try:
        value = holder.get(keyword)
        numbers = () if value is None else tuple(float(each) for each in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def read_number(holder: Dataset, keyword: str) -> float | None:
    """Return a finite number, or None."""
    try:
        number = float(holder.get(keyword))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_int(holder: Dataset, keyword: str, default: int) -> int:
    """Return a number without its fraction, or the default."""
    number = read_number(holder, keyword)
    return default if number is None else int(number)


def read_text(holder: Dataset, keyword: str) -> str:
    """Return a value as text without surrounding blanks, or ""."""
    try:
        value = holder.get(keyword)
    except (TypeError, ValueError):
        return ""
    return "" if value is None else str(value).strip()


def read_texts(holder: Dataset, keyword: str) -> tuple[str, ...]:
    """Return all values as texts without surrounding blanks; none for an empty attribute."""
    try:
        value = holder.get(keyword)
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
