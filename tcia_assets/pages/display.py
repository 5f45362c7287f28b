"""How values are shown on pages: numbers, sizes, dates, ages, names.

Separators are narrow no-break spaces, so that a number is never broken over two lines.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

from jinja2.utils import urlize
from markupsafe import Markup

from tcia_assets.metadata.markdown import is_plain_url, one_line
from tcia_assets.sources.doi import doi_key
from tcia_assets.units import format_bytes

THIN = "\u202f"
MINUS = "\u2212"
NOTHING = "\u2013"
"""What stands where there is no value."""
NOT_GIVEN = "not given"

_ELLIPSIS = "…"
_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")
_BULLETS = ("- ", "* ", "• ")
_SEXES = {"F": "Female", "M": "Male", "O": "Other", "": NOT_GIVEN}
_MODALITIES = {
    "CT": "Computed tomography",
    "MR": "Magnetic resonance",
    "PT": "Positron emission tomography",
    "MG": "Mammography",
    "CR": "Computed radiography",
    "DX": "Digital radiography",
    "US": "Ultrasound",
    "NM": "Nuclear medicine",
    "XA": "X-ray angiography",
    "RF": "Fluoroscopy",
    "SC": "Secondary capture",
    "SM": "Slide microscopy",
    "SEG": "Segmentation",
    "RTSTRUCT": "Radiotherapy structures (contours)",
    "RTDOSE": "Radiotherapy dose",
    "RTPLAN": "Radiotherapy plan",
    "SR": "Structured report",
    "PR": "Presentation state",
    "KO": "Key object selection",
    "REG": "Registration",
    "ANN": "Annotations",
    "OT": "Other",
}


def number(value: float | None) -> str:
    """Return a number with thin separators; a dash for None.

    >>> number(1234567).replace(THIN, "_")
    '1_234_567'
    """
    if value is None:
        return NOTHING
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return shown.replace(",", THIN)


def count(value: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "patient").split(), count(2, "Series", "Series").split()
    (['1', 'patient'], ['2', 'Series'])
    """
    return f"{number(value)}{THIN}{noun_of(value, noun, plural)}"


def noun_of(value: int, noun: str, plural: str = "") -> str:
    """Return the noun that stands with a number.

    >>> noun_of(1, "patient"), noun_of(0, "patient"), noun_of(2, "Study", "Studies")
    ('patient', 'patients', 'Studies')
    """
    return noun if value == 1 else plural or f"{noun}s"


def size(value: int | None) -> str:
    """Return a number of bytes with its unit; a dash for None."""
    return NOTHING if value is None else format_bytes(value).replace(" ", THIN)


def day(value: date | datetime | None) -> str:
    """Return a date as 2026-11-27; a dash for None."""
    if value is None:
        return NOTHING
    return f"{value.astimezone(UTC) if isinstance(value, datetime) else value:%Y-%m-%d}"


def minute(value: datetime | None) -> str:
    """Return an instant as 2026-11-27 04:30 UTC; a dash for None."""
    return NOTHING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def text(value: Any) -> str:
    """Return any value on one line; a dash for nothing."""
    if isinstance(value, datetime):
        return minute(value)
    if isinstance(value, bool) or value is None or value == "":
        return {True: "yes", False: "no"}.get(value, NOTHING)
    if isinstance(value, list):
        return ", ".join(text(each) for each in value) or NOTHING
    if isinstance(value, int | float):
        return number(value)
    return str(one_line(str(value)))


def shortened(value: str, most: int) -> str:
    """Return a text of at most `most` characters, cut off at a blank.

    >>> shortened("one two three", 9)
    'one two…'
    """
    line = str(one_line(value))
    if len(line) <= most:
        return line
    kept = line[:most].rsplit(" ", 1)[0].rstrip(" ,.;:")
    return f"{kept}{_ELLIPSIS}"


def blocks(value: str) -> list[Markup]:
    r"""Return a text as HTML, a paragraph or a list each; addresses in it are links.

    >>> blocks("See <https://x.org>\n- one\n- two")[1]
    Markup('<ul><li>one</li><li>two</li></ul>')
    """
    lines = [line for each in value.splitlines() if (line := str(one_line(each)))]
    found = []
    for is_list, group in groupby(lines, lambda line: line.startswith(_BULLETS)):
        if is_list:
            items = (Markup("<li>{}</li>").format(_linked(each[2:])) for each in group)
            found.append(Markup("<ul>{}</ul>").format(Markup().join(items)))
        else:
            found += [Markup("<p>{}</p>").format(_linked(each)) for each in group]
    return found


def _linked(line: str) -> Markup:
    return Markup(urlize(line, rel="noreferrer"))  # noqa: S704 - urlize escapes


def link(value: str | None) -> str:
    """Return an address that may be a link: http or https, without odd characters; else ""."""
    return value if value and is_plain_url(value) else ""


def doi(value: str | None) -> str:
    """Return the DOI of an address, in lower case; "" if it has none."""
    return doi_key(value)


def word(value: str) -> str:
    """Return a coded value as a word: HEADNECK as Headneck, CT and QIN as they are.

    >>> word("CHEST"), word("BRAIN STEM"), word("")
    ('Chest', 'Brain stem', 'not given')
    """
    return str(one_line(value)).capitalize() if value else NOT_GIVEN


def sex(value: str) -> str:
    """Return the name of a code of PatientSex."""
    return _SEXES.get(value, str(one_line(value)))


def modality(value: str) -> str:
    """Return what a Modality is; "" if it is not known."""
    return _MODALITIES.get(value, "")


def signed(value: str) -> str:
    """Return a text with a minus sign in place of the hyphen of each negative number.

    >>> signed("-1350 to 150 HU, T1-2") == f"{MINUS}1350 to 150 HU, T1-2"
    True
    """
    return _NEGATIVE.sub(MINUS, value)


def years(value: float | None) -> str:
    """Return an age in years; a dash for None."""
    return NOTHING if value is None else f"{value:.0f}{THIN}years"


FILTERS = {
    "number": number,
    "count": count,
    "noun": noun_of,
    "size": size,
    "day": day,
    "minute": minute,
    "text": text,
    "shortened": shortened,
    "blocks": blocks,
    "link": link,
    "doi": doi,
    "word": word,
    "sex": sex,
    "modality": modality,
    "signed": signed,
    "years": years,
}
"""The functions that templates use, by name."""
