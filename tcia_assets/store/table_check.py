"""Check partitions against the digests that were recorded when they were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcia_assets.catalog import TABLES
from tcia_assets.spec import Table
from tcia_assets.store import digests, parquet_files, partitions
from tcia_assets.store.clinical import clinical_digest, clinical_files
from tcia_assets.store.partition_files import PartitionFiles

_STORE_AGAIN = "store it again by `tcia-assets clinical`"
_FOREIGN = "it was not written by tcia_assets, but queries would count its rows: move it away"


@dataclass
class VerifiedTables:
    """Files of partitions that were checked: how many, bytes, those without a digest, problems."""

    partitions: int = 0
    bytes: int = 0
    without_digest: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, size: int, problem: str, has_digest: bool) -> None:  # noqa: FBT001 - a result
        """Count a partition."""
        self.partitions += 1
        self.bytes += size
        self.without_digest += not has_digest
        self.problems += [problem] if problem else []


def verify_tables(root: Path, keys: Sequence[str] | None) -> VerifiedTables:
    """Check the partitions with these keys below a data folder; see `Warehouse.verify`."""
    result = VerifiedTables()
    for table in TABLES:
        folder, known = partitions.table_folder(root, table), set()
        stored = partitions.keys_in(folder, table) if table.partitioned_by else [""]
        for key in stored:
            for file in PartitionFiles(root, table, key).paths():
                known.add(file)
                if keys is None or key in keys:
                    result.add(*_verify_file(root, table, key, file))
        result.problems += _gone(root, table, keys)
        if keys is None:
            foreign = partitions.foreign_files(root, table, known)
            result.problems += [f"{path}: {_FOREIGN}" for path in foreign]
    if keys is None:
        for name, path in clinical_files(root).items():
            result.add(*_verify_clinical(root, name, path))
    return result


def _gone(root: Path, table: Table, keys: Sequence[str] | None) -> Iterator[str]:
    """Yield a line for each file that has a digest and is not there."""
    for key, number in sorted(digests.recorded_files(root, table)):
        path = PartitionFiles(root, table, key).path(number)
        if (keys is None or key in keys) and not path.is_file():
            remedy = parquet_files.remedy(table, is_lost=True)
            yield f"{path}: it is gone although it was written; {remedy}"


def _verify_file(root: Path, table: Table, key: str, path: Path) -> tuple[int, str, bool]:
    """Return the size, what is wrong ("" if nothing), and whether there is a digest."""
    digest_file = digests.digest_path(root, table, key, partitions.part_number(path))
    return _compare(path, digest_file, parquet_files.remedy(table))


def _verify_clinical(root: Path, name: str, path: Path) -> tuple[int, str, bool]:
    if not path.is_file():
        return 0, f"{path}: it is gone although it was written; {_STORE_AGAIN}", True
    return _compare(path, clinical_digest(root, name), f"delete it, and {_STORE_AGAIN}")


def _compare(path: Path, digest_file: Path, remedy: str) -> tuple[int, str, bool]:
    size = path.stat().st_size if path.is_file() else 0
    if digests.is_changed(digest_file, path):
        return size, f"{path}: {parquet_files.CHANGED}; {remedy}", True
    return size, "", bool(digests.read(digest_file))
