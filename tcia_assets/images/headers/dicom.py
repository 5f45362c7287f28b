"""Read the header of a DICOM object: the columns of `images`.

Which elements are read belongs here. How they are encoded and their values converted is in
`formats/`, where objects come from in `image_rows.py`, and what their sequences hold in
`referenced_objects.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcia_assets.catalog import HEADER_COLUMNS
from tcia_assets.formats.attributes import HeaderAttributes, header_attributes
from tcia_assets.formats.elements import (
    CHARACTER_SET,
    Element,
    FoundElements,
    TruncatedHeader,
    find_elements,
    find_in_first_item,
)
from tcia_assets.formats.values import age_in_years, read_value

_MODALITY = 0x0008_0060
# Of these the whole header up to the group of nuclear medicine is read.
_NUCLEAR = frozenset({b"PT", b"NM"})
_NO_VALUES: dict[str, Any] = dict.fromkeys(column.name for column in HEADER_COLUMNS)


def read_header(head: bytes, size: int) -> dict[str, Any]:
    """Return the value of each column of `images` that a header fills, and `error`.

    An attribute is None if it is absent, empty or not valid for its column; `error` names the
    invalid ones, or is None. Attributes that enhanced objects have per frame are absent.

    Args:
        head: The first bytes of the object, or all.
        size: The size of the whole object, in bytes.

    Raises:
        TruncatedHeader: The header continues after `head`.
        ValueError: Nothing can be read; the message has the reason.
        MissingExtra: pydicom is not installed.
    """
    attributes, problems = header_attributes(), []
    found = _find(head, size, attributes.common)
    if _MODALITY in found.by_tag and found.by_tag[_MODALITY].raw.strip(b" ") in _NUCLEAR:
        found = _find(head, size, attributes.all_tags)
    if not found.is_complete and found.min_length != size:
        problems.append("the object ends within its header")
    row, character_set = dict(_NO_VALUES), found.by_tag.get(CHARACTER_SET)
    for tag, element in _elements(found, attributes):
        if attribute := attributes.by_tag.get(tag):
            try:
                value = read_value(attribute, element, found.order, character_set)
                row[attribute.column.name] = value
            except ValueError as error:
                problems.append(f"{attribute.column.name}: {error}")
    if row["SOPInstanceUID"] is None:
        problems.insert(0, "it has no SOPInstanceUID")
    row["patient_age_years"] = age_in_years(row["PatientAge"])
    row["error"] = "; ".join(problems) or None
    return row


def _find(head: bytes, size: int, tags: frozenset[int]) -> FoundElements:
    found = find_elements(head, tags)
    if not found.is_complete and len(head) < size and found.min_length <= size:
        raise TruncatedHeader(f"the header continues after {len(head)} bytes")
    return found


def _elements(found: FoundElements, attributes: HeaderAttributes) -> Iterator[tuple[int, Element]]:
    yield from found.by_tag.items()
    for sequence, tags in attributes.inside.items():
        if sequence in found.by_tag:
            raw = found.by_tag[sequence].raw
            yield from find_in_first_item(raw, found.order, tags).items()
