"""The SHA-256 of each partition's file, to find damage that Parquet's readers do not see.

    <root>/warehouse/.digests/<table>/<percent-encoded key>/part-0.sha256

A digest is written before its partition is replaced, and the one before is kept until the next
write: whenever a writer is killed, the file that is there has one of the digests. Only the first
digest of a partition is written after its file, so that a digest without a file means a loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tcia_assets.spec import Table
from tcia_assets.store.files import publish_text, sha256_of
from tcia_assets.store.partitions import subfolder

_FILE = "part-0.sha256"


def digest_path(root: Path, table: Table, key: str) -> Path:
    """Return the path of the file with a partition's digests."""
    # A folder a partition, as its file has: a file of a long key's name would leave no room for
    # the name of its draft.
    return _table_folder(root, table) / subfolder(table, key) / _FILE


def recorded_keys(root: Path, table: Table) -> Iterator[str]:
    """Yield the keys of the partitions that have a digest; "" for a table without partitions."""
    pattern = f"*/{_FILE}" if table.partitioned_by else _FILE
    for path in _table_folder(root, table).glob(pattern):
        yield unquote(path.parent.name) if table.partitioned_by else ""


def _table_folder(root: Path, table: Table) -> Path:
    return root / "warehouse" / ".digests" / table.name


def record(digests: Path, partition: Path, draft: Path) -> None:
    """Record the digest of a draft that is about to replace a partition.

    Args:
        digests: As `digest_path` returns it.
        partition: The partition's file, which need not exist.
        draft: The finished draft; or the partition itself, once it is published.

    Raises:
        StorageError: The digests cannot be written.
    """
    stored, new = read(digests), sha256_of(draft)
    current = sha256_of(partition) if partition.is_file() else ""
    kept = [current] if current in stored and current != new else []
    if stored != (*kept, new):
        publish_text(digests, "".join(f"{digest}\n" for digest in (*kept, new)))


def read(digests: Path) -> tuple[str, ...]:
    """Return the digests of a partition; none if it was written by an earlier version."""
    try:
        return tuple(digests.read_text(encoding="utf-8").split())
    except (FileNotFoundError, UnicodeDecodeError):
        return ()
