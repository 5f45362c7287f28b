"""Make the zip of a Series from its files in a folder."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tcia_assets.errors import TooLarge, UnknownReply
from tcia_assets.formats.series_zip import LICENSE, license_text, write_series_zip
from tcia_assets.sources import FetchedFile, Target, counting
from tcia_assets.store.files import sha256_of


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file with a DICOM object, as it was when it was scanned.

    Attributes:
        sop_instance_uid: The object's SOPInstanceUID.
        path: Where the file is.
        size_bytes: Its size.
        modified_ns: When it was modified last, in nanoseconds since the epoch.
    """

    sop_instance_uid: str
    path: Path
    size_bytes: int
    modified_ns: int

    def require_unchanged(self, file: IO[bytes]) -> None:
        """Raise UnknownReply if the open file is not as it was scanned."""
        now = os.fstat(file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.size_bytes, self.modified_ns):
            raise UnknownReply(f"{self.path} has changed since it was scanned: import again")


class _HashedFile:
    """A file that hashes what is read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._md5 = file, hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1, /) -> bytes:
        piece = self._file.read(size)
        self._md5.update(piece)
        return piece

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()


def pack(objects: Sequence[ScannedFile], uid: str, collection: str, target: Target) -> FetchedFile:
    """Pack the objects of a Series in the order of their SOPInstanceUIDs.

    Each MD5 in the list is that of the file as it was read here, so the zip that is read back and
    agrees with it has the bytes of the folder.

    Args:
        objects: The objects of the Series.
        uid: Its SeriesInstanceUID.
        collection: Its Collection.
        target: Where the zip goes.

    Raises:
        UnknownReply: The folder has another version of the Series than is expected, or a file has
            changed, or cannot be read, since it was scanned.
        TooLarge: The objects are more bytes than expected.
    """
    started = time.monotonic()
    _compare(objects, target)
    with counting(target.on_bytes) as count, write_series_zip(target.path) as new:
        text = license_text(uid, collection).encode()
        new.add(LICENSE, io.BytesIO(text), len(text))
        for each in sorted(objects, key=lambda one: one.sop_instance_uid):
            name = f"{each.sop_instance_uid}.dcm"
            with _open(each.path) as file:
                each.require_unchanged(file)
                content = _HashedFile(file)
                new.add(name, content, each.size_bytes)
                each.require_unchanged(file)  # and none of it while it was read
            new.md5s.append((name, content.md5))
            count(each.size_bytes)
    path = target.path
    seconds = time.monotonic() - started
    return FetchedFile(path.stat().st_size, sha256_of(path), len(objects), seconds)


def _compare(objects: Sequence[ScannedFile], target: Target) -> None:
    count, size = len(objects), sum(each.size_bytes for each in objects)
    if target.image_count not in {None, count} or target.image_bytes not in {None, size}:
        raise UnknownReply(
            f"another version of this Series: {count} objects of {size} bytes, but "
            f"{target.image_count} of {target.image_bytes} are expected"
        )
    if target.max_bytes is not None and size > target.max_bytes:
        raise TooLarge(f"{size} bytes, but at most {target.max_bytes} were expected")


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnknownReply(f"{path} cannot be read any more: {error.strerror}") from error
