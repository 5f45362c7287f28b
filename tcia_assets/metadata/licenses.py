"""Licence names: their short form, and the SQL by which a selection refuses some of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.store import sql

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
# All punctuation except the dot of a version.
_SEPARATORS = r"[\x01-\x2d\x2f\x3a-\x60\x7b-\x7f" + "\u00a0\u2010-\u2015]+"
# From a licence's name to its short form, for `re` and for DuckDB's RE2 alike. Only ASCII is
# changed: beyond it the two disagree on what a letter is.
_REWRITES = (
    # A short name behind the long one.
    (r"([^(])[(]cc[^()]*[)]", r"\1"),
    (_SEPARATORS, "-"),
    (r"^creativecommons[.]org-(licenses|publicdomain)-", "cc-"),
    (r"creative-commons", "cc"),
    (r"attribution", "by"),
    (r"non-?commercial", "nc"),
    (r"no-?deriv(ative)?s?(-works)?", "nd"),
    (r"share-?alike", "sa"),
    (r"-(unported|international|universal|generic|public-domain-dedication|deed)(-|$)", r"-\2"),
    (r"-(public-)?licen[sc]e(-|$)", r"-\2"),
    (r"-v(ersion-)?([0-9])", r"-\2"),
    (r"-+", "-"),
    (r"^[-.]+|[-.]+$", ""),
    (r"^cc-?(0|zero)", "cc0"),
    (r"^(cc)?by(-|$)", r"cc-by\2"),
)
_RESTRICTIONS = ("nc", "nd", "sa")

_NAME = "nullif(trim(LicenseName), '')"
# The only kind of address that identifies a licence.
_CC_URI = "regexp_extract(LicenseURI, '(?i)creativecommons[.]org/.*')"
# SQL that is true for a Series without a licence in the source.
UNLICENSED = f"({_NAME} IS NULL AND nullif(trim(LicenseURI), '') IS NULL)"


@dataclass(frozen=True)
class Licenses:
    """Licences that a selection refuses, or the only ones that it accepts.

    A name is the source's own or a short one, in any case and punctuation: `CC BY-NC 3.0`,
    `CC-BY-NC-3.0` and the long name are the same. Without a version it means every version; `NC`,
    `ND` and `SA` mean every licence with that restriction.

    Args:
        deny: Licences that are refused.
        allow: Licences that are accepted; all others are refused. Empty accepts all.

    Raises:
        UsageError: Both are empty, or a name is not the name of a licence.
    """

    deny: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.deny or self.allow):
            raise UsageError("image selection: licenses needs names under deny or allow")
        for name in self.deny + self.allow:
            if not short_license(name):
                raise UsageError(f"image selection: {name!r} in licenses is not a licence's name")

    @property
    def refused(self) -> str:
        """SQL that is true for a Series with a licence that is refused."""
        name, uri = _short(_NAME), _short(_CC_URI)
        conditions = []
        if self.deny:
            # The address too: it may be clear where the name is not one that we can read.
            conditions += [_matches(name, self.deny), _matches(uri, self.deny)]
        if self.allow:
            given = f"CASE WHEN {_NAME} NOTNULL THEN {name} ELSE {uri} END"
            conditions.append(f"NOT coalesce({_matches(given, self.allow)}, false)")
        either = " OR ".join(f"coalesce({condition}, false)" for condition in conditions)
        return f"(NOT {UNLICENSED} AND ({either}))"


def short_license(name: str) -> str:
    """Return the short form by which licences are compared; "" if there is none.

    Args:
        name: The name of a licence, or its address at Creative Commons.

    >>> short_license("Creative Commons Attribution-NonCommercial 3.0 Unported License")
    'cc-by-nc-3.0'
    """
    short = name.translate(str.maketrans(_UPPER, _LOWER))
    for pattern, replacement in _REWRITES:
        short = re.sub(pattern, replacement, short)
    return short


def unmatched_licenses(licenses: Licenses | None, known: Iterable[str]) -> tuple[str, ...]:
    """Return the names in `licenses` that match none of the known licences.

    Args:
        licenses: The licences of a selection.
        known: The LicenseNames in the warehouse.

    Raises:
        UnknownName: A name is not a Creative Commons licence and resembles no known one.
    """
    names = licenses.deny + licenses.allow if licenses else ()
    shorts = {short_license(each): each for each in known}
    unmatched = [n for n in names if not any(re.search(_pattern(n), short) for short in shorts)]
    for name in unmatched:
        short = short_license(name)
        is_common = short in _RESTRICTIONS or re.match(r"cc-by|cc0", short)
        if shorts and not is_common and not difflib.get_close_matches(short, shorts, cutoff=0.5):
            raise UnknownName("licence", name, shorts.values())
    return tuple(unmatched)


def _short(expression: str) -> str:
    """Return SQL for `short_license` of a text."""
    short = f"translate({expression}, {sql.literal(_UPPER)}, {sql.literal(_LOWER)})"
    for pattern, replacement in _REWRITES:
        arguments = f"{sql.literal(pattern)}, {sql.literal(replacement)}"
        short = f"regexp_replace({short}, {arguments}, 'g')"
    return short


def _matches(short: str, names: tuple[str, ...]) -> str:
    """Return SQL that is true for a short form that one of these names means."""
    return f"regexp_matches({short}, {sql.literal('|'.join(map(_pattern, names)))})"


def _pattern(name: str) -> str:
    """Return a regular expression for the short forms that a name means."""
    short = short_license(name)
    if short in _RESTRICTIONS:
        return f"(^|-){short}(-|$)"
    any_version = "(-[0-9].*)?" if re.fullmatch(r"cc-by(-(nc|nd|sa))*|cc0", short) else ""
    return f"^{re.escape(short)}{any_version}$"
