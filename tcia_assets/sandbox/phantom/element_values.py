"""The catalogue's values as DICOM lets them stand in an element; None for what may not stand there.

What belongs here: lengths, characters and forms of value representations. What does not: which
element gets which value.
"""

from __future__ import annotations

import re
from datetime import date

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_AGE = re.compile(r"[0-9]{3}[DWMY]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")
_NOT_CODE = re.compile(r"[^A-Z0-9 _]")
# control characters, the backslash (it separates values), and lone surrogates (no UTF-8 for them)
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")


def text(value: object, limit: int) -> str | None:
    r"""Text of at most `limit` characters, without those that DICOM forbids.

    >>> text(" Thorax\\1.0 ", 64)
    'Thorax 1.0'
    """
    if value is None:
        return None
    return _NOT_TEXT.sub(" ", str(value)).strip()[:limit].rstrip() or None


def code_string(value: object) -> str | None:
    """A CS: capitals, digits, blank and underscore, at most 16.

    >>> code_string("Head-Neck")
    'HEAD_NECK'
    """
    cleaned = text(value, 64)
    return cleaned and (_NOT_CODE.sub("_", cleaned.upper())[:16].strip() or None)


def person_name(value: object) -> str | None:
    """A PN of one component group with at most five components.

    >>> person_name("Doe^Jane^^Dr^^PhD")
    'Doe^Jane^^Dr^ PhD'
    """
    cleaned = text(value, 64)
    if cleaned is None:
        return None
    head, *tail = cleaned.replace("=", " ").split("^", 4)
    if len(tail) == 4:  # noqa: PLR2004 - a fifth component may hold no caret
        tail[3] = tail[3].replace("^", " ")
    return "^".join([head, *tail]).strip() or None


def uid(value: object) -> str | None:
    """A valid UID.

    >>> uid("1.2.3"), uid("1.02.3"), uid("x")
    ('1.2.3', None, None)
    """
    written = str(value)
    return written if len(written) <= 64 and _UID.fullmatch(written) else None  # noqa: PLR2004


def sex(value: object) -> str | None:
    return str(value) if value in {"F", "M", "O"} else None


def age(value: object) -> str | None:
    written = str(value)
    return written if _AGE.fullmatch(written) else None


def day(value: object) -> str | None:
    """A DA.

    >>> day(date(2001, 2, 3))
    '20010203'
    """
    if not isinstance(value, date):
        return None
    return f"{value.year:04}{value.month:02}{value.day:02}"


def clock(seconds: int) -> str:
    """A TM, from the seconds since midnight.

    >>> clock(3 * 3600 + 61)
    '030101'
    """
    minutes, second = divmod(seconds % 86400, 60)
    return f"{minutes // 60:02}{minutes % 60:02}{second:02}"


def whole(value: object) -> int | None:
    """An IS: a whole number of 32 bits.

    >>> whole("0012"), whole(5.0), whole(2**40)
    (12, 5, None)
    """
    written = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if not _WHOLE.fullmatch(written):
        return None
    number = int(written)
    return number if -(2**31) <= number < 2**31 else None


def count(value: object) -> int:
    """A number of objects; none where none is given."""
    return max(whole(value) or 0, 0)


def millimetres(micrometres: int) -> str:
    """A DS in millimetres, exact.

    >>> millimetres(-157_500)
    '-157.500'
    """
    return f"{micrometres / 1000:.3f}"
