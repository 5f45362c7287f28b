"""Licences as badges: a short name, and what the licence asks in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tcia_assets.metadata.licenses import short_license
from tcia_assets.metadata.markdown import is_plain_url, one_line

OPEN, LIMITED, UNKNOWN = "open", "limited", "unknown"

_RECOGNIZED = re.compile(r"(cc-by|cc0)((?:-(?:nc|nd|sa))*)(?:-([0-9.]+))?")
_COMMONS = re.compile(r"creativecommons[.]org/.*", re.IGNORECASE)
_CREDIT = "Credit the authors: cite the data by its DOI."
_ASKS = {
    "nc": "No commercial use.",
    "nd": "Do not distribute changed data.",
    "sa": "Share what you derive under the same licence.",
}
_UNKNOWN_ASKS = "Read its terms before you use the data."
_MISSING_ASKS = "The source states none: ask TCIA before you use or pass on the data."


@dataclass(frozen=True)
class Badge:
    """A licence as a page shows it.

    Attributes:
        short: Its short name, such as "CC BY 4.0".
        name: Its name, as the source writes it.
        url: Its address; "" if there is none that may be a link.
        kind: "open" for CC BY and CC0, "limited" for others of Creative Commons, or "unknown".
        asks: What it asks, a sentence each.
    """

    short: str
    name: str
    url: str
    kind: str
    asks: tuple[str, ...]


def badge(name: str | None, uri: str | None = None) -> Badge:
    """Return the badge of a licence.

    >>> badge("Creative Commons Attribution-NonCommercial 3.0 Unported License").short
    'CC BY-NC 3.0'
    """
    shown, address = str(one_line(name or "")), (uri or "").strip()
    url = address if is_plain_url(address) else ""
    if not (shown or address):
        return Badge("No licence stated", "", "", UNKNOWN, (_MISSING_ASKS,))
    common = _COMMONS.search(address)
    names = (shown, common[0] if common else "")
    match = next(filter(None, (_RECOGNIZED.fullmatch(short_license(n)) for n in names)), None)
    if not match:
        return Badge(shown or address, shown or address, url, UNKNOWN, (_UNKNOWN_ASKS,))
    family, limits, version = match[1], match[2].strip("-"), match[3] or ""
    words = [each for each in limits.split("-") if each]
    label = "-".join(["CC0" if family == "cc0" else "BY", *(each.upper() for each in words)])
    short = f"{'' if family == 'cc0' else 'CC '}{label} {version}".strip()
    asks = [] if family == "cc0" else [_CREDIT]
    asks += [_ASKS[each] for each in words]
    return Badge(
        short, shown or short, url, LIMITED if words else OPEN, tuple(asks or ["Nothing."])
    )
