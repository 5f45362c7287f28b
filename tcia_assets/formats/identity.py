"""Which object a DICOM file holds, and of which Series: from its first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tcia_assets.formats.elements import (
    MAX_UID_LENGTH,
    TruncatedHeader,
    decode_ascii,
    find_elements,
    is_dicom,
    is_uid,
)

_IDENTITY_TAGS = (0x0008_0018, 0x0020_000E)
# Nearly always enough for both UIDs; then more, because private elements may lie between them.
_HEADS = (16 << 10, 1 << 20, 16 << 20)


@dataclass(frozen=True)
class Identity:
    """Which object a file holds, and of which Series."""

    sop_instance_uid: str
    series_instance_uid: str


def identify(head: bytes) -> Identity:
    """Return the identity of a DICOM object.

    Args:
        head: The first bytes of the file, or all. Nothing after SeriesInstanceUID is read.

    Raises:
        TruncatedHeader: The bytes end before both UIDs.
        ValueError: The bytes are not a DICOM file, or it has no identity.
    """
    found = find_elements(head, _IDENTITY_TAGS)
    uids = [decode_ascii(found.by_tag[t].raw) if t in found.by_tag else "" for t in _IDENTITY_TAGS]
    if not all(uids):
        missing = "a DICOM file without SOPInstanceUID or SeriesInstanceUID"
        if found.is_complete:
            raise ValueError(missing)
        raise TruncatedHeader(f"{missing}: it may be truncated")
    for uid in uids:
        if not is_uid(uid):
            raise ValueError(f"a DICOM file with {uid[:MAX_UID_LENGTH]!r} instead of a UID")
    return Identity(*uids)


def identify_file(path: Path) -> Identity:
    """Return the identity of the DICOM object in a file, from as few bytes as hold it.

    Raises:
        ValueError: As `identify`.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = b""
        for size in _HEADS:
            head += file.read(size - len(head))
            try:
                return identify(head)
            except ValueError:
                # A deflated object that ends too early does not look truncated.
                if len(head) < size or not is_dicom(head):
                    raise
        return identify(head)
