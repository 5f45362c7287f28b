"""What stands in the sequences of one DICOM object: whom it refers to, and what it delineates.

What belongs here: walking an object's sequences as a stream, in bounded memory. What does not: the
attributes at the top of a header (`dicom.py`), where objects come from (`references.py`).

A reference is told by what it holds, not by the sequence that holds it: an item with a
SeriesInstanceUID names a Series, and the objects named below it are that Series'. So one walk reads
SEG, RTSTRUCT, SR, PR and what else there is, as each of their writers has laid it out. Contours and
frames are passed over, and the walk ends where the pixels begin.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from functools import cache
from typing import IO

from tcia_assets.errors import escape_unprintable
from tcia_assets.images.headers.dicom import (
    CHARACTER_SET,
    DELIMITERS,
    UNDEFINED,
    Element,
    Layout,
    TruncatedHeader,
    ascii_of,
    begin,
    decoded,
    element_at,
    inflated,
    inner_layout,
    is_sequence,
    is_uid,
    seen_layout,
)

_PIECE_BYTES = 1 << 16
# Of an element's own head: what `element_at` looks at.
_ELEMENT_BYTES = 12
# Of a value that is told; longer ones are passed over.
_LONGEST_VALUE = 4096
_LONGEST_SHOWN = 64
_MOST_PROBLEMS = 5
# Of a file whose body is deflated; its elements are inflated at once, up to a bound of their own.
_LONGEST_DEFLATED = 1 << 26
_DEEPEST = 64
_PIXELS = 0x7FE0_0000

_SERIES = 0x0020_000E
_SOP = 0x0008_1155
_FRAMES = frozenset({0x0020_0052, 0x3006_0024})
# What is named there is a Study, a Patient, a visit or a procedure step: no object.
_OF_NO_OBJECT = frozenset({0x0008_1110, 0x0008_1111, 0x0008_1120, 0x0038_0004, 0x3006_0012})

_SEGMENTS, _ROIS, _ROI_CONTOURS = 0x0062_0002, 0x3006_0020, 0x3006_0039
_CONTOURS, _OBSERVATIONS = 0x3006_0040, 0x3006_0080
_CATEGORY, _TYPE = 0x0062_0003, 0x0062_000F
_SEGMENT_NUMBER, _SEGMENT_LABEL = 0x0062_0004, 0x0062_0005
_ROI_NUMBER, _ROI_NAME, _ROI_FRAME = 0x3006_0022, 0x3006_0026, 0x3006_0024
_REFERENCED_ROI, _INTERPRETED = 0x3006_0084, 0x3006_00A4
_CODE, _SCHEME, _MEANING = 0x0008_0100, 0x0008_0102, 0x0008_0104
_LONG_CODE, _URN_CODE = 0x0008_0119, 0x0008_0120

_WANTED = (
    frozenset({_SERIES, _SOP, _SEGMENT_NUMBER, _SEGMENT_LABEL, _ROI_NUMBER, _ROI_NAME})
    | frozenset({_REFERENCED_ROI, _INTERPRETED, _CODE, _SCHEME, _MEANING, _LONG_CODE, _URN_CODE})
    | _FRAMES
)
_CODES = frozenset({_CATEGORY, _TYPE})
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)


@dataclass
class Target:
    """A segment of a SEG, or an ROI of an RTSTRUCT; "" for what is not told.

    Codes are written as scheme:code. Only an ROI has a number of contours.
    """

    number: int | None = None
    name: str = ""
    type: str = ""
    type_meaning: str = ""
    category: str = ""
    contours: int | None = None
    frame_of_reference_uid: str = ""


@dataclass
class ReferencedObjects:
    """What an object says in its sequences.

    `objects` are pairs of the Series below which an object is named ("" where below none) and its
    SOPInstanceUID; one that is named below a Series is not told again below none. `problems` has
    what cannot be read, in words.
    """

    series: set[str] = field(default_factory=set)
    objects: set[tuple[str, str]] = field(default_factory=set)
    frames_of_reference: set[str] = field(default_factory=set)
    targets: list[Target] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(stream: IO[bytes]) -> ReferencedObjects:
    """What an object says, from its first byte to where its pixels begin.

    Raises:
        ValueError: it cannot be read to that place, for the reason that it says.
        MissingExtra: pydicom is not installed.
        OSError, zlib.error and others: whatever the stream raises.

    """
    window = _Window(stream)
    window.fill(_PIECE_BYTES)
    start = begin(window.held, {})
    if not start.is_passed:
        raise TruncatedHeader("the object ends within its header")
    window.skip(start.at)
    if start.is_deflated:
        window = _Window.of(inflated(window.rest(_LONGEST_DEFLATED)))
    window.fill(_ELEMENT_BYTES)
    walk = _Walk(window)
    walk.top(seen_layout(window.held, window.at, start.order))
    return walk.said


class _Window:
    """A stream, of which only a piece is held; raises TruncatedHeader where it ends too soon."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self.held, self.at = b"", 0
        self._before = 0

    @classmethod
    def of(cls, content: bytes) -> _Window:
        window = cls(None)
        window.held = content
        return window

    @property
    def place(self) -> int:
        """How far the walk is, from the first byte."""
        return self._before + self.at

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.held) and not self.fill(1)

    def fill(self, wanted: int) -> bool:
        """Whether so many bytes are held now from here on."""
        while len(self.held) - self.at < wanted and self._stream is not None:
            piece = self._stream.read(max(_PIECE_BYTES, wanted))
            if not piece:
                self._stream = None
            self._before += self.at
            self.held, self.at = self.held[self.at :] + piece, 0
        return len(self.held) - self.at >= wanted

    def take(self, count: int) -> bytes:
        if not self.fill(count):
            raise TruncatedHeader("the object ends within its header")
        self.at += count
        return self.held[self.at - count : self.at]

    def skip(self, count: int) -> None:
        while count > len(self.held) - self.at:
            count -= len(self.held) - self.at
            self.at = len(self.held)
            if not self.fill(1):
                raise TruncatedHeader("the object ends within its header")
        self.at += count

    def rest(self, most: int) -> bytes:
        self.fill(most)
        return self.held[self.at :]

    def element(self, layout: Layout) -> tuple[int, bytes, int]:
        """Tag, VR and length of the element that is next; its value is next then."""
        self.fill(_ELEMENT_BYTES)
        try:
            tag, vr, length, self.at = element_at(self.held, self.at, layout)
        except struct.error:
            raise TruncatedHeader("the object ends within its header") from None
        return tag, vr, length


@dataclass(slots=True)
class _Item:
    """What is kept of an item: values, codes by their sequence, and objects that are named in it.

    `objects` are those that are named below no Series yet; `contours` counts.
    """

    values: dict[int, Element] = field(default_factory=dict)
    codes: dict[int, tuple[str, str]] = field(default_factory=dict)
    objects: list[str] = field(default_factory=list)
    contours: int = 0


class _Walk:
    """One walk over an object, and what it found."""

    def __init__(self, window: _Window) -> None:
        self.said = ReferencedObjects()
        self._window = window
        self._order = "<"
        self._character_set: Element | None = None
        # By number, from the sequences of an RTSTRUCT that speak of ROIs apart from their names.
        self._types: dict[int, str] = {}
        self._contours: dict[int, int] = {}

    def top(self, layout: Layout) -> None:
        """Walks an object, whose own elements are next."""
        self._order = layout.order
        item = _Item()
        while not self._window.is_over:
            tag, vr, length = self._window.element(layout)
            if tag >= _PIXELS:
                break
            if tag == CHARACTER_SET and length <= _LONGEST_VALUE:
                self._character_set = Element(vr, self._window.take(length))
            else:
                self._pass(layout, tag, vr, length, item, 0)
        self._tell_frames(item)
        below = {sop for _, sop in self.said.objects}
        self.said.objects |= {("", sop) for sop in item.objects if sop not in below}
        self._tell_rois()

    def _pass(
        self, layout: Layout, tag: int, vr: bytes, length: int, item: _Item, depth: int
    ) -> None:
        """Passes the value of an element; what is wanted of it is the item's."""
        if length == UNDEFINED and vr[:1] == b"O":
            self._pass_fragments(layout)
        elif length == UNDEFINED or _is_sequence(tag, vr):
            self._pass_items(inner_layout(layout, vr), tag, length, item, depth + 1)
        elif tag in _WANTED and length <= _LONGEST_VALUE:
            item.values[tag] = Element(vr, self._window.take(length))
        else:
            self._window.skip(length)

    def _pass_items(self, layout: Layout, tag: int, length: int, above: _Item, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"sequences are nested more than {_DEEPEST} deep")
        end = self._end(length)
        while self._window.place < end:
            found, _, size = self._window.element(layout)
            if found in DELIMITERS:
                break
            item = self._item(layout, size, depth)
            # What a private sequence means, its maker knows.
            if not tag >> 16 & 1:
                self._tell(tag, item, above)

    def _item(self, layout: Layout, length: int, depth: int) -> _Item:
        end, item = self._end(length), _Item()
        while self._window.place < end:
            tag, vr, size = self._window.element(layout)
            if tag in DELIMITERS:
                break
            self._pass(layout, tag, vr, size, item, depth)
        return item

    def _end(self, length: int) -> float:
        return math.inf if length == UNDEFINED else self._window.place + length

    def _pass_fragments(self, layout: Layout) -> None:
        while True:
            tag, _, length = self._window.element(layout)
            if tag in DELIMITERS:
                return
            self._window.skip(length)

    # --- What an item says ------------------------------------------------------------------------

    def _tell(self, tag: int, item: _Item, above: _Item) -> None:
        """What an item of the sequence of this tag says, to `said` and to the item above it."""
        self._tell_frames(item)
        self._tell_names(tag, item, above)
        if tag in _CODES:
            above.codes[tag] = self._code(item)
        elif tag == _CONTOURS:
            above.contours += 1
        elif tag == _SEGMENTS:
            self.said.targets.append(self._segment(item))
        elif tag == _ROIS:
            self.said.targets.append(self._roi(item))
        elif tag in {_ROI_CONTOURS, _OBSERVATIONS}:
            self._tell_of_roi(tag, item)

    def _tell_frames(self, item: _Item) -> None:
        found = (self._uid(item, tag) for tag in _FRAMES)
        self.said.frames_of_reference |= {uid for uid in found if uid}

    def _tell_names(self, tag: int, item: _Item, above: _Item) -> None:
        if tag not in _OF_NO_OBJECT and (uid := self._uid(item, _SOP)):
            item.objects.append(uid)
        series = self._uid(item, _SERIES)
        if series:
            self.said.series.add(series)
            self.said.objects |= {(series, sop) for sop in item.objects}
        else:
            above.objects += item.objects

    def _segment(self, item: _Item) -> Target:
        kind, meaning = item.codes.get(_TYPE, ("", ""))
        category, _ = item.codes.get(_CATEGORY, ("", ""))
        return Target(
            self._number(item, _SEGMENT_NUMBER),
            self._text(item, _SEGMENT_LABEL),
            kind,
            meaning,
            category,
        )

    def _roi(self, item: _Item) -> Target:
        number, name = self._number(item, _ROI_NUMBER), self._text(item, _ROI_NAME)
        frame = self._uid(item, _ROI_FRAME)
        return Target(number, name, contours=0, frame_of_reference_uid=frame)

    def _tell_of_roi(self, tag: int, item: _Item) -> None:
        number = self._number(item, _REFERENCED_ROI)
        if number is not None and tag == _ROI_CONTOURS:
            self._contours[number] = self._contours.get(number, 0) + item.contours
        elif number is not None:
            self._types.setdefault(number, self._text(item, _INTERPRETED))

    def _tell_rois(self) -> None:
        """Contours and types of ROIs, which stand behind their names."""
        for target in self.said.targets:
            if target.contours is not None and target.number is not None:
                target.type = self._types.get(target.number, "")
                target.contours = self._contours.get(target.number, 0)

    def _code(self, item: _Item) -> tuple[str, str]:
        said = (self._text(item, tag) for tag in (_CODE, _LONG_CODE, _URN_CODE))
        code = next((text for text in said if text), "")
        scheme = self._text(item, _SCHEME)
        return f"{scheme}:{code}" if code else "", self._text(item, _MEANING)

    # --- Values -----------------------------------------------------------------------------------

    def _uid(self, item: _Item, tag: int) -> str:
        text = ascii_of(item.values[tag].raw) if tag in item.values else ""
        if text and not is_uid(text):
            self._amiss(f"{text[:_LONGEST_SHOWN]!r} stands in the place of a UID")
            return ""
        return text

    def _number(self, item: _Item, tag: int) -> int | None:
        raw = item.values[tag].raw if tag in item.values else b""
        if tag == _SEGMENT_NUMBER:
            return int.from_bytes(raw, "big" if self._order == ">" else "little") if raw else None
        text = ascii_of(raw)
        if text and not _WHOLE.fullmatch(text):
            self._amiss(f"{text[:_LONGEST_SHOWN]!r} stands in the place of a number")
            return None
        return int(text) if text else None

    def _text(self, item: _Item, tag: int) -> str:
        raw = item.values[tag].raw.strip(b" \0") if tag in item.values else b""
        try:
            text = decoded(raw, self._character_set)
        except ValueError as error:
            self._amiss(str(error))
            return ""
        return escape_unprintable(text)

    def _amiss(self, problem: str) -> None:
        if problem not in self.said.problems and len(self.said.problems) < _MOST_PROBLEMS:
            self.said.problems.append(problem)


@cache
def _is_sequence(tag: int, vr: bytes) -> bool:
    return vr == b"SQ" or (vr in {b"", b"UN"} and is_sequence(tag))
