"""DOIs in the forms in which sources write them."""

from __future__ import annotations

import re

# The rule for a DOI in the Citation File Format's own schema.
_DOI = re.compile(
    r"(?:(?:https?://)?(?:dx[.])?doi[.]org/|doi:)?"
    r"(10[.][0-9]{4,9}(?:[.][0-9]+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+)",
    re.IGNORECASE,
)


def doi_of(text: str) -> str:
    """Return the DOI that a text is, without its address, in the case as written; "" if none.

    >>> doi_of("https://doi.org/10.7937/K9/TCIA.2017.3R3FVZ08")
    '10.7937/K9/TCIA.2017.3R3FVZ08'
    """
    match = _DOI.fullmatch(text)
    return match[1] if match else ""


def doi_key(uri: str | None) -> str:
    """Return the DOI of an address in lower case, by which DOIs are compared; "" if there is none.

    >>> doi_key(" https://doi.org/10.7937/K9/TCIA.2017.3R3FVZ08")
    '10.7937/k9/tcia.2017.3r3fvz08'
    """
    return doi_of((uri or "").strip()).lower()
