"""The DuckDB views over the partitions: their SQL, and the database file that holds them.

    <root>/warehouse.duckdb                                the views; rebuilt at any time
    <root>/warehouse/<table>/_schema.parquet               no rows: a view needs a file to look at

The views hold absolute paths, so they are rebuilt when the root has moved.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from functools import cached_property, partial
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
from tcia_assets.store.conform import empty
from tcia_assets.store.files import publish, remove_dead_drafts, storage_errors
from tcia_assets.store.partitions import table_folder, write_parquet

# The underscore hides it from pyarrow's datasets, the suffix shows it to the views.
_SCHEMA = "_schema.parquet"

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
_AS_OF = "series as it was known at a moment, without the columns that only count"
_SINCE = "series_changes seen after a moment, the oldest first"
_READ_VIEWS = """
    SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'warehouse' AND NOT internal
"""
_MOMENT = "CAST(moment AS TIMESTAMP WITH TIME ZONE)"
# Without this, a table that does not exist could be a Python variable of the caller.
_NO_PYTHON = "SET python_enable_replacements = false"


class Views:
    """The views over one root's partitions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "warehouse.duckdb"

    def connect(self, *, may_build: bool = True) -> sql.Connection:
        """Return a read-only connection to the views, rebuilt if they are not current.

        Raises:
            StorageError: `may_build` is false, and views in memory lack a file to look at.
        """
        connection = self._open()
        if connection is not None:
            return connection
        if not may_build:
            return self._in_memory()
        try:
            self.ensure()
        except TciaError:
            # A root that cannot be written is read through views in memory.
            return self._in_memory()
        # Another version of this package may have replaced them again already.
        return self._open() or self._in_memory()

    def ensure(self) -> None:
        """Rebuild `warehouse.duckdb` unless it has the views of this root and these declarations.

        Raises:
            StorageError: The file cannot be written.
        """
        current = self._open()
        if current is not None:
            current.close()
            # A writer may have been killed after another one had built the views.
            remove_dead_drafts(self.database)
            return
        for table in TABLES:
            publish(self._schema_file(table), partial(write_parquet, table, empty(table)))
        with storage_errors(self.database), tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / "views.duckdb"
            # The oldest format that we can request, so that an older DuckDB reads it too.
            attach = f"ATTACH {sql.literal(str(built))} AS warehouse (STORAGE_VERSION 'v1.0.0')"
            stamp = _comment("VIEW", ["current_series"], self._stamp)
            build = (attach, "USE warehouse", "BEGIN", *self._statements, stamp, "COMMIT")
            self._execute(*build).close()
            # Even if the bytes are the same: a process may have the old file open for writing.
            publish(self.database, partial(shutil.copyfile, built), keep_equal=False)

    def _schema_file(self, table: Table) -> Path:
        return table_folder(self.root, table) / _SCHEMA

    def _open(self) -> sql.Connection | None:
        """Return a connection to the views on disk; None if they are not current."""
        if not all(self._schema_file(table).is_file() for table in TABLES):
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

    def _in_memory(self) -> sql.Connection:
        return self._locked_down(self._execute(*self._statements))

    def _locked_down(self, connection: sql.Connection) -> sql.Connection:
        """Return a connection that reads below the root only, whatever SQL it is given."""
        connection.execute(_NO_PYTHON)
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
        return views

    @cached_property
    def _macros(self) -> dict[str, tuple[str, str]]:
        """The comment and the SQL of each macro."""
        return {
            "series_as_of": (_AS_OF, _as_of(self._select(SERIES), self._select(SERIES_CHANGES))),
            "changes_since": (_SINCE, _since(self._select(SERIES_CHANGES))),
        }

    @cached_property
    def _statements(self) -> list[str]:
        """SQL that creates the views and macros, then their comments."""
        views = self._views.items()
        creates = [f"CREATE VIEW {sql.identifier(n)} AS {text}" for n, (_, text) in views]
        comments = [_comment("VIEW", [n], about) for n, (about, _) in views]
        for name, (about, text) in self._macros.items():
            creates.append(f"CREATE MACRO {name}(moment) AS TABLE {text}")
            comments.append(_comment("MACRO TABLE", [name], about))
        for table in TABLES:
            comments += [
                _comment("COLUMN", [table.name, c.name], c.description) for c in table.columns
            ]
        comments += [
            _comment("COLUMN", [acquisition.NAME, c.name], c.description)
            for c in ACQUISITION_COLUMNS
        ]
        return [*creates, *comments]

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
