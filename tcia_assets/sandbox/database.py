"""The database of the sandbox archive: the catalogue as it was, and what was touched since.

What belongs here: DuckDB, its files and memory, snapshots, and turns. What does not: what may
happen to a Series (`archive.py`).

The catalogue is never changed: a Series that something happened to has its current row in
`archive.touched`. `archive.everything` is all current rows, `archive.series` the visible ones. All
of it lies in a temporary file, so that half a million Series need little memory.
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

# DuckDB's memory: to take in half a million Series, then to answer about them.
_TO_LOAD, _AT_REST, _AT_WORK = "256MB", "64MB", "256MB"
_TURNS = min(os.cpu_count() or 1, 4)  # queries at once: each needs some memory

_EVERYTHING = """
    CREATE VIEW archive.everything AS
        FROM archive.catalogue ANTI JOIN archive.touched USING (place)
        UNION ALL
        FROM archive.touched
"""
_PLACES = "CREATE OR REPLACE TEMP TABLE places_ AS SELECT unnest(?::BIGINT[]) AS place"
_TOUCH = """
    INSERT INTO archive.touched
    FROM archive.catalogue SEMI JOIN places_ USING (place) ANTI JOIN archive.touched USING (place)
"""
_THESE = "WHERE place IN (FROM places_)"


class Database:
    """Half a million rows, or a few; safe to use from many threads."""

    def __init__(self, catalogue: pa.Table | Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tcia-sandbox-")
        self._connection = sql.connect(memory_limit=_TO_LOAD)
        self._lock = threading.Lock()
        self._running = threading.BoundedSemaphore(_TURNS)
        self._is_closed = False
        schema = pq.read_schema(catalogue) if isinstance(catalogue, Path) else catalogue.schema
        self.columns = frozenset((*schema.names, "FileSize"))
        self.source = (schema.metadata or {}).get(b"source", b"").decode()
        self._create(catalogue)

    def _create(self, catalogue: pa.Table | Path) -> None:
        file = sql.literal(str(Path(self._folder.name) / "archive.duckdb"))
        run = self._connection.execute
        run("SET python_enable_replacements = false")
        run("SET threads = 1")  # each request has its own thread, and that one does its query
        # Small row groups: a Collection's rows lie together, and a question reads only its groups.
        run(f"ATTACH {file} AS archive (ROW_GROUP_SIZE 16384)")
        rows = self._rows_of(catalogue)
        # A catalogue is sorted by Collection already; sorting it here would need all its memory.
        run(
            "CREATE TABLE archive.catalogue AS "
            f"SELECT row_number() OVER () - 1 AS place, *, {self._bytes(rows)} AS bytes, "
            f"ImageCount * bytes AS FileSize, {sql.literal(VISIBLE)} AS fate, 0 AS revision "
            f"FROM {rows}"
        )
        run("CREATE TABLE archive.touched AS FROM archive.catalogue LIMIT 0")
        run(_EVERYTHING)
        run(
            "CREATE VIEW archive.series AS FROM archive.everything "
            f"WHERE fate = {sql.literal(VISIBLE)}"
        )
        run("CHECKPOINT archive")
        self._connection.unregister("rows_")
        run(f"SET memory_limit = '{_AT_REST}'")  # forget what loading took
        run(f"SET memory_limit = '{_AT_WORK}'")

    def _rows_of(self, catalogue: pa.Table | Path) -> str:
        if isinstance(catalogue, Path):
            return f"read_parquet({sql.literal(str(catalogue))})"
        self._connection.register("rows_", catalogue)
        return "rows_"

    def _bytes(self, rows: str) -> str:
        """An expression: the size of each object of a Series; it depends on the modality."""
        found = self._connection.execute(f"SELECT DISTINCT Modality FROM {rows} ORDER BY 1")
        cases = " ".join(
            f"WHEN {sql.literal(modality)} THEN {phantom.object_bytes(modality)}"
            for (modality,) in found.fetchall()
            if modality
        )
        other = phantom.object_bytes(None)
        return f"CASE Modality {cases} ELSE {other} END" if cases else str(other)

    def tables(self, statements: Iterable[str]) -> Iterator[pa.Table]:
        """The rows of statements over `archive.series`, which all see one snapshot.

        Nothing is held between two of them, so a slow reader costs nothing.
        """
        with closing(self._cursor()) as cursor:
            cursor.execute("BEGIN TRANSACTION")
            for statement in statements:
                with self._turn():
                    table = sql.fetch_table(cursor, statement)
                yield table

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """The rows of a statement that has few."""
        with closing(self._cursor()) as cursor, self._turn():
            result = cursor.execute(statement, list(parameters))
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._running:
            if self._is_closed:
                raise RuntimeError("the sandbox archive is closed")
            yield

    def change(self, places: list[int], settings: str, values: Sequence[object]) -> None:
        """Set columns of these rows, all at once or not at all."""
        with self._lock:
            run = self._connection.execute
            run(_PLACES, [places])
            run("BEGIN TRANSACTION")
            try:
                run(_TOUCH)
                run(f"UPDATE archive.touched SET {settings} {_THESE}", list(values))
                run(f"UPDATE archive.touched SET FileSize = ImageCount * bytes {_THESE}")
            except BaseException:
                run("ROLLBACK")
                raise
            run("COMMIT")

    def reset(self) -> None:
        """All rows as they were."""
        with self._lock:
            self._connection.execute("DELETE FROM archive.touched")

    def close(self) -> None:
        """Let no query begin, wait for those that run, and remove the files."""
        self._is_closed = True
        with ExitStack() as all_turns:
            for _ in range(_TURNS):
                all_turns.enter_context(self._running)
            self._connection.close()
        self._folder.cleanup()

    def _cursor(self) -> sql.Connection:
        with self._lock:
            return self._connection.cursor()
