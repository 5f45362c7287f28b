"""The database of the sandbox archive: the original catalogue, and the rows changed since.

It uses DuckDB, and limits memory and the number of queries at once. The changes that are possible
are in `archive.py`.

The table `archive.catalogue` never changes; a changed Series has its current row in
`archive.changed`. The view `archive.everything` has all current rows, `archive.series` the visible
ones. All are in a temporary file, so that half a million Series need little memory.
"""

from __future__ import annotations

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
from tcia_assets.store.cores import count_cores

# Memory limits of DuckDB: to load half a million Series, to release that, and for queries.
_LOADING_MEMORY, _IDLE_MEMORY, _QUERY_MEMORY = "256MB", "64MB", "256MB"
_MAX_QUERIES = min(count_cores(), 4)  # at once: each needs memory
_SMALL_RESULT, _MAX_RESULTS = 32 << 10, 1000

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
        self._results = self._original_results = _Results()
        schema = pq.read_schema(catalogue) if isinstance(catalogue, Path) else catalogue.schema
        self.columns = frozenset((*schema.names, "FileSize"))
        self.source = (schema.metadata or {}).get(b"source", b"").decode()
        self._create(catalogue)

    def _create(self, catalogue: pa.Table | Path) -> None:
        file = sql.literal(str(Path(self._folder.name) / "archive.duckdb"))
        run = self._connection.execute
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
        with self._transaction() as (cursor, results):
            for statement in statements:
                yield self._result(cursor, results, statement)

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Return the rows of a statement, for small results."""
        with self._transaction() as (cursor, results):
            rows: list[dict[str, Any]]
            rows = self._result(cursor, results, statement, *parameters).to_pylist()
            return rows

    def _result(
        self, cursor: sql.Connection, results: _Results, statement: str, *parameters: object
    ) -> pa.Table:
        table = results.get((statement, *parameters))
        if table is None:
            with self._query_slot():
                table = sql.fetch_table(cursor, statement, list(parameters))
            results.keep((statement, *parameters), table)
        return table

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
            self._results = _Results()

    def reset(self) -> None:
        """Restore the original rows."""
        with self._lock:
            if self._results is not self._original_results:
                self._connection.execute("DELETE FROM archive.changed")
                self._results = self._original_results

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
            self._results = _Results()

    def close(self) -> None:
        """Reject new queries, wait for running ones, and remove the files."""
        self._is_closed = True
        with ExitStack() as all_slots:
            for _ in range(_MAX_QUERIES):
                all_slots.enter_context(self._query_slots)
            self._connection.close()
        self._folder.cleanup()

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sql.Connection, _Results]]:
        with self._lock:
            cursor, results = self._connection.cursor(), self._results
            cursor.execute("BEGIN TRANSACTION")
        with closing(cursor):
            yield cursor, results


class _Results:
    """Small results of the rows as they are, since clients ask the same again and again."""

    def __init__(self) -> None:
        self._tables: dict[object, pa.Table] = {}

    def get(self, key: object) -> pa.Table | None:
        return self._tables.get(key)

    def keep(self, key: object, table: pa.Table) -> None:
        if table.nbytes <= _SMALL_RESULT and len(self._tables) < _MAX_RESULTS:
            self._tables[key] = table
