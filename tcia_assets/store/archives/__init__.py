"""Where the zips of Series are kept, and the files beside them: one seam with five verbs.

folder      files in a folder of this machine

A name is `<percent-encoded Collection>/<file>`, as in `LCTSC/1.3.6.zip`: the same in every store.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class StoredFile:
    """A file in a store.

    Attributes:
        name: Its name.
        size_bytes: Its size.
        published_at: When it got its content (UTC).
    """

    name: str
    size_bytes: int
    published_at: datetime


class Archives(Protocol):
    """A store of zips.

    Each file in it appears whole or not at all, and a file that is replaced stays until then.
    Methods raise StorageError where the store fails, and FileNotFoundError only where it has
    answered that there is no such file.
    """

    def address(self, name: str) -> str:
        """Return where a file is, for messages."""

    def put(self, draft: Path, name: str, sha256: str) -> None:
        """Give a finished file its name; a file of that name is replaced.

        Args:
            draft: The file, in the folder that `work_folder` returns; it is consumed.
            name: The name.
            sha256: Of its bytes.
        """

    def put_text(self, name: str, text: str) -> bool:
        """Give a name to a text in UTF-8, or remove the file of that name if the text is empty.

        Returns:
            Whether anything changed.
        """

    def head(self, name: str) -> StoredFile:
        """Describe a file without reading it."""

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading at any position."""

    def list(self, folder: str) -> Sequence[StoredFile]:
        """Return the files directly in a folder, sorted by name."""

    def delete(self, name: str) -> None:
        """Remove a file; it need not be there."""

    def folders(self) -> Sequence[str]:
        """Return the names of the folders, sorted."""

    def work_folder(self, folder: str) -> Path:
        """Return the folder of this machine for drafts, claims and journals of a folder."""

    def local(self, name: str, sha256: str) -> AbstractContextManager[Path]:
        """Provide the path of a file of this machine with the content of a stored one.

        Args:
            name: The stored file.
            sha256: Of its bytes, as the manifest has it.
        """

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file's bytes, which are read for it."""
