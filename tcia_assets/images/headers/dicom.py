"""The header of one DICOM object -> who it is, and what `images` tells of it.

What belongs here: reading DICOM, from as few bytes as will do. What does not: where objects come
from (`series_zips.py`, `image_rows.py`), and what stands in sequences (`referenced_objects.py`).

The elements are walked here: pydicom takes three times as long, and does not tell a header that is
cut from one that has ended. Of what values mean, it knows what is not obvious: character sets, and
the kind and number of an attribute's values.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from tcia_assets.catalog import IMAGES
from tcia_assets.errors import MissingExtra, escape_unprintable
from tcia_assets.spec import Column

_MAGIC_AT = 128
MAGIC = b"DICM"
_META_AT = _MAGIC_AT + len(MAGIC)

_UID = re.compile(r"[0-9]+([.][0-9]+)*", re.ASCII)
_LONGEST_UID = 64
# Four times what DICOM allows for a text of one value.
_LONGEST_TEXT = 256
_LARGEST_WHOLE = 1 << 63


class TruncatedHeader(ValueError):
    """The bytes end before the header does: more bytes of the object would tell."""


@dataclass(frozen=True)
class Identity:
    """Which object a file holds, and of which Series."""

    sop_instance_uid: str
    series_instance_uid: str


def is_dicom(head: bytes) -> bool:
    """Whether bytes begin as a DICOM file does: a preamble of 128 bytes, then DICM."""
    return head[_MAGIC_AT:_META_AT] == MAGIC


def identify(head: bytes) -> Identity:
    """The identity in a DICOM file, whole or its first bytes; nothing behind it is looked at.

    Raises:
        TruncatedHeader: the bytes end before both UIDs.
        ValueError: there is no identity in it, for the reason that it says.
    """
    header = _read(head, _IDENTITY)
    uids = [ascii_of(header.found[tag].raw) if tag in header.found else "" for tag in _IDENTITY]
    if not all(uids):
        missing = "a DICOM file without SOPInstanceUID or SeriesInstanceUID"
        raise (
            ValueError(missing)
            if header.is_passed
            else TruncatedHeader(f"{missing}: it may be cut")
        )
    for uid in uids:
        if not is_uid(uid):
            raise ValueError(f"a DICOM file with {uid[:_LONGEST_UID]!r} in the place of a UID")
    return Identity(*uids)


def read_header(head: bytes, size: int) -> dict[str, Any]:
    """What the header says of each attribute in `images`, and `error` with what it says amiss.

    Args:
        head: the first bytes of the object, or all.
        size: how many bytes the whole object has.

    Attributes that are absent, empty or not of their column's kind are null; the latter are named
    in `error`. So are those that enhanced objects keep for each frame: absent at the top.

    Raises:
        TruncatedHeader: the header goes on behind the head.
        ValueError: nothing can be read, for the reason that it says.
        MissingExtra: pydicom is not installed.

    """
    header = _read(head, _tags())
    problems = []
    if not header.is_passed:
        if len(head) < size and header.goes_to <= size:
            raise TruncatedHeader(f"the header goes on behind {len(head)} bytes")
        if header.goes_to != size:
            problems.append("the object ends within its header")
    row: dict[str, Any] = {}
    for attribute in _attributes():
        name = attribute.column.name
        try:
            row[name] = _value(attribute, header)
        except ValueError as error:
            row[name] = None
            problems.append(f"{name}: {error}")
    if row["SOPInstanceUID"] is None:
        problems.insert(0, "no SOPInstanceUID tells it from others")
    return row | {"error": "; ".join(problems) or None}


def require_pydicom() -> None:
    """Raises MissingExtra where pydicom is not installed."""
    _pydicom()


def _pydicom() -> Any:
    try:
        import pydicom  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("pydicom", "dicom", "reading the headers of images") from None
    return pydicom


# --- Elements -------------------------------------------------------------------------------------

_SYNTAX = 0x0002_0010
_LAST_OF_META = 0x0002_FFFF
CHARACTER_SET = 0x0008_0005
_IDENTITY = (0x0008_0018, 0x0020_000E)
DELIMITERS = frozenset({0xFFFE_E00D, 0xFFFE_E0DD})
_DELIMITING_GROUP = 0xFFFE
UNDEFINED = 0xFFFF_FFFF

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)
# Of a deflated header: who goes on behind that may mean it as a bomb.
_MOST_INFLATED = 1 << 24

# Those whose length takes two bytes, and four.
_SHORT = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"}
    | {b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)


class Element(NamedTuple):
    """An element's value as it stands in the object; `vr` is b"" where the object does not say."""

    vr: bytes
    raw: bytes


class Layout(NamedTuple):
    """How elements are written."""

    is_explicit: bool
    order: str
    short: struct.Struct
    long: struct.Struct


class _Header(NamedTuple):
    """The elements that were sought.

    `is_passed` is whether there is an element behind the last of them; if not, `goes_to` is the
    least length that the object must have, as far as that can be told.
    """

    found: dict[int, Element]
    order: str
    is_passed: bool
    goes_to: int


def _layout(*, is_explicit: bool, order: str = "<") -> Layout:
    return Layout(is_explicit, order, struct.Struct(f"{order}HH2sH"), struct.Struct(f"{order}L"))


_LAYOUTS = {
    (is_explicit, order): _layout(is_explicit=is_explicit, order=order)
    for is_explicit in (True, False)
    for order in "<>"
}


def _read(head: bytes, tags: tuple[int, ...]) -> _Header:
    """The elements of these tags, in rising order; nothing behind the last one is looked at.

    Raises ValueError where it is no DICOM file at all.
    """
    found: dict[int, Element] = {}
    wanted = frozenset(tags) | {CHARACTER_SET}
    start = begin(head, found)
    if not start.is_passed:
        return _Header(found, "<", is_passed=False, goes_to=start.at)
    body, at = (inflated(head[start.at :]), 0) if start.is_deflated else (head, start.at)
    layout = seen_layout(body, at, start.order)
    end, is_passed = _walk(body, at, layout, wanted, tags[-1], found)
    # Where the body is deflated, lengths in it say nothing about those of the object.
    goes_to = end if body is head else len(head) + (end != len(body))
    return _Header(found, start.order, is_passed, goes_to)


class Start(NamedTuple):
    """Where an object's own elements begin, and how they are written.

    Where `is_passed` is false the head ends before: `at` is how far the object must go at least.
    """

    at: int
    order: str
    is_deflated: bool
    is_passed: bool


def begin(head: bytes, found: dict[int, Element]) -> Start:
    """Passes what stands before an object's own elements; puts the transfer syntax into `found`.

    Raises ValueError where it is no DICOM file at all.
    """
    if not is_dicom(head):
        raise ValueError("not a DICOM file: no DICM after the preamble")
    layout = seen_layout(head, _META_AT, "<")
    at, is_passed = _walk(head, _META_AT, layout, {_SYNTAX}, _LAST_OF_META, found)
    syntax = ascii_of(found[_SYNTAX].raw) if _SYNTAX in found else ""
    order = ">" if syntax == _BIG_ENDIAN else "<"
    return Start(at, order, syntax in _DEFLATED, is_passed)


def seen_layout(head: bytes, at: int, order: str) -> Layout:
    """How the element at a place is written."""
    # What is written counts, not what the transfer syntax says: some objects say the wrong one.
    return _LAYOUTS[_is_vr(head[at + 4 : at + 6]), order]


def _is_vr(seen: bytes) -> bool:
    return seen.isalpha() and seen.isupper()


def inflated(body: bytes) -> bytes:
    """What a deflated body holds, up to a bound."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, _MOST_INFLATED)
    except zlib.error as error:
        raise ValueError(f"a deflated DICOM file that does not inflate: {error}") from error


def _walk(
    head: bytes,
    at: int,
    layout: Layout,
    wanted: Collection[int],
    last: int,
    found: dict[int, Element],
) -> tuple[int, bool]:
    """Finds the wanted elements up to the tag `last`; see `_Header` for what it returns.

    Where an element behind the last was met, the place returned is that element's.
    """
    end = len(head)
    try:
        while at < end:
            start = at
            tag, vr, length, at = element_at(head, at, layout)
            if tag > last:
                return start, True
            if length == UNDEFINED:
                at, vr, length = _behind_items(head, at, inner_layout(layout, vr)), b"SQ", 0
            if tag in wanted and at + length <= end:
                found[tag] = Element(vr, head[at : at + length])
            at += length
    except struct.error:
        return end + 1, False
    return at, False


def element_at(head: bytes, at: int, layout: Layout) -> tuple[int, bytes, int, int]:
    """Tag, VR and length of the element at a place, and the place of its value."""
    group, element, vr, length = layout.short.unpack_from(head, at)
    tag = group << 16 | element
    if layout.is_explicit and group != _DELIMITING_GROUP:
        if vr in _SHORT:
            return tag, vr, length, at + 8
        if vr in _LONG:
            return tag, vr, layout.long.unpack_from(head, at + 8)[0], at + 12
        if _is_vr(vr):
            return tag, vr, length, at + 8
    return tag, b"", layout.long.unpack_from(head, at + 4)[0], at + 8


def inner_layout(layout: Layout, vr: bytes) -> Layout:
    """How the items of an element are written: those of an unknown one always implicitly."""
    return _LAYOUTS[False, "<"] if vr == b"UN" else layout


def _behind_items(head: bytes, at: int, layout: Layout) -> int:
    """Where the items of undefined length that begin here end; raises struct.error behind `head`.

    A stack and not recursion: who nests ten thousand of them gets no further than the others.
    """
    layouts = [layout]
    while layouts:
        tag, vr, length, at = element_at(head, at, layouts[-1])
        if tag in DELIMITERS:
            layouts.pop()
        elif length == UNDEFINED:
            layouts.append(inner_layout(layouts[-1], vr))
        else:
            at += length
    return at


# --- Values ---------------------------------------------------------------------------------------

_BINARY = {b"US": "H", b"SS": "h", b"UL": "L", b"SL": "l", b"FL": "f", b"FD": "d"}
# Python also reads 1_000, nan and the digits of other scripts.
_DECIMALS = re.compile(rb"[-+0-9.eE \\]+")


class _Attribute(NamedTuple):
    """A column of `images` that the header fills: its usual VR, how many values it has."""

    column: Column
    tag: int
    vr: bytes
    values: int
    read: Callable[[_Attribute, Element, _Header], Any]


@cache
def _attributes() -> tuple[_Attribute, ...]:
    datadict = _pydicom().datadict
    readers = {
        "uid": _uid,
        "text": _text,
        "whole": _whole,
        "count": _whole,
        "number": _number,
        "numbers": _numbers,
    }

    def attribute(column: Column) -> _Attribute:
        tag = int(column.tag[1:5] + column.tag[6:10], 16)
        vr, values = datadict.dictionary_VR(tag), datadict.dictionary_VM(tag)
        return _Attribute(column, tag, vr.encode(), int(values), readers[column.kind.name])

    return tuple(attribute(column) for column in IMAGES.columns if column.tag)


@cache
def _tags() -> tuple[int, ...]:
    return tuple(sorted(attribute.tag for attribute in _attributes()))


def _value(attribute: _Attribute, header: _Header) -> Any:
    """The value; None where there is none. Raises ValueError where it is not of its kind."""
    element = header.found.get(attribute.tag)
    if element is None:
        return None
    if element.vr == b"SQ":
        raise ValueError(f"a sequence is not {attribute.column.kind.rule}")
    vr = attribute.vr if element.vr in {b"", b"UN"} else element.vr
    element = Element(vr, element.raw if vr in _BINARY else element.raw.strip(b" \0"))
    return attribute.read(attribute, element, header) if element.raw else None


def _uid(attribute: _Attribute, element: Element, _header: _Header) -> str:
    uid = ascii_of(element.raw)
    if not is_uid(uid):
        raise _not_of_its_kind(attribute, element)
    return uid


def _text(attribute: _Attribute, element: Element, header: _Header) -> str:
    text = decoded(element.raw, header.found.get(CHARACTER_SET))
    if len(text) > _LONGEST_TEXT:
        raise _not_of_its_kind(attribute, element)
    return escape_unprintable(text)


def _whole(attribute: _Attribute, element: Element, header: _Header) -> int:
    (value,) = _exactly(attribute, element, header)
    least = 0 if attribute.column.kind.name == "count" else -_LARGEST_WHOLE
    if value != int(value) or not least <= value < _LARGEST_WHOLE:
        raise _not_of_its_kind(attribute, element)
    return int(value)


def _number(attribute: _Attribute, element: Element, header: _Header) -> float:
    return float(_exactly(attribute, element, header)[0])


def _numbers(attribute: _Attribute, element: Element, header: _Header) -> list[float]:
    return [float(value) for value in _exactly(attribute, element, header)]


def _exactly(attribute: _Attribute, element: Element, header: _Header) -> list[float]:
    """Finite numbers, as many as the attribute has; whole ones are int, for floats round them."""
    try:
        values = (
            _binary(_BINARY[element.vr], element, header)
            if element.vr in _BINARY
            else _decimals(element.raw)
        )
        if len(values) == attribute.values and all(map(math.isfinite, values)):
            return values
    except (ValueError, OverflowError, struct.error):
        pass
    raise _not_of_its_kind(attribute, element)


def _binary(code: str, element: Element, header: _Header) -> list[float]:
    number = struct.Struct(f"{header.order}{code}")
    return [value for (value,) in number.iter_unpack(element.raw)]


def _decimals(raw: bytes) -> list[float]:
    if not _DECIMALS.fullmatch(raw):
        raise ValueError("not decimals")
    return [_decimal(part.strip()) for part in raw.split(b"\\")]


def _decimal(text: bytes) -> float:
    return int(text) if text.isdigit() else float(text)


def _not_of_its_kind(attribute: _Attribute, element: Element) -> ValueError:
    said = element.raw[:_LONGEST_UID].decode("latin-1")
    return ValueError(f"{said!r} is not {attribute.column.kind.rule}")


def is_sequence(tag: int) -> bool:
    """Whether the attribute of this tag is a sequence, as far as DICOM's dictionary has it."""
    datadict = _pydicom().datadict
    return bool(datadict.dictionary_has_tag(tag) and datadict.dictionary_VR(tag) == "SQ")


def is_uid(text: str) -> bool:
    """Whether a text is a UID: digits and dots, at most 64."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def ascii_of(raw: bytes) -> str:
    """Bytes as text, without padding; what is not ASCII becomes a mark."""
    return raw.decode("ascii", "replace").strip(" \0")


def decoded(raw: bytes, character_set: Element | None) -> str:
    """Text in the character set that the object names; raises ValueError where it is not in it."""
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    charset = _pydicom().charset
    named = [] if character_set is None else ascii_of(character_set.raw).split("\\")
    names = [name.strip(" ") for name in named]
    # What pydicom would replace, with a warning, is not the text that was written.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            said: str = charset.decode_bytes(raw, charset.convert_encodings(names), set())
        except (UserWarning, UnicodeError, LookupError):
            raise ValueError(f"{raw[:_LONGEST_UID]!r} is not text in {names or 'ASCII'}") from None
    return said
