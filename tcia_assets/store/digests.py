"""The SHA-256 of each file of a partition, to find damage that Parquet's readers do not see.

    <root>/warehouse/.digests/<table>/<percent-encoded key>/part-<n>.sha256

A digest is written before its file is replaced, and the one before is kept until the next write:
whenever a writer is killed, the file that is there has one of the digests. The first digest of a
file has the name `part-<n>.first` until the file is there, so that a digest without a file means a
loss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from tcia_assets.spec import Table
from tcia_assets.store.files import (
    publish,
    publish_hint,
    publish_text,
    sha256_of,
    storage_errors,
)
from tcia_assets.store.partitions import subfolder

# How often a file is read whose digests are replaced meanwhile.
_MAX_TRIES = 6
_FILE = re.compile(r"part-([0-9]+)\.sha256", re.ASCII)


def digest_path(root: Path, table: Table, key: str, number: int = 0) -> Path:
    """Return the path of the file with the digests of a partition's file with this number."""
    # A folder a partition, as its file has: a file of a long key's name would leave no room for
    # the name of its draft.
    return _folder(root, table.name, subfolder(table, key)) / f"part-{number}.sha256"


def recorded_files(root: Path, table: Table) -> Iterator[tuple[str, int]]:
    """Yield key and number of each file that has a digest; "" for a table without partitions."""
    pattern = "part-*.sha256"
    for path in _table_folder(root, table).glob(
        f"*/{pattern}" if table.partitioned_by else pattern
    ):
        if found := _FILE.fullmatch(path.name):
            yield unquote(path.parent.name) if table.partitioned_by else "", int(found[1])


def _table_folder(root: Path, table: Table) -> Path:
    return _folder(root, table.name, "")


@lru_cache(maxsize=1 << 10)
def _folder(root: Path, table: str, subfolder: str) -> Path:
    return root / "warehouse" / ".digests" / table / subfolder


def publish_recorded(path: Path, digests: Path, write: Callable[[Path], object]) -> bool:
    """Publish a file of a partition as `publish` does, and record its digest.

    Args:
        path: The file.
        digests: The file with its digests.
        write: Called with the path of an empty draft, which it fills.

    Returns:
        Whether the path now has a new file.

    Raises:
        StorageError: A file cannot be written; the one at the path is unchanged.
    """
    is_known, first = path.is_file() or digests.is_file(), _first(digests)

    def write_and_record(draft: Path) -> None:
        write(draft)
        if is_known:
            record(digests, path, draft)
        else:
            # Not synced: after a power cut a file without a digest counts as unchanged.
            publish_hint(first, f"{sha256_of(draft)}\n")

    changed = publish(path, write_and_record)
    if first.is_file():
        with storage_errors(digests):
            if digests.is_file():
                first.unlink()
            else:
                first.replace(digests)
    return changed


def _first(digests: Path) -> Path:
    return digests.with_suffix(".first")


def remove(digests: Path) -> None:
    """Remove the digests of a file that is removed next: alone they would mean that it was lost."""
    digests.unlink(missing_ok=True)
    _first(digests).unlink(missing_ok=True)


def record(digests: Path, partition: Path, draft: Path) -> None:
    """Record the digest of a draft that is about to replace a file of a partition.

    Args:
        digests: As `digest_path` returns it.
        partition: The file, which need not exist.
        draft: The finished draft; or the file itself, once it is published.

    Raises:
        StorageError: The digests cannot be written.
    """
    stored, new = read(digests), sha256_of(draft)
    current = sha256_of(partition) if partition.is_file() else ""
    kept = [current] if current in stored and current != new else []
    if stored != (*kept, new):
        publish_text(digests, "".join(f"{digest}\n" for digest in (*kept, new)))


def is_changed(digests: Path, partition: Path) -> bool:
    """Return whether a file differs from what was written; False if it is gone or has no digest.

    Nobody but a writer need hold the partition's lock.
    """
    for _ in range(_MAX_TRIES):
        # The digests first: a writer may replace the file now, after it recorded its digest.
        before = read(digests)
        try:
            if not before or sha256_of(partition) in before:
                return False
        except FileNotFoundError:
            return False
        if read(digests) == before:
            break
    return True


def read(digests: Path) -> tuple[str, ...]:
    """Return the digests of a file, the newest last; none if an earlier version wrote it."""
    for path in (digests, _first(digests)):
        try:
            return tuple(path.read_text(encoding="utf-8").split())
        except FileNotFoundError:
            continue
        except UnicodeDecodeError:
            break
    return ()
