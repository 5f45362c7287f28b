"""Walk the data elements at the top level of a DICOM object, from the first bytes of its file.

The encoding of DICOM belongs here: file meta information, transfer syntaxes, tags, lengths,
sequences to skip, UIDs, character sets. Which elements are read, and what they mean, is in
`dicom.py` (for `images`) and `referenced_objects.py`.

pydicom provides the dictionary and the character sets. Its own reader takes three to ten times as
long and does not distinguish a truncated header from a complete one; see
docs/decisions/0018-own-readers-of-zips-and-dicom-headers.md.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Collection
from functools import cache
from typing import Any, NamedTuple

from tcia_assets.errors import MissingExtra
from tcia_assets.spec import UID_PATTERN

_MAGIC_OFFSET = 128
_MAGIC = b"DICM"
_META_OFFSET = _MAGIC_OFFSET + len(_MAGIC)

_UID = re.compile(UID_PATTERN, re.ASCII)
MAX_UID_LENGTH = 64

CHARACTER_SET = 0x0008_0005
DELIMITERS = frozenset({0xFFFE_E00D, 0xFFFE_E0DD})
UNDEFINED_LENGTH = 0xFFFF_FFFF
_DELIMITER_GROUP = 0xFFFE
_ITEM, _ITEM_HEAD_BYTES = 0xFFFE_E000, 8
_TRANSFER_SYNTAX = 0x0002_0010
_LAST_META_TAG = 0x0002_FFFF

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)
# The most that is inflated of a deflated object, which may be a decompression bomb.
_MAX_INFLATED_BYTES = 1 << 24

# VRs whose length takes four bytes; that of all others takes two.
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)


class TruncatedHeader(ValueError):
    """The given bytes end before the header does; more bytes of the object are needed."""


class Element(NamedTuple):
    """An element's value as encoded in the object; `vr` is b"" in an object with implicit VRs."""

    vr: bytes
    raw: bytes


class Encoding(NamedTuple):
    """How elements are encoded; `order` is "<" or ">", as in `struct`."""

    is_explicit: bool
    order: str
    short: struct.Struct
    long: struct.Struct


class Start(NamedTuple):
    """Where the elements after the file meta information begin, and how they are encoded.

    If `is_complete` is False, the bytes end before that; `offset` is then the least length that
    the object must have.
    """

    offset: int
    order: str
    is_deflated: bool
    is_complete: bool


class FoundElements(NamedTuple):
    """Elements by tag, and how far the bytes reach.

    `is_complete` is True if an element with a greater tag than the wanted ones was reached. If not,
    `min_length` is the least length that the object must have, as far as that is known.
    """

    by_tag: dict[int, Element]
    order: str
    is_complete: bool
    min_length: int


def import_pydicom() -> Any:
    """Return the module pydicom; raise MissingExtra if it is not installed."""
    try:
        import pydicom  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("pydicom", "dicom", "reading the headers of images") from None
    return pydicom


def is_dicom(head: bytes) -> bool:
    """Return whether bytes begin as a DICOM file does: a preamble of 128 bytes, then DICM."""
    return head[_MAGIC_OFFSET:_META_OFFSET] == _MAGIC


def find_elements(head: bytes, tags: Collection[int]) -> FoundElements:
    """Find elements at the top level of an object, and the element of its character set.

    Args:
        head: The first bytes of the object, or all.
        tags: The tags to find. Nothing after the greatest one is read.

    Raises:
        ValueError: The bytes are not a DICOM file.
    """
    by_tag: dict[int, Element] = {}
    start = read_meta(head, by_tag)
    if not start.is_complete:
        return FoundElements(by_tag, "<", is_complete=False, min_length=start.offset)
    body, offset = head, start.offset
    if start.is_deflated:
        body, offset = inflate_body(head[start.offset :]), 0
    encoding = detect_encoding(body, offset, start.order)
    wanted = frozenset(tags) | {CHARACTER_SET}
    end, is_complete = _walk(body, offset, encoding, wanted, max(tags), by_tag)
    # Lengths in a deflated body say nothing about the length of the object.
    min_length = len(head) + (end != len(body)) if start.is_deflated else end
    return FoundElements(by_tag, start.order, is_complete, min_length)


def find_in_first_item(raw: bytes, order: str, tags: Collection[int]) -> dict[int, Element]:
    """Find elements in the first item of a sequence; none if it has no item.

    Args:
        raw: The encoded value of the sequence.
        order: As in `Encoding`.
        tags: The tags to find.
    """
    by_tag: dict[int, Element] = {}
    # The encoding may differ from that of the object, if the VR of the sequence is UN.
    encoding = detect_encoding(raw, _ITEM_HEAD_BYTES, order)
    try:
        tag, _, length, offset = read_element(raw, 0, encoding)
    except struct.error:
        return by_tag
    if tag == _ITEM:
        end = len(raw) if length == UNDEFINED_LENGTH else offset + length
        _walk(raw[:end], offset, encoding, tags, max(tags), by_tag)
    return by_tag


def read_meta(head: bytes, by_tag: dict[int, Element]) -> Start:
    """Read the file meta information, and add the transfer syntax to `by_tag`.

    Raises:
        ValueError: The bytes are not a DICOM file.
    """
    if not is_dicom(head):
        raise ValueError("not a DICOM file: no DICM after the preamble")
    encoding = detect_encoding(head, _META_OFFSET, "<")
    wanted = {_TRANSFER_SYNTAX}
    offset, is_complete = _walk(head, _META_OFFSET, encoding, wanted, _LAST_META_TAG, by_tag)
    syntax = decode_ascii(by_tag[_TRANSFER_SYNTAX].raw) if _TRANSFER_SYNTAX in by_tag else ""
    order = ">" if syntax == _BIG_ENDIAN else "<"
    return Start(offset, order, syntax in _DEFLATED, is_complete)


def detect_encoding(head: bytes, offset: int, order: str) -> Encoding:
    """Return the encoding of the element at an offset.

    It is detected, because some objects have a transfer syntax that they do not follow.
    """
    return _ENCODINGS[_is_vr(head[offset + 4 : offset + 6]), order]


_ENCODINGS = {
    (is_explicit, order): Encoding(
        is_explicit, order, struct.Struct(f"{order}HH2sH"), struct.Struct(f"{order}L")
    )
    for is_explicit in (True, False)
    for order in "<>"
}


def item_encoding(encoding: Encoding, vr: bytes) -> Encoding:
    """Return the encoding of an element's items: those of VR UN have implicit VRs."""
    return _ENCODINGS[False, "<"] if vr == b"UN" else encoding


def _is_vr(code: bytes) -> bool:
    return code.isalpha() and code.isupper()


def inflate_body(body: bytes) -> bytes:
    """Return the inflated body of an object with a deflated transfer syntax, up to 16 MiB."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, _MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise ValueError(f"a deflated DICOM file that does not inflate: {error}") from error


def _walk(
    head: bytes,
    offset: int,
    encoding: Encoding,
    wanted: Collection[int],
    last: int,
    by_tag: dict[int, Element],
) -> tuple[int, bool]:
    """Add the wanted elements up to the tag `last` to `by_tag`.

    Returns the offset of the first element with a greater tag and True, or the least length that
    the object must have and False.
    """
    end = len(head)
    try:
        while offset < end:
            start = offset
            tag, vr, length, offset = read_element(head, offset, encoding)
            if tag > last:
                return start, True
            if length == UNDEFINED_LENGTH:
                length = _skip_items(head, offset, item_encoding(encoding, vr)) - offset
                vr = b"SQ"
            if tag in wanted and offset + length <= end:
                by_tag[tag] = Element(vr, head[offset : offset + length])
            offset += length
    except struct.error:
        return end + 1, False
    return offset, False


def read_element(head: bytes, offset: int, encoding: Encoding) -> tuple[int, bytes, int, int]:
    """Return tag, VR and length of the element at an offset, and the offset of its value.

    Raises:
        struct.error: The bytes end within these.
    """
    group, element, vr, length = encoding.short.unpack_from(head, offset)
    tag = group << 16 | element
    if encoding.is_explicit and group != _DELIMITER_GROUP:
        if vr in _LONG_VRS:
            return tag, vr, encoding.long.unpack_from(head, offset + 8)[0], offset + 12
        if _is_vr(vr):
            return tag, vr, length, offset + 8
    return tag, b"", encoding.long.unpack_from(head, offset + 4)[0], offset + 8


def _skip_items(head: bytes, offset: int, encoding: Encoding) -> int:
    """Return where a value of undefined length ends; raise struct.error if `head` ends before.

    Nested sequences are kept in a list, because recursion would fail with ten thousand levels.
    """
    encodings = [encoding]
    while encodings:
        tag, vr, length, offset = read_element(head, offset, encodings[-1])
        if tag in DELIMITERS:
            encodings.pop()
        elif length == UNDEFINED_LENGTH:
            encodings.append(item_encoding(encodings[-1], vr))
        else:
            offset += length
    return offset


# --- Values -------------------------------------------------------------------------------------


@cache
def is_sequence(tag: int, vr: bytes) -> bool:
    """Return whether an element is a sequence: by its VR or, if it has none, the dictionary."""
    if vr not in {b"", b"UN"}:
        return vr == b"SQ"
    dictionary = import_pydicom().datadict
    return bool(dictionary.dictionary_has_tag(tag) and dictionary.dictionary_VR(tag) == "SQ")


def is_uid(text: str) -> bool:
    """Return whether a text is a UID: components of digits, with dots, at most 64 characters."""
    return len(text) <= MAX_UID_LENGTH and _UID.fullmatch(text) is not None


def decode_ascii(raw: bytes) -> str:
    """Return bytes as text without padding; bytes that are not ASCII become U+FFFD."""
    return raw.decode("ascii", "replace").strip(" \0")


def decode_text(raw: bytes, character_set: Element | None) -> str:
    """Return text decoded with the SpecificCharacterSet of the object.

    Raises:
        ValueError: The bytes are not valid in that character set, or it is unknown.
    """
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    charset = import_pydicom().charset
    names = [] if character_set is None else decode_ascii(character_set.raw).split("\\")
    names = [name.strip(" ") for name in names]
    # pydicom warns and replaces what it cannot decode. The result would not be the original text.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return str(charset.decode_bytes(raw, charset.convert_encodings(names), set()))
        except (UserWarning, UnicodeError, LookupError):
            shown = raw[:MAX_UID_LENGTH]
            raise ValueError(f"{shown!r} is not text in {names or 'ASCII'}") from None
