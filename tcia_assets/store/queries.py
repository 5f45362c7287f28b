"""Queries over the views, in any thread: run again while partitions are replaced, until `stop`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import TABLES
from tcia_assets.errors import Stopped, UsageError
from tcia_assets.store import partitions, sql
from tcia_assets.store.views import Views

# How often a statement is run while partitions are being replaced.
_MAX_TRIES = 6


class Queries:
    """The queries over the views of one root.

    Args:
        views: The views.
        may_build: Whether the file of the views may be written.
    """

    def __init__(self, views: Views, *, may_build: bool) -> None:
        self._views, self._may_build = views, may_build
        self._in_use: list[sql.Connection] = []
        self._is_stopped = False

    @property
    def running(self) -> int:
        """How many queries run now."""
        return len(self._in_use)

    def run(
        self,
        statement: str,
        parameters: Any,
        tables: Mapping[str, pa.Table],
        check_readable: Callable[[], None],
    ) -> pa.Table:
        """Run SQL over the views and return the rows; see `Warehouse.query`.

        Args:
            statement: The SQL.
            parameters: Values for its placeholders.
            tables: Arrow tables that it can use under these names.
            check_readable: Called if it fails, to raise DataError where a partition is damaged.
        """
        tries_left, needs_all = _MAX_TRIES, False
        while True:
            if self._is_stopped:
                raise Stopped
            began, tries_left = time.time(), tries_left - 1
            with self._cursor(statement, tables, needs_all=needs_all) as cursor:
                try:
                    return sql.fetch_table(cursor, statement, parameters)
                except KeyboardInterrupt:
                    if self._is_stopped:
                        raise Stopped from None
                    raise
                except sql.SqlError as error:
                    if isinstance(error, sql.UnknownNameError) and not needs_all:
                        # DuckDB's error names what there is that has a similar name.
                        needs_all = True
                        continue
                    if not tries_left or not self._is_written_since(began):
                        if not isinstance(error, sql.MISTAKES):
                            check_readable()
                        raise UsageError(_one_line(error)) from error

    def stop(self) -> None:
        """End each running query, in any thread, with Stopped, and refuse new ones."""
        self._is_stopped = True
        for connection in list(self._in_use):
            with contextlib.suppress(sql.SqlError):  # it has just been closed
                connection.interrupt()

    @contextlib.contextmanager
    def _cursor(
        self, statement: str, tables: Mapping[str, pa.Table], *, needs_all: bool
    ) -> Iterator[sql.Connection]:
        """Provide a cursor for a statement that can use these tables too."""
        cursor = self._views.cursor(statement, needs_all=needs_all, may_build=self._may_build)
        with contextlib.closing(cursor):
            self._in_use.append(cursor)
            try:
                for name, rows in tables.items():
                    cursor.register(name, rows)
                yield cursor
            finally:
                self._in_use.remove(cursor)

    def _is_written_since(self, began: float) -> bool:
        """Return whether a partition may have been replaced since; a rename marks its folder."""
        folders = [partitions.table_folder(self._views.root, table) for table in TABLES]
        folders += [place for folder in folders for place in folder.glob("*/")]
        # Clocks of file systems tick in hundredths of a second.
        return any(folder.stat().st_mtime > began - 0.1 for folder in folders if folder.is_dir())


def _one_line(error: sql.SqlError) -> str:
    """Return DuckDB's message without its excerpt of the statement and the caret below it."""
    lines = takewhile(lambda line: not line.startswith("LINE "), str(error).splitlines())
    return "; ".join(line.strip() for line in lines if line.strip()) or str(error)
