"""Write the zip of a Series: its LICENSE, its images, and the list of their MD5s.

The same members give the same bytes, whenever they are written.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from tcia_assets.formats import md5_list

LICENSE = "LICENSE"
_PIECE_BYTES = 1 << 20


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, so many at most; b"" at the end."""


def license_text(
    uid: str,
    collection: str,
    name: str | None = None,
    uri: str | None = None,
    cite: str | None = None,
) -> str:
    """Return the text of LICENSE for a zip that is packed here.

    Args:
        uid: The SeriesInstanceUID.
        collection: Its Collection.
        name: The name of its licence.
        uri: The URL of its licence.
        cite: What is to be cited; by default the Collection.
    """
    return (
        f"The Series {uid} belongs to the Collection {collection}.\n"
        f"License: {name or 'Not Specified'}\n{uri or ''}\nPlease cite {cite or collection}.\n"
    )


class SeriesZipWriter:
    """Add the members of a zip, one after the other; see `write_series_zip`."""

    def __init__(self, file: ZipFile) -> None:
        self._zip = file
        self.md5s: list[tuple[str, str]] = []

    def add(self, name: str, content: Readable, size: int, *, method: int = ZIP_STORED) -> None:
        """Copy a member.

        Args:
            name: Its name.
            content: Its bytes, uncompressed, from here to the end.
            size: How many they are.
            method: How they are compressed.
        """
        # The time of a new ZipInfo is fixed, so that the same images give the same zip.
        member = ZipInfo(name)
        member.compress_type, member.file_size = method, size
        with self._zip.open(member, "w") as file:
            shutil.copyfileobj(content, file, _PIECE_BYTES)

    def add_image(
        self, name: str, content: Readable, size: int, md5: str, *, method: int = ZIP_STORED
    ) -> None:
        """Copy an image; `md5` is what is listed for it, "" if nobody but us knows it."""
        self.add(name, content, size, method=method)
        self.md5s.append((name, md5))


@contextmanager
def write_series_zip(path: Path) -> Iterator[SeriesZipWriter]:
    """Write a zip at a path; if the block ends well, the list of the images' MD5s ends the zip."""
    with ZipFile(path, "w") as file:
        writer = SeriesZipWriter(file)
        yield writer
        file.writestr(ZipInfo(md5_list.FILE_NAME), md5_list.format_list(writer.md5s), ZIP_DEFLATED)
