"""Where the zips of Series are kept, and the files beside them: one seam with five verbs.

folder        files in a folder of this machine
bucket        objects of an S3 store
range_reader  an object as a file, read in ranges
requests      the requests to that store, and what its errors mean
cache         whole objects on this machine, up to a number of bytes

A name is `<percent-encoded Collection>/<file>`, as in `LCTSC/1.3.6.zip`: the same in every store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

# The environment's secrets of object storage, under the names that all of its clients use.
SECRET_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
)


# The folder in a work folder for what runs keep beside zips: it is listed where zips are not.
RUNS = ".runs"


@dataclass(frozen=True)
class StoredFile:
    """A file in a store.

    Attributes:
        name: Its name.
        size_bytes: Its size.
        published_at: When it got its content (UTC).
        sha256: As recorded when it was put; "" where the store or the answer has no such record.
    """

    name: str
    size_bytes: int
    published_at: datetime
    sha256: str = ""


class ChangedFile(OSError):
    """A stored file that has other bytes than its reader expects."""


def open_archives(
    url: str, root: Path, cache_bytes: int, *, retry_s: float | None = None
) -> Archives:
    """Return the store of zips; nothing is requested or written yet.

    Args:
        url: A folder or `s3://bucket/prefix`; "" for the folder `archives` in the data folder.
        root: The data folder.
        cache_bytes: The most that whole objects from a bucket take in the data folder.
        retry_s: Seconds during which a request to a bucket is repeated; some minutes by default.

    Raises:
        MissingExtra: The url is that of a bucket, and obstore is not installed.
        UsageError: The environment has an endpoint that cannot be used.
    """
    from tcia_assets.store.archives.folder import FolderArchives  # noqa: PLC0415 - it imports this

    if not url.startswith("s3://"):
        return FolderArchives(Path(url).absolute() if url else root / "archives")
    from tcia_assets.store.archives.bucket import BucketArchives  # noqa: PLC0415 - an extra
    from tcia_assets.store.archives.cache import FileCache  # noqa: PLC0415 - as above

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    cache = FileCache(root / "cache", cache_bytes)
    return BucketArchives(bucket, prefix, root / "archives", cache, retry_s)


class Archives(Protocol):
    """A store of zips.

    Each file in it appears whole or not at all, and a file that is replaced stays until then.
    Methods raise StorageError where the store fails, and FileNotFoundError only where it has
    answered that there is no such file.
    """

    @property
    def is_shared(self) -> bool:
        """Whether machines with warehouses of their own may put zips here too."""

    def address(self, name: str) -> str:
        """Return where a file is, for messages."""

    def probe(self) -> float:
        """Check that files can be listed, put, read and deleted; nothing is left behind.

        Returns:
            By how many seconds the clock of this machine is ahead of that of the store.

        Raises:
            StorageError: They cannot.
        """

    def put(self, draft: Path, name: str, sha256: str, *, replaces: str = "") -> None:
        """Give a finished file its name.

        Args:
            draft: The file, in the folder that `work_folder` returns; it is consumed.
            name: The name.
            sha256: Of its bytes.
            replaces: The SHA-256 of the file that it replaces; "" if there is none.

        Raises:
            FileExistsError: Another machine has meanwhile put a file with other bytes.
        """

    def put_text(self, name: str, text: str | Iterable[bytes]) -> bool:
        """Give a name to a text in UTF-8, or remove the file of that name if the text is "".

        Args:
            name: The name.
            text: The text, or its bytes in pieces, of which a folder holds one at a time.

        Returns:
            Whether anything changed.
        """

    def forget_changed_texts(self, names: Sequence[str]) -> Sequence[str]:
        """Find texts that this machine put and that were changed or removed since.

        `put_text` compares with what it put last. After this, it puts them anew.

        Args:
            names: The texts to look at. No other file is read or removed: the work folder may hold
                zips that were there before the store was a bucket.

        Returns:
            The names of those that differ.
        """

    def head(self, name: str) -> StoredFile:
        """Describe a file without reading it."""

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading at any position."""

    def list(self, folder: str) -> Sequence[StoredFile]:
        """Return the files directly in a folder, sorted by name."""

    def delete(self, name: str) -> None:
        """Remove a file; it need not be there."""

    def folders(self, folder: str = "") -> Sequence[str]:
        """Return the names of the folders in a folder, or of the topmost ones, sorted.

        Those that hold only what `work_folder` is for are left out.
        """

    def work_folder(self, folder: str) -> Path:
        """Return the folder of this machine for drafts, claims and journals of a folder."""

    def local(self, name: str, sha256: str) -> AbstractContextManager[Path]:
        """Provide the path of a file of this machine with the content of a stored one.

        Args:
            name: The stored file.
            sha256: Of its bytes, as the manifest has it.

        Raises:
            ChangedFile: It has other bytes, where finding that out costs nothing more.
        """

    def copy(self, name: str) -> AbstractContextManager[Path]:
        """Provide the path of a file of this machine with what the store has now.

        Unlike `local`, no earlier copy is used.
        """

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file's bytes, which are read for it."""
