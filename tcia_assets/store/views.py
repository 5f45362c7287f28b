"""The DuckDB views over the partitions: their SQL, and the databases that hold them.

    <root>/warehouse.duckdb                                the views; rebuilt at any time
    <root>/warehouse/<table>/_schema.parquet               no rows: a view needs a file to look at

The views hold absolute paths, so they are rebuilt when the root has moved. The file is for whoever
opens it; the queries of this process go through the same views in memory, since opening a database
takes longer than most queries.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from functools import cached_property, lru_cache, partial
from pathlib import Path

import pyarrow as pa

from tcia_assets.catalog import (
    ACQUISITION_COLUMNS,
    IMAGES,
    RESTORED_COLUMNS,
    SERIES,
    SERIES_CHANGES,
    TABLES,
)
from tcia_assets.errors import StorageError, TciaError
from tcia_assets.spec import Column, Table
from tcia_assets.store import acquisition, sql
from tcia_assets.store.clinical import clinical_views, is_readable
from tcia_assets.store.conform import empty
from tcia_assets.store.files import publish, remove_dead_drafts, storage_errors
from tcia_assets.store.partitions import (
    SCHEMA_FILE,
    is_schema_file,
    table_folder,
    write_parquet,
)

_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.date32(): "DATE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.list_(pa.float64()): "DOUBLE[]",
    pa.list_(pa.string()): "VARCHAR[]",
}

_CURRENT = "Series that are not withdrawn, each in the Collection that it belongs to"
_CLINICAL = "Clinical table; its columns are described in clinical_tables"
_AS_OF = "series as it was known at a moment, without the columns that only count"
_SINCE = "series_changes seen after a moment, the oldest first"
_READ_VIEWS = """
    SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'warehouse' AND NOT internal
"""
_MOMENT = "CAST(moment AS TIMESTAMP WITH TIME ZONE)"
# Data folders whose views a process keeps in memory; it rarely reads more than one.
_FOLDERS = 8

# The stamp and the identity of each file of views that this process has found to be current.
_current: dict[Path, tuple[str, tuple[int, int, int]]] = {}
# Roots where this process could not rebuild it: each query would try again.
_unwritable: set[Path] = set()
# Roots whose files without rows this process has read; afterwards it only looks whether they exist.
_sound: set[Path] = set()


class Views:
    """The views over one root's partitions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._clinical = clinical_views(root)
        self.database = root / "warehouse.duckdb"

    def cursor(self, *, with_comments: bool, may_build: bool = True) -> sql.Connection:
        """Return a cursor for one query that only reads, on this process's views in memory.

        A file of views that another version wrote, or that points elsewhere, is rebuilt.

        Args:
            with_comments: Whether the query asks for the comments, which take time to create.
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
        known = tuple(self._clinical)
        cursor = _in_memory(self.root, os.getpid(), with_comments, known).cursor()
        cursor.execute("USE warehouse")
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        return cursor

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
            stamp = _comment("VIEW", ["current_series"], self._stamp)
            build = (attach, "USE warehouse", "BEGIN", *self._statements, stamp, "COMMIT")
            self._execute(*build).close()
            # Even if the bytes are the same: a process may have the old file open for writing.
            publish(self.database, partial(shutil.copyfile, built), keep_equal=False)

    def _look_for_clinical(self) -> None:
        """Forget the statements if there are other clinical tables than before."""
        found = clinical_views(self.root)
        if found != self._clinical:
            self._clinical = found
            for name in ("_views", "_creates", "_statements", "_stamp"):
                self.__dict__.pop(name, None)

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
        if _current.get(self.root) != (self._stamp, found):
            connection = self._open()
            if connection is None:
                return False
            connection.close()
            _current[self.root] = (self._stamp, found)
        return True

    def _has_schemas(self) -> bool:
        is_there = Path.is_file if self.root in _sound else is_schema_file
        found = all(is_there(self._schema_file(table)) for table in TABLES)
        if found:
            _sound.add(self.root)
        return found

    def _publish_schemas(self) -> None:
        if self._has_schemas():
            return
        for table in TABLES:
            path = self._schema_file(table)
            if not is_schema_file(path):
                publish(path, partial(write_parquet, table, empty(table)))

    def _schema_file(self, table: Table) -> Path:
        return table_folder(self.root, table) / SCHEMA_FILE

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
            if found.keys() == self._views.keys() and found["current_series"] == self._stamp:
                connection.execute("USE warehouse")
                # Binding a macro that is gone fails; to list functions would take 30 ms.
                for name in self._macros:
                    connection.execute(f"SELECT 1 FROM {name}(now()) LIMIT 0")
                return self._locked_down(connection)
        except sql.SqlError:
            # Missing, damaged, written by a newer DuckDB, or open for writing in another process.
            pass
        connection.close()
        return None

    def in_memory(self, *, with_comments: bool = True) -> sql.Connection:
        """Return a connection to the views in a database in memory."""
        statements = self._statements if with_comments else self._creates
        return self._locked_down(
            self._execute("ATTACH ':memory:' AS warehouse", "USE warehouse", *statements)
        )

    def _locked_down(self, connection: sql.Connection) -> sql.Connection:
        """Return a connection that reads below the root only, whatever SQL it is given."""
        # The views' patterns begin with the escaped path.
        sql.lock_down(connection, dict.fromkeys((str(self.root), _escape_glob(self.root))))
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

    @cached_property
    def _views(self) -> dict[str, tuple[str, str]]:
        """The comment and the SQL of each view."""
        views = {table.name: (table.grain, self._select(table)) for table in TABLES}
        # Not over the view `series`: DuckDB 1.4 would look for it in the database that it was
        # created in.
        current = f"{self._select(SERIES)} WHERE withdrawn_at IS NULL AND moved_to IS NULL"
        views["current_series"] = (_CURRENT, current)
        views[acquisition.NAME] = (acquisition.ABOUT, acquisition.select(self._select(IMAGES)))
        for name, path in self._clinical.items():
            # Its columns are its own, so they are read from the file; a damaged one has no view.
            if not is_readable(path):
                continue
            file = sql.literal(_escape_glob(path))
            select = f"SELECT * FROM read_parquet({file}, hive_partitioning = false)"
            views[name] = (_CLINICAL, select)
        return views

    @cached_property
    def _macros(self) -> dict[str, tuple[str, str]]:
        """The comment and the SQL of each macro."""
        return {
            "series_as_of": (_AS_OF, _as_of(self._select(SERIES), self._select(SERIES_CHANGES))),
            "changes_since": (_SINCE, _since(self._select(SERIES_CHANGES))),
        }

    @cached_property
    def _creates(self) -> list[str]:
        """SQL that creates the views and macros."""
        views = [f"CREATE VIEW {sql.identifier(n)} AS {t}" for n, (_, t) in self._views.items()]
        macros = self._macros.items()
        return views + [f"CREATE MACRO {n}(moment) AS TABLE {t}" for n, (_, t) in macros]

    @cached_property
    def _statements(self) -> list[str]:
        """SQL that creates the views and macros, then their comments."""
        comments = [_comment("VIEW", [n], about) for n, (about, _) in self._views.items()]
        comments += [_comment("MACRO TABLE", [n], about) for n, (about, _) in self._macros.items()]
        for table in TABLES:
            comments += [
                _comment("COLUMN", [table.name, c.name], c.description) for c in table.columns
            ]
        comments += [
            _comment("COLUMN", [acquisition.NAME, c.name], c.description)
            for c in ACQUISITION_COLUMNS
        ]
        return [*self._creates, *comments]

    @cached_property
    def _stamp(self) -> str:
        """The comment by which the views on disk are recognized as current."""
        digest = hashlib.sha256(repr(self._statements).encode()).hexdigest()
        return f"{_CURRENT}; views {digest[:12]}"

    def _select(self, table: Table) -> str:
        # With an explicit schema no file is opened before it is read, no type is inferred and a
        # column that an old file lacks is null. `union_by_name` would also fill such columns, but
        # it opens each file once when a statement is prepared and again when it runs, and fails
        # when the file was replaced in between.
        columns = ", ".join(
            f"{sql.literal(c.name)}: {{name: {sql.literal(c.name)}, "
            f"type: {sql.literal(_SQL_TYPES[c.kind.arrow_type])}, default_value: NULL}}"
            for c in table.columns
        )
        files = f"{_escape_glob(table_folder(self.root, table))}/**/*.parquet"
        return (
            f"SELECT * FROM read_parquet({sql.literal(files)}, "
            f"schema = MAP {{{columns}}}, hive_partitioning = false)"
        )


@lru_cache(maxsize=_FOLDERS)
def _in_memory(
    root: Path,
    _process: int,
    with_comments: bool,  # noqa: FBT001 - a key
    _clinical: tuple[str, ...],
) -> sql.Connection:
    # One a process, because a DuckDB database does not survive a fork.
    return Views(root).in_memory(with_comments=with_comments)


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced or written; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _escape_glob(path: Path) -> str:
    """Return the path so that DuckDB sees no pattern in it."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def _since(changes: str) -> str:
    return (
        f"SELECT * FROM ({changes}) WHERE seen_at > {_MOMENT} "
        "ORDER BY seen_at, Collection, SeriesInstanceUID, number"
    )


def _as_of(series: str, changes: str) -> str:
    """Return SQL for the rows of `series`, with each value restored that changed after a moment.

    The earliest change event after the moment holds the value that was there before. Events that no
    row owns yet, left by a killed run, restore the value that is there now.
    """
    restored = [SERIES.column(name) for name in RESTORED_COLUMNS]
    earliest = ", ".join(
        f"arg_min(before, number) FILTER (WHERE json_exists(before, {_json_path(c)})) "
        f"AS {sql.identifier(c.name)}"
        for c in restored
    )
    values = (
        f"CASE WHEN l.{name} IS NULL THEN s.{name} "
        f"ELSE CAST(l.{name} ->> {_json_path(c)} AS {_SQL_TYPES[c.kind.arrow_type]}) END AS {name}"
        for c in restored
        for name in [sql.identifier(c.name)]
    )
    return f"""
        SELECT s.SeriesInstanceUID, s.Collection, {", ".join(values)}
        FROM (SELECT * FROM ({series}) WHERE first_seen_at <= {_MOMENT}) AS s
        LEFT JOIN (
            SELECT Collection, SeriesInstanceUID, {earliest}
            FROM ({changes})
            WHERE seen_at > {_MOMENT} AND before IS NOT NULL
            GROUP BY Collection, SeriesInstanceUID
        ) AS l
        ON s.Collection = l.Collection AND s.SeriesInstanceUID = l.SeriesInstanceUID
    """


def _json_path(column: Column) -> str:
    return sql.literal(f"$.{column.name}")


def _comment(what: str, names: list[str], text: str) -> str:
    name = ".".join(sql.identifier(n) for n in names)
    return f"COMMENT ON {what} {name} IS {sql.literal(text)}"
