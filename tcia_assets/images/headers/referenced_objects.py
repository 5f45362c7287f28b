"""Read what one DICOM object refers to, and its segments or ROIs, from its sequences.

The meaning of sequences belongs here. The attributes at the top level are read in `dicom.py`, the
tables are built in `references.py`.

A reference is recognized by what an item holds, not by which sequence holds it: an item with a
SeriesInstanceUID refers to a Series, and the objects below it belong to that Series. So one walk
reads SEG, RTSTRUCT, SR, PR and others, in every layout that their writers use. Contours and frames
are skipped, and the walk ends where the pixel data begin: memory does not depend on the size of
the object.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import IO

from tcia_assets.errors import escape_unprintable
from tcia_assets.formats.elements import (
    CHARACTER_SET,
    DELIMITERS,
    MAX_UID_LENGTH,
    UNDEFINED_LENGTH,
    Element,
    Encoding,
    decode_ascii,
    decode_text,
    is_sequence,
    is_uid,
    item_encoding,
)
from tcia_assets.images.headers.element_stream import ElementStream

# Longer values are skipped.
_MAX_VALUE_BYTES = 4096
_MAX_PROBLEMS = 5
_MAX_DEPTH = 64
_FIRST_PIXEL_TAG = 0x7FE0_0000

_SERIES_UID = 0x0020_000E
_REFERENCED_SOP_UID = 0x0008_1155
_FRAME_UIDS = frozenset({0x0020_0052, 0x3006_0024})
# Sequences that refer to a Study, a Patient, a visit or a procedure step, not to an object.
_NOT_OBJECTS = frozenset({0x0008_1110, 0x0008_1111, 0x0008_1120, 0x0038_0004, 0x3006_0012})

_SEGMENTS, _ROIS, _ROI_CONTOURS = 0x0062_0002, 0x3006_0020, 0x3006_0039
_CONTOURS, _ROI_OBSERVATIONS = 0x3006_0040, 0x3006_0080
_CATEGORY, _TYPE = 0x0062_0003, 0x0062_000F
_SEGMENT_NUMBER, _SEGMENT_LABEL = 0x0062_0004, 0x0062_0005
_ROI_NUMBER, _ROI_NAME, _ROI_FRAME_UID = 0x3006_0022, 0x3006_0026, 0x3006_0024
_SEGMENT_ALGORITHM_TYPE, _SEGMENT_ALGORITHM_NAME = 0x0062_0008, 0x0062_0009
_ROI_ALGORITHM = 0x3006_0036
_REFERENCED_ROI, _INTERPRETED_TYPE = 0x3006_0084, 0x3006_00A4
_CODE, _SCHEME, _MEANING = 0x0008_0100, 0x0008_0102, 0x0008_0104
_LONG_CODE, _URN_CODE = 0x0008_0119, 0x0008_0120

_KEPT_VALUES = (
    frozenset({_SERIES_UID, _REFERENCED_SOP_UID, _SEGMENT_NUMBER, _SEGMENT_LABEL})
    | frozenset({_ROI_NUMBER, _ROI_NAME, _REFERENCED_ROI, _INTERPRETED_TYPE})
    | frozenset({_SEGMENT_ALGORITHM_TYPE, _SEGMENT_ALGORITHM_NAME, _ROI_ALGORITHM})
    | frozenset({_CODE, _SCHEME, _MEANING, _LONG_CODE, _URN_CODE})
    | _FRAME_UIDS
)
_CODE_SEQUENCES = frozenset({_CATEGORY, _TYPE})
_WHOLE_NUMBER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)


@dataclass
class Target:
    """A segment of a SEG, or an ROI of an RTSTRUCT; an absent text is "".

    Codes are written as scheme:code. Only an ROI has a number of contours.
    """

    number: int | None = None
    name: str = ""
    type: str = ""
    type_meaning: str = ""
    category: str = ""
    algorithm_type: str = ""
    algorithm_name: str = ""
    contours: int | None = None
    frame_of_reference_uid: str = ""


@dataclass
class ReferencedObjects:
    """What an object refers to, its segments or ROIs, and what cannot be read of it.

    `series` and `frames_of_reference` are UIDs. `objects` are pairs of a SeriesInstanceUID ("" if
    the object refers to no Series there) and a SOPInstanceUID. An object that is referred to with
    its Series is not listed without it.
    """

    series: set[str] = field(default_factory=set)
    objects: set[tuple[str, str]] = field(default_factory=set)
    frames_of_reference: set[str] = field(default_factory=set)
    targets: list[Target] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(stream: IO[bytes]) -> ReferencedObjects:
    """Read an object from its first byte to where its pixel data begin.

    Raises:
        ValueError: It cannot be read so far; the message has the reason.
        MissingExtra: pydicom is not installed.
        OSError, zlib.error and others: Whatever the stream raises.
    """
    walk = _Walk(ElementStream(stream))
    walk.read_object()
    return walk.found


@dataclass(slots=True)
class _Item:
    """What is kept of a sequence item while it is read.

    `codes` are (code, meaning) by sequence. `objects` are the SOPInstanceUIDs in the item and
    below it that belong to no Series yet. `contours` is the number of contours in the item.
    """

    values: dict[int, Element] = field(default_factory=dict)
    codes: dict[int, tuple[str, str]] = field(default_factory=dict)
    objects: list[str] = field(default_factory=list)
    contours: int = 0


class _Walk:
    """A walk over the sequences of one object; `found` is the result."""

    def __init__(self, stream: ElementStream) -> None:
        self.found = ReferencedObjects()
        self._stream = stream
        self._character_set: Element | None = None
        # By ROI number: an RTSTRUCT has types and contours in different sequences than names.
        self._roi_types: dict[int, str] = {}
        self._roi_contours: dict[int, int] = {}

    def read_object(self) -> None:
        top = _Item()
        encoding = self._stream.encoding
        while not self._stream.is_at_end:
            tag, vr, length = self._stream.read_element(encoding)
            if tag >= _FIRST_PIXEL_TAG:
                break
            if tag == CHARACTER_SET and length <= _MAX_VALUE_BYTES:
                self._character_set = Element(vr, self._stream.take(length))
            else:
                self._read_value(encoding, tag, vr, length, top, 0)
        self._add_frames(top)
        with_series = {sop for _, sop in self.found.objects}
        self.found.objects |= {("", sop) for sop in top.objects if sop not in with_series}
        self._complete_rois()

    def _read_value(
        self, encoding: Encoding, tag: int, vr: bytes, length: int, item: _Item, depth: int
    ) -> None:
        """Read or skip the value of an element, and keep in `item` what is needed of it."""
        if length == UNDEFINED_LENGTH and vr[:1] == b"O":
            self._skip_fragments(encoding)
        elif length == UNDEFINED_LENGTH or is_sequence(tag, vr):
            self._read_sequence(item_encoding(encoding, vr), tag, length, item, depth + 1)
        elif tag in _KEPT_VALUES and length <= _MAX_VALUE_BYTES:
            item.values[tag] = Element(vr, self._stream.take(length))
        else:
            self._stream.skip(length)

    def _read_sequence(
        self, encoding: Encoding, tag: int, length: int, parent: _Item, depth: int
    ) -> None:
        if depth > _MAX_DEPTH:
            raise ValueError(f"sequences are nested more than {_MAX_DEPTH} deep")
        end = self._end_of(length)
        while self._stream.position < end:
            item_tag, _, item_length = self._stream.read_element(encoding)
            if item_tag in DELIMITERS:
                break
            item = self._read_item(encoding, item_length, depth)
            # Only its vendor defines what a private sequence (odd group) means.
            if not tag >> 16 & 1:
                self._interpret(tag, item, parent)

    def _read_item(self, encoding: Encoding, length: int, depth: int) -> _Item:
        end, item = self._end_of(length), _Item()
        while self._stream.position < end:
            tag, vr, value_length = self._stream.read_element(encoding)
            if tag in DELIMITERS:
                break
            self._read_value(encoding, tag, vr, value_length, item, depth)
        return item

    def _end_of(self, length: int) -> float:
        return math.inf if length == UNDEFINED_LENGTH else self._stream.position + length

    def _skip_fragments(self, encoding: Encoding) -> None:
        while True:
            tag, _, length = self._stream.read_element(encoding)
            if tag in DELIMITERS:
                return
            self._stream.skip(length)

    # --- The meaning of an item -----------------------------------------------------------------

    def _interpret(self, tag: int, item: _Item, parent: _Item) -> None:
        """Add what an item of the sequence `tag` means to `found` and to its parent item."""
        self._add_frames(item)
        self._add_references(tag, item, parent)
        if tag in _CODE_SEQUENCES:
            parent.codes[tag] = self._code(item)
        elif tag == _CONTOURS:
            parent.contours += 1
        elif tag == _SEGMENTS:
            self.found.targets.append(self._segment(item))
        elif tag == _ROIS:
            self.found.targets.append(self._roi(item))
        elif tag in {_ROI_CONTOURS, _ROI_OBSERVATIONS}:
            self._add_roi_details(tag, item)

    def _add_frames(self, item: _Item) -> None:
        uids = (self._uid(item, tag) for tag in _FRAME_UIDS)
        self.found.frames_of_reference |= {uid for uid in uids if uid}

    def _add_references(self, tag: int, item: _Item, parent: _Item) -> None:
        if tag not in _NOT_OBJECTS and (uid := self._uid(item, _REFERENCED_SOP_UID)):
            item.objects.append(uid)
        series = self._uid(item, _SERIES_UID)
        if series:
            self.found.series.add(series)
            self.found.objects |= {(series, sop) for sop in item.objects}
        else:
            parent.objects += item.objects

    def _segment(self, item: _Item) -> Target:
        type_code, meaning = item.codes.get(_TYPE, ("", ""))
        category, _ = item.codes.get(_CATEGORY, ("", ""))
        number, name = self._binary_number(item, _SEGMENT_NUMBER), self._text(item, _SEGMENT_LABEL)
        return Target(
            number,
            name,
            type_code,
            meaning,
            category,
            algorithm_type=self._text(item, _SEGMENT_ALGORITHM_TYPE),
            algorithm_name=self._text(item, _SEGMENT_ALGORITHM_NAME),
        )

    def _roi(self, item: _Item) -> Target:
        number, name = self._number(item, _ROI_NUMBER), self._text(item, _ROI_NAME)
        frame = self._uid(item, _ROI_FRAME_UID)
        algorithm = self._text(item, _ROI_ALGORITHM)
        return Target(
            number, name, contours=0, frame_of_reference_uid=frame, algorithm_type=algorithm
        )

    def _add_roi_details(self, tag: int, item: _Item) -> None:
        number = self._number(item, _REFERENCED_ROI)
        if number is not None and tag == _ROI_CONTOURS:
            self._roi_contours[number] = self._roi_contours.get(number, 0) + item.contours
        elif number is not None:
            self._roi_types.setdefault(number, self._text(item, _INTERPRETED_TYPE))

    def _complete_rois(self) -> None:
        """Add types and contours to the ROIs."""
        for target in self.found.targets:
            if target.contours is not None and target.number is not None:
                target.type = self._roi_types.get(target.number, "")
                target.contours = self._roi_contours.get(target.number, 0)

    def _code(self, item: _Item) -> tuple[str, str]:
        texts = (self._text(item, tag) for tag in (_CODE, _LONG_CODE, _URN_CODE))
        code = next((text for text in texts if text), "")
        scheme = self._text(item, _SCHEME)
        return f"{scheme}:{code}" if code else "", self._text(item, _MEANING)

    # --- Values ---------------------------------------------------------------------------------

    def _uid(self, item: _Item, tag: int) -> str:
        text = decode_ascii(item.values[tag].raw) if tag in item.values else ""
        if text and not is_uid(text):
            self._add_problem(f"{text[:MAX_UID_LENGTH]!r} is not a DICOM UID")
            return ""
        return text

    def _binary_number(self, item: _Item, tag: int) -> int | None:
        raw = item.values[tag].raw if tag in item.values else b""
        is_big_endian = self._stream.encoding.order == ">"
        return int.from_bytes(raw, "big" if is_big_endian else "little") if raw else None

    def _number(self, item: _Item, tag: int) -> int | None:
        text = decode_ascii(item.values[tag].raw) if tag in item.values else ""
        if text and not _WHOLE_NUMBER.fullmatch(text):
            self._add_problem(f"{text[:MAX_UID_LENGTH]!r} is not a whole number")
            return None
        return int(text) if text else None

    def _text(self, item: _Item, tag: int) -> str:
        raw = item.values[tag].raw.strip(b" \0") if tag in item.values else b""
        try:
            return escape_unprintable(decode_text(raw, self._character_set))
        except ValueError as error:
            self._add_problem(str(error))
            return ""

    def _add_problem(self, problem: str) -> None:
        if problem not in self.found.problems and len(self.found.problems) < _MAX_PROBLEMS:
            self.found.problems.append(problem)
