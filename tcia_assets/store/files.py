"""Files and folders that appear whole or not at all, hard links and hashes.

Every file that another process may read gets its name through this module. What is in a file, and
where it lies, is the caller's business.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tcia_assets.errors import StorageError
from tcia_assets.store.locks import is_locked, open_locked, try_lock


def publish(
    path: Path,
    write: Callable[[Path], object],
    *,
    keep_equal: bool = True,
    drafts: Path | None = None,
) -> bool:
    """Write a file under a temporary name, sync it and rename it to its path.

    Args:
        path: The final path; missing parent folders are created.
        write: Called with the path of an empty draft, which it fills.
        keep_equal: Leave the existing file in place if its bytes are the same.
        drafts: The folder of the draft, on the same disk; by default that of the file. It is listed
            each time, for drafts that killed writers left.

    Returns:
        Whether the path now has a new file.

    Raises:
        StorageError: The file cannot be written. The existing file is unchanged.
    """
    with storage_errors(path):
        is_new_folder = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path if drafts is None else drafts / path.name
        remove_dead_drafts(beside)
        draft = beside.with_name(f".{path.name}.{secrets.token_hex(8)}.draft")
        # The lock shows other processes that the writer of this draft lives.
        descriptor = open_locked(draft)
        try:
            write(draft)
            if keep_equal and path.exists() and filecmp.cmp(draft, path, shallow=False):
                return False
            publish_draft(draft, path)
            if is_new_folder:
                sync(path.parent.parent)
            return True
        finally:
            draft.unlink(missing_ok=True)
            os.close(descriptor)


def publish_text(path: Path, text: str, drafts: Path | None = None) -> bool:
    """Publish a text file in UTF-8, with line ends as given; see `publish`."""
    return publish(path, lambda draft: draft.write_bytes(text.encode()), drafts=drafts)


def publish_draft(draft: Path, path: Path) -> None:
    """Rename a finished file or folder, synced first so that a power cut cannot lose its content.

    Args:
        draft: A file, or a folder with all that is in it.
        path: The final path on the same disk. A file there is replaced, a folder must not be there.
    """
    for each in (*draft.rglob("*"), draft):
        sync(each)
    draft.replace(path)
    sync(path.parent)


def publish_hint(path: Path, text: str) -> None:
    """Write a text file that only saves time, without waiting for the disk.

    It appears whole or not at all, unless the power is cut: then it may be lost, or torn. Its
    reader must notice that.

    Raises:
        StorageError: The file cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.draft")
        try:
            draft.write_bytes(text.encode())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def move_file(source: Path, path: Path) -> None:
    """Move a finished file, also to another disk; it appears there whole or not at all.

    Args:
        source: The file.
        path: The final path; its folder is created, and a file there is replaced.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    link_or_copy(source, draft)
    publish_draft(draft, path)
    source.unlink()


def make_folder(path: Path) -> None:
    """Make a folder that no other name leads to; it may exist.

    Raises:
        StorageError: It cannot be made, or the file system takes its name for that of another
            folder.
    """
    with storage_errors(path):
        is_new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        if is_new:
            sync(path.parent)
    check_case(path)


def check_case(path: Path) -> None:
    """Raise StorageError if the path is that of another name, as where upper case is ignored.

    Two Collections whose names differ in nothing else would have one folder there.
    """
    # Where upper case is ignored, this is the same folder; to list all takes long.
    swapped = path.with_name(path.name.swapcase())
    if not path.exists() or (path.name.isascii() and not swapped.exists()):
        return
    folded = path.name.casefold()
    for other in path.parent.iterdir():
        is_similar = other.name != path.name and other.name.casefold() == folded
        if is_similar and other.samefile(path):
            raise StorageError(
                f"{path} would be the folder {other}, because this file system ignores upper case; "
                "nothing was changed: keep the data folder on one that does not, or leave out one "
                "of them (TCIA_COLLECTIONS)"
            )


def remove_dead_drafts(path: Path) -> None:
    """Remove drafts of the path left by killed writers."""
    for draft in path.parent.glob(f".{path.name}.*.draft"):
        with contextlib.suppress(OSError), draft.open("rb") as file:
            try_lock(file)
            draft.unlink()


def find_dead_drafts(folder: Path) -> list[Path]:
    """Return the drafts below a folder that killed writers have left, sorted."""
    found = []
    for draft in sorted(folder.rglob(".*.draft")):
        with contextlib.suppress(OSError):
            if draft.is_file() and not is_locked(draft):
                found.append(draft)
    return found


def link_or_copy(source: Path, target: Path) -> None:
    """Make the target a hard link to the source, or a copy where no link can be made.

    Raises:
        OSError: The source is missing, or the file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    # Not every file system has hard links, and none has links to another file system.
    shutil.copyfile(source, target)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise StorageError, with the path, for an OSError of the body."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path} cannot be written and is unchanged: {reason}") from error
