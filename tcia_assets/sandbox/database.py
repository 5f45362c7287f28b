"""The database of the sandbox archive: the original catalogue, and the rows changed since.

It uses DuckDB, and limits memory and the number of queries at once. The changes that are possible
are in `archive.py`.

The table `archive.catalogue` never changes; a changed Series has its current row in
`archive.changed`. The view `archive.everything` has all current rows, `archive.series` the visible
ones. All are in a temporary file, so that half a million Series need little memory.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.series_index import VISIBLE
from tcia_assets.store import sql

# Memory limits of DuckDB: to load half a million Series, to release that, and for queries.
_LOADING_MEMORY, _IDLE_MEMORY, _QUERY_MEMORY = "256MB", "64MB", "256MB"
_MAX_QUERIES = min(os.cpu_count() or 1, 4)  # at once: each needs memory

_EVERYTHING = """
    CREATE VIEW archive.everything AS
        FROM archive.catalogue ANTI JOIN archive.changed USING (row_number)
        UNION ALL
        FROM archive.changed
"""
_SELECT_ROWS = "CREATE OR REPLACE TEMP TABLE selected_ AS SELECT unnest(?::BIGINT[]) AS row_number"
_COPY_SELECTED = """
    INSERT INTO archive.changed
    FROM archive.catalogue SEMI JOIN selected_ USING (row_number)
        ANTI JOIN archive.changed USING (row_number)
"""
_SELECTED = "WHERE row_number IN (FROM selected_)"


class Database:
    """The database of a catalogue; safe to use from many threads.

    Args:
        catalogue: The rows, or their Parquet file.
    """

    def __init__(self, catalogue: pa.Table | Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tcia-sandbox-")
        self._connection = sql.connect(memory_limit=_LOADING_MEMORY)
        self._lock = threading.Lock()
        self._query_slots = threading.BoundedSemaphore(_MAX_QUERIES)
        self._is_closed = False
        schema = pq.read_schema(catalogue) if isinstance(catalogue, Path) else catalogue.schema
        self.columns = frozenset((*schema.names, "FileSize"))
        self.source = (schema.metadata or {}).get(b"source", b"").decode()
        self._create(catalogue)

    def _create(self, catalogue: pa.Table | Path) -> None:
        file = sql.literal(str(Path(self._folder.name) / "archive.duckdb"))
        run = self._connection.execute
        run("SET python_enable_replacements = false")
        run("SET threads = 1")  # each request runs its query in its own thread
        # Small row groups: the rows of a Collection are adjacent; a query reads only theirs.
        run(f"ATTACH {file} AS archive (ROW_GROUP_SIZE 16384)")
        rows = self._from_clause(catalogue)
        # A catalogue is sorted by Collection already; sorting it needs much memory.
        run(
            "CREATE TABLE archive.catalogue AS "
            "SELECT row_number() OVER () - 1 AS row_number, *, "
            f"{self._object_bytes(rows)} AS bytes, "
            f"ImageCount * bytes AS FileSize, {sql.literal(VISIBLE)} AS state, 0 AS revision "
            f"FROM {rows}"
        )
        run("CREATE TABLE archive.changed AS FROM archive.catalogue LIMIT 0")
        run(_EVERYTHING)
        run(
            "CREATE VIEW archive.series AS FROM archive.everything "
            f"WHERE state = {sql.literal(VISIBLE)}"
        )
        run("CHECKPOINT archive")
        self._connection.unregister("rows_")
        run(f"SET memory_limit = '{_IDLE_MEMORY}'")  # release the memory of loading
        run(f"SET memory_limit = '{_QUERY_MEMORY}'")

    def _from_clause(self, catalogue: pa.Table | Path) -> str:
        if isinstance(catalogue, Path):
            return f"read_parquet({sql.literal(str(catalogue))})"
        self._connection.register("rows_", catalogue)
        return "rows_"

    def _object_bytes(self, rows: str) -> str:
        """Return an SQL expression of the size of each object, which depends on the modality."""
        found = self._connection.execute(f"SELECT DISTINCT Modality FROM {rows} ORDER BY 1")
        cases = " ".join(
            f"WHEN {sql.literal(modality)} THEN {phantom.object_bytes(modality)}"
            for (modality,) in found.fetchall()
            if modality
        )
        other = phantom.object_bytes(None)
        return f"CASE Modality {cases} ELSE {other} END" if cases else str(other)

    def tables(self, statements: Iterable[str]) -> Iterator[pa.Table]:
        """Yield the result of each statement; all run in one transaction.

        Between two statements no query slot is held, so that a slow client blocks no other.
        """
        with closing(self._cursor()) as cursor:
            cursor.execute("BEGIN TRANSACTION")
            for statement in statements:
                with self._query_slot():
                    table = sql.fetch_table(cursor, statement)
                yield table

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Return the rows of a statement, for small results."""
        with closing(self._cursor()) as cursor, self._query_slot():
            result = cursor.execute(statement, list(parameters))
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    @contextmanager
    def _query_slot(self) -> Iterator[None]:
        with self._query_slots:
            if self._is_closed:
                raise RuntimeError("the sandbox archive is closed")
            yield

    def change(self, row_numbers: list[int], settings: str, values: Sequence[object]) -> None:
        """Set columns of these rows, all or none."""
        with self._lock:
            run = self._connection.execute
            run(_SELECT_ROWS, [row_numbers])
            run("BEGIN TRANSACTION")
            try:
                run(_COPY_SELECTED)
                run(f"UPDATE archive.changed SET {settings} {_SELECTED}", list(values))
                run(f"UPDATE archive.changed SET FileSize = ImageCount * bytes {_SELECTED}")
            except BaseException:
                run("ROLLBACK")
                raise
            run("COMMIT")

    def reset(self) -> None:
        """Restore the original rows."""
        with self._lock:
            self._connection.execute("DELETE FROM archive.changed")

    def save_changes(self, path: Path) -> None:
        """Write the changed rows to a Parquet file."""
        with self._lock:
            changed = sql.fetch_table(self._connection, "FROM archive.changed")
        pq.write_table(changed, path)

    def load_changes(self, path: Path) -> None:
        """Read the changed rows that `save_changes` has written."""
        with self._lock:
            file = f"read_parquet({sql.literal(str(path))})"
            self._connection.execute(f"INSERT INTO archive.changed BY NAME FROM {file}")

    def close(self) -> None:
        """Reject new queries, wait for running ones, and remove the files."""
        self._is_closed = True
        with ExitStack() as all_slots:
            for _ in range(_MAX_QUERIES):
                all_slots.enter_context(self._query_slots)
            self._connection.close()
        self._folder.cleanup()

    def _cursor(self) -> sql.Connection:
        with self._lock:
            return self._connection.cursor()
