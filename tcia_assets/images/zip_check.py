"""Check whether the zip of a Series is that of its row in the manifest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance.rules import Expectation, Proof, accept
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.zip_files import name_at
from tcia_assets.store.archives import Archives
from tcia_assets.store.files import sha256_of

T = TypeVar("T")
R = TypeVar("R")

_WORKERS = 2
_GONE, _UNREADABLE = "its zip is gone", "its zip cannot be read"


def zip_problem(row: ManifestRow, archives: Archives, *, deep: bool) -> str:
    """Return what is wrong with a zip; "" if nothing is.

    Args:
        row: What is expected.
        archives: Where the zip is.
        deep: Also inflate it and verify it as after a download.

    Raises:
        StorageError: The store of zips fails.
    """
    try:
        return _difference(row, archives, deep=deep)
    except FileNotFoundError:
        return f"{_GONE}: {row.path}"
    except BadArchive as error:
        return error.problem
    except OSError as error:
        return unreadable_message(error)


def _difference(row: ManifestRow, archives: Archives, *, deep: bool) -> str:
    name = name_at(row.path or "")
    if problem := size_problem(row, archives.head(name).size_bytes):
        return problem
    if not deep:
        return _changed(row, archives.sha256(name))
    with archives.copy(name) as path:
        if problem := _changed(row, sha256_of(path)):
            return problem
        accept_again(row, path)
    return ""


def size_problem(row: ManifestRow, size: int) -> str:
    """Return how the size of a zip differs from its row; "" if it does not."""
    if size == row.archive_bytes:
        return ""
    return f"its zip has {size} bytes where {row.archive_bytes} were verified"


def _changed(row: ManifestRow, sha256: str) -> str:
    if sha256 == row.sha256:
        return ""
    return "its zip has changed since it was verified: its SHA-256 differs"


def seems_missing(problem: str) -> bool:
    """Return whether a problem of a zip is one that all zips of a lost store have."""
    return problem.startswith((_GONE, _UNREADABLE))


def check_each(check: Callable[[T], R], items: Sequence[T]) -> Generator[tuple[T, R]]:
    """Yield each item, in order, with the result of a check that runs in threads.

    When the generator is closed, no further check is started.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            yield from zip(items, pool.map(check, items), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def accept_again(row: ManifestRow, path: Path) -> Proof:
    """Verify a zip as after its download.

    Raises:
        BadArchive: It is refused.
    """
    expected = Expectation(row.series_instance_uid, row.image_count, row.image_bytes)
    return accept(path, expected)


def unreadable_message(error: OSError) -> str:
    """Return the problem of a zip that the disk does not return."""
    return f"{_UNREADABLE}: {error.strerror or error}"
