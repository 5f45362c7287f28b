"""A partition whose rows are only ever added: new rows go to its smallest file, or to further ones.

Where rows of a Series are replaced, a Series must stay in one file (`series_parts.py`). Here each
row stays in the file that it was added to, by one rename, so that a reader finds it once. Adding a
few rows costs one file of at most `Table.rows_per_part` rows, whatever the size of the partition.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from tcia_assets.store.conform import conform, empty
from tcia_assets.store.parquet_files import count_rows
from tcia_assets.store.partition_files import PartitionFiles


def append_rows(files: PartitionFiles, rows: pa.Table) -> None:
    """Add rows to a partition; its lock is held meanwhile.

    If the process is killed, the first of the rows are there: the caller adds the others again.

    Args:
        files: The files of the partition.
        rows: The rows, in any order; the partition has none of them.

    Raises:
        DataError: The rows do not conform to the table, or the file to be changed is damaged.
        StorageError: A file cannot be written; it is unchanged, others may be changed.
    """
    limit, numbers = files.table.rows_per_part, files.numbers()
    sizes = {number: count_rows(files.table, files.path(number)) for number in numbers}
    smallest = min(sizes, key=lambda number: sizes[number], default=None)
    if smallest is not None and sizes[smallest] + rows.num_rows <= limit:
        files.write(smallest, _conform(files, files.read_to_rewrite(smallest), rows))
        return
    first = max(numbers, default=-1) + 1
    for place, start in enumerate(range(0, rows.num_rows, limit)):
        files.write(first + place, _conform(files, rows.slice(start, limit)))


def keep_rows(files: PartitionFiles, is_kept: Callable[[pa.Table], pa.ChunkedArray]) -> None:
    """Remove rows from a partition; its lock is held meanwhile.

    Args:
        files: The files of the partition.
        is_kept: Returns for the rows of a file which of them stay.

    Raises:
        DataError: A file to be changed is damaged.
        StorageError: A file cannot be written; it is unchanged, others may be changed.
    """
    for number in files.numbers():
        rows = files.read(number)
        kept = rows.filter(is_kept(rows))
        if kept.num_rows < rows.num_rows:
            files.check_digest(number)
            files.write(number, _conform(files, kept))


def _conform(files: PartitionFiles, *parts: pa.Table) -> pa.Table:
    return conform(files.table, pa.concat_tables([empty(files.table), *parts]))
