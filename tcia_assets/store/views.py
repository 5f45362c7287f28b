"""The databases that hold the DuckDB views over the partitions, whose SQL is in `view_sql.py`.

    <root>/warehouse.duckdb                                the views; rebuilt at any time
    <root>/warehouse/<table>/_schema.parquet               no rows: a view needs a file to look at

The views hold absolute paths, so they are rebuilt when the root has moved. The file is for whoever
opens it; the queries of this process go through the same views in memory, since opening a database
takes longer than most queries. There a view is created when a statement first names it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from functools import lru_cache, partial
from pathlib import Path

from tcia_assets.catalog import TABLES
from tcia_assets.errors import StorageError, TciaError
from tcia_assets.store import sql
from tcia_assets.store.clinical import clinical_views
from tcia_assets.store.conform import empty
from tcia_assets.store.files import publish, remove_dead_drafts, storage_errors
from tcia_assets.store.parquet_files import is_schema_file, write_parquet
from tcia_assets.store.partitions import SCHEMA_FILE, table_folder
from tcia_assets.store.view_sql import ViewSql, escape_glob

_READ_VIEWS = """
    SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'warehouse' AND NOT internal
"""
# What tells of views that a statement need not name: DuckDB's lists of them, and SQL made by SQL.
_TELLS_OF_ALL = re.compile(
    r"duckdb_|information_schema|pg_|sqlite_|pragma|show|describe|(^|[(/;])\s*desc|database|query",
    re.IGNORECASE | re.MULTILINE,
)
_MENTIONS_COMMENTS = re.compile("comment", re.IGNORECASE)
# Data folders whose views a process keeps in memory; it rarely reads more than one.
_FOLDERS = 8

# The stamp and the identity of each file of views that this process has found to be current.
_current: dict[Path, tuple[str, tuple[int, int, int] | None]] = {}
# Roots where this process could not rebuild it: each query would try again.
_unwritable: set[Path] = set()
# Roots whose files without rows this process has read; afterwards it only looks whether they exist.
_sound: set[Path] = set()


class Views:
    """The views over one root's partitions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "warehouse.duckdb"
        self.statements = ViewSql(root, clinical_views(root))
        # Made once: each query looks for them.
        self._schema_files = [table_folder(root, table) / SCHEMA_FILE for table in TABLES]

    def cursor(
        self, statement: str, *, needs_all: bool = False, may_build: bool = True
    ) -> sql.Connection:
        """Return a cursor for one query that only reads, on this process's views in memory.

        A file of views that another version wrote, or that points elsewhere, is rebuilt.

        Args:
            statement: The query. It finds the views that it names, or all if it asks what there is;
                they have comments if it mentions comments, which take time to create.
            needs_all: Whether it must find all views.
            may_build: Whether files may be written below the root.

        Raises:
            StorageError: A file that a view needs is missing and cannot or may not be written.
        """
        self._look_for_clinical()
        if may_build:
            self._follow()
            self._publish_schemas()
        elif not self._has_schemas():
            raise StorageError(
                f"cannot create views over {self.root}: {SCHEMA_FILE} is missing or damaged; "
                "`tcia-assets refresh` makes it anew"
            )
        with_comments = bool(_MENTIONS_COMMENTS.search(statement))
        known = tuple(self.statements.clinical)
        held = _in_memory(self.root, os.getpid(), with_comments, known)
        return held.cursor(None if needs_all or _TELLS_OF_ALL.search(statement) else statement)

    def connect(self, *, may_build: bool = True) -> sql.Connection:
        """Return a read-only connection to the views, rebuilt if they are not current.

        Raises:
            StorageError: `may_build` is false, and views in memory lack a file to look at.
        """
        self._look_for_clinical()
        connection = self._open()
        if connection is not None:
            return connection
        if not may_build:
            return self.in_memory()
        try:
            self.ensure()
        except TciaError:
            # A root that cannot be written is read through views in memory.
            return self.in_memory()
        # Another version of this package may have replaced them again already.
        return self._open() or self.in_memory()

    def ensure(self) -> None:
        """Rebuild `warehouse.duckdb` unless it has the views of this root and these declarations.

        Raises:
            StorageError: The file cannot be written.
        """
        self._look_for_clinical()
        if self._is_current():
            # A writer may have been killed after another one had built the views.
            remove_dead_drafts(self.database)
            return
        self._publish_schemas()
        with storage_errors(self.database), tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / "views.duckdb"
            # The oldest format that we can request, so that an older DuckDB reads it too.
            attach = f"ATTACH {sql.literal(str(built))} AS warehouse (STORAGE_VERSION 'v1.0.0')"
            build = (attach, "USE warehouse", "BEGIN", self.statements.stamped_script, "COMMIT")
            self._execute(*build).close()
            published = []

            def write(draft: Path) -> None:
                shutil.copyfile(built, draft)
                published.append(_identity(draft))  # a rename changes nothing of it

            # Even if the bytes are the same: a process may have the old file open for writing.
            publish(self.database, write, keep_equal=False)
            _current[self.root] = (self.statements.stamp, published[0])

    def _look_for_clinical(self) -> None:
        """Make other statements if there are other clinical tables than before."""
        found = clinical_views(self.root)
        if found != self.statements.clinical:
            self.statements = ViewSql(self.root, found)

    def _follow(self) -> None:
        """Rebuild a file of views that there is but not current, if the root can be written."""
        if not self.database.exists() or self.root in _unwritable or self._is_current():
            return
        try:
            self.ensure()
        except TciaError:
            _unwritable.add(self.root)

    def _is_current(self) -> bool:
        found = _identity(self.database)
        if found is None or not self._has_schemas():
            return False
        if _current.get(self.root) != (self.statements.stamp, found):
            connection = self._open()
            if connection is None:
                return False
            connection.close()
            _current[self.root] = (self.statements.stamp, found)
        return True

    def _has_schemas(self) -> bool:
        is_there = os.path.isfile if self.root in _sound else is_schema_file
        found = all(map(is_there, self._schema_files))
        if found:
            _sound.add(self.root)
        return found

    def _publish_schemas(self) -> None:
        if self._has_schemas():
            return
        for table, path in zip(TABLES, self._schema_files, strict=True):
            if not is_schema_file(path):
                publish(path, partial(write_parquet, table, empty(table)))

    def _open(self) -> sql.Connection | None:
        """Return a connection to the views on disk; None if they are not current."""
        if not self._has_schemas():
            return None
        # Attached to a database in memory: opened directly, DuckDB would return the database that
        # this process has open already, even if stale, and fail if that has other settings.
        connection = sql.connect()
        try:
            connection.execute(f"ATTACH {sql.literal(str(self.database))} AS warehouse (READ_ONLY)")
            found = dict(connection.execute(_READ_VIEWS).fetchall())
            if (
                found.keys() == self.statements.views.keys()
                and found["current_series"] == self.statements.stamp
            ):
                connection.execute("USE warehouse")
                # Binding a macro that is gone fails; to list functions would take 30 ms.
                for name in self.statements.macros:
                    connection.execute(f"SELECT 1 FROM {name}(now()) LIMIT 0")
                return self._locked_down(connection)
        except sql.SqlError:
            # Missing, damaged, written by a newer DuckDB, or open for writing in another process.
            pass
        connection.close()
        return None

    def in_memory(self, script: str | None = None) -> sql.Connection:
        """Return a connection to views in memory: those that a script creates, by default all."""
        statements = ("ATTACH ':memory:' AS warehouse", "USE warehouse")
        return self._locked_down(
            self._execute(*statements, self.statements.script if script is None else script)
        )

    def _locked_down(self, connection: sql.Connection) -> sql.Connection:
        """Return a connection that reads below the root only, whatever SQL it is given."""
        # The views' patterns begin with the escaped path.
        sql.lock_down(connection, dict.fromkeys((str(self.root), escape_glob(self.root))))
        return connection

    def _execute(self, *statements: str) -> sql.Connection:
        connection = sql.connect()
        try:
            for statement in statements:
                connection.execute(statement)
        except sql.SqlError as error:
            connection.close()
            raise StorageError(f"cannot create views over {self.root}: {error}") from error
        return connection


class _InMemory:
    """The views over one root in memory, each created when a statement first names it.

    Created at once they take as long as twenty queries.
    """

    def __init__(self, views: Views, *, with_comments: bool) -> None:
        self._root, self._lock = views.root, threading.Lock()
        self._missing = {} if with_comments else dict(views.statements.creates)
        self._connection = views.in_memory(None if with_comments else "")

    def cursor(self, statement: str | None) -> sql.Connection:
        """Return a cursor that only reads, and finds what a statement names; None names all."""
        cursor = self._connection.cursor()
        cursor.execute("USE warehouse")
        with self._lock:
            self._create(cursor, statement)
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        return cursor

    def _create(self, cursor: sql.Connection, statement: str | None) -> None:
        words = self._missing if statement is None else re.findall(r"\w+", statement.lower())
        for name in self._missing.keys() & words:
            try:
                cursor.execute(self._missing[name])
            except sql.SqlError as error:
                raise StorageError(f"cannot create views over {self._root}: {error}") from error
            del self._missing[name]


@lru_cache(maxsize=_FOLDERS)
def _in_memory(
    root: Path,
    _process: int,
    with_comments: bool,  # noqa: FBT001 - a key
    _clinical: tuple[str, ...],
) -> _InMemory:
    # One a process, because a DuckDB database does not survive a fork.
    return _InMemory(Views(root), with_comments=with_comments)


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced or written; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
