"""The DICOM attributes that columns hold, from the declaration and the dictionary.

Whether a declared column can hold its attribute is decided here, before any header is read. How a
value is converted is in `values.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from tcia_assets.catalog import HEADER_COLUMNS, TABLES
from tcia_assets.formats.elements import import_pydicom
from tcia_assets.spec import Column

# The last group of which images of every Modality need an attribute. What follows is read of PT and
# NM only: private groups between the two are often larger than the rest of the header.
_LAST_COMMON_GROUP = 0x0028

_NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "UL", "US"})
_TEXTS = frozenset({"AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI", "UT"})
# The VRs that a column of a kind can hold, and whether it holds one value, several or either.
_FITTING: dict[str, tuple[frozenset[str], str]] = {
    "uid": (frozenset({"UI"}), "one"),
    "text": (_TEXTS, "any"),
    "day": (frozenset({"DA"}), "one"),
    "whole": (_NUMBERS, "one"),
    "count": (_NUMBERS, "one"),
    "number": (_NUMBERS, "one"),
    "numbers": (_NUMBERS, "several"),
}
_MULTIPLICITY = re.compile(r"([0-9]+)(?:-([0-9]*)n?)?")


class Attribute(NamedTuple):
    """A column that a header fills, with the attribute's usual VR and multiplicity.

    It has `least` to `most` values; `most` is None without a limit.
    """

    column: Column
    tag: int
    vr: bytes
    least: int
    most: int | None


class HeaderAttributes(NamedTuple):
    """The attributes of `images`, by tag, and the tags to find for them.

    Attributes:
        by_tag: All attributes.
        common: Tags at the top level that are read of every object.
        all_tags: Tags at the top level that are read of PT and NM.
        inside: For each sequence the tags that are read of its first item.
    """

    by_tag: Mapping[int, Attribute]
    common: frozenset[int]
    all_tags: frozenset[int]
    inside: Mapping[int, frozenset[int]]


@cache
def header_attributes() -> HeaderAttributes:
    """Return the attributes of the columns of `images`.

    Raises:
        MissingExtra: pydicom, which has the dictionary, is not installed.
        TypeError: A column cannot hold its attribute.
    """
    attributes = [attribute_of(column) for column in HEADER_COLUMNS]
    sequences = {number_of_tag(c.inside) for c in HEADER_COLUMNS if c.inside}
    top = {each.tag for each in attributes if not each.column.inside} | sequences
    return HeaderAttributes(
        {each.tag: each for each in attributes},
        frozenset(tag for tag in top if tag >> 16 <= _LAST_COMMON_GROUP),
        frozenset(top),
        {sequence: _tags_inside(attributes, sequence) for sequence in sequences},
    )


@cache
def declared_attributes() -> Mapping[int, Attribute]:
    """Return the attributes that columns of any table hold, by tag.

    Raises:
        MissingExtra: pydicom, which has the dictionary, is not installed.
        TypeError: A column cannot hold its attribute.
    """
    columns = (column for table in TABLES for column in table.columns if column.tag)
    attributes = map(attribute_of, dict.fromkeys(columns))
    # An attribute has the same name and kind in all tables.
    return {attribute.tag: attribute for attribute in attributes}


def attribute_of(column: Column) -> Attribute:
    """Return the attribute that a column declares.

    Raises:
        MissingExtra: pydicom is not installed.
        TypeError: The dictionary has no such attribute, or its VR or its multiplicity does not fit
            the column's kind.
    """
    dictionary, tag = import_pydicom().datadict, number_of_tag(column.tag)
    if not dictionary.dictionary_has_tag(tag):
        raise TypeError(f"{column.name}: DICOM has no attribute {column.tag}")
    vr, multiplicity = dictionary.dictionary_VR(tag), dictionary.dictionary_VM(tag)
    least, most = _parse_multiplicity(multiplicity)
    if not _fits(column.kind.name, vr, most):
        raise TypeError(
            f"{column.name}: a column of kind {column.kind.name!r} cannot hold {column.tag}, which "
            f"has VR {vr} and VM {multiplicity}"
        )
    return Attribute(column, tag, vr.encode(), least, most)


def number_of_tag(tag: str) -> int:
    """Return a tag as a number.

    >>> hex(number_of_tag("(0018,0050)"))
    '0x180050'
    """
    return int(tag[1:5] + tag[6:10], 16)


def _fits(kind: str, vr: str, most: int | None) -> bool:
    vrs, how_many = _FITTING.get(kind, (frozenset(), ""))
    return vr in vrs and how_many in {"any", "one" if most == 1 else "several"}


def _parse_multiplicity(text: str) -> tuple[int, int | None]:
    """Return the least and the greatest number of values: 2 of both for 2, 1 and None for 1-n."""
    found = _MULTIPLICITY.fullmatch(text)
    if found is None:
        raise TypeError(f"unknown multiplicity {text!r}")
    least, most = int(found[1]), found[2]
    if "n" in text:
        return least, None
    return least, int(most) if most else least


def _tags_inside(attributes: Iterable[Attribute], sequence: int) -> frozenset[int]:
    return frozenset(
        each.tag
        for each in attributes
        if each.column.inside and number_of_tag(each.column.inside) == sequence
    )
