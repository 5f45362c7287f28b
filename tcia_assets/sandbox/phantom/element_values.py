"""Convert values of the catalogue to valid DICOM values; None for invalid ones.

Lengths, characters and formats follow the value representations.
"""

from __future__ import annotations

import re
from datetime import date

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_AGE = re.compile(r"[0-9]{3}[DWMY]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")
_NOT_CODE = re.compile(r"[^A-Z0-9 _]")
# Control characters, the backslash (it separates values), and surrogates (invalid in UTF-8).
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")


def text(value: object, limit: int) -> str | None:
    r"""Return at most `limit` characters of a text, without those that DICOM forbids.

    >>> text(" Thorax\\1.0 ", 64)
    'Thorax 1.0'
    """
    if value is None:
        return None
    return _NOT_TEXT.sub(" ", str(value)).strip()[:limit].rstrip() or None


def code_string(value: object) -> str | None:
    """Return a CS: at most 16 capitals, digits, blanks and underscores.

    >>> code_string("Head-Neck")
    'HEAD_NECK'
    """
    cleaned = text(value, 64)
    return cleaned and (_NOT_CODE.sub("_", cleaned.upper())[:16].strip() or None)


def person_name(value: object) -> str | None:
    """Return a PN of one component group with at most five components.

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
    """Return the value if it is a valid UID.

    >>> uid("1.2.3"), uid("1.02.3"), uid("x")
    ('1.2.3', None, None)
    """
    written = str(value)
    return written if len(written) <= 64 and _UID.fullmatch(written) else None  # noqa: PLR2004


def sex(value: object) -> str | None:
    """Return F, M or O."""
    return str(value) if value in {"F", "M", "O"} else None


def age(value: object) -> str | None:
    """Return an AS, such as 063Y."""
    written = str(value)
    return written if _AGE.fullmatch(written) else None


def day(value: object) -> str | None:
    """Return a DA.

    >>> day(date(2001, 2, 3))
    '20010203'
    """
    if not isinstance(value, date):
        return None
    return f"{value.year:04}{value.month:02}{value.day:02}"


def clock(seconds: int) -> str:
    """Return a TM from the seconds since midnight.

    >>> clock(3 * 3600 + 61)
    '030101'
    """
    minutes, second = divmod(seconds % 86400, 60)
    return f"{minutes // 60:02}{minutes % 60:02}{second:02}"


def whole(value: object) -> int | None:
    """Return an IS: a whole number of 32 bits.

    >>> whole("0012"), whole(5.0), whole(2**40)
    (12, 5, None)
    """
    written = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if not _WHOLE.fullmatch(written):
        return None
    number = int(written)
    return number if -(2**31) <= number < 2**31 else None


def count(value: object) -> int:
    """Return a number of objects; 0 for an invalid value."""
    return max(whole(value) or 0, 0)


def millimetres(micrometres: int) -> str:
    """Return a DS in millimetres, exactly.

    >>> millimetres(-157_500)
    '-157.500'
    """
    return f"{micrometres / 1000:.3f}"
