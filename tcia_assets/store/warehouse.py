"""The tables on disk: Parquet partitions, and DuckDB views over them.

What belongs here: where a partition is, how it comes there whole or not at all, how it is read
back, and the views. What does not: what a table's rows must be (`conform.py`), who asks for them
(`defs/`).

    <root>/warehouse/<table>/<by>=<key>/part-0.parquet     a partition; the key is percent-encoded
    <root>/warehouse/<table>/part-0.parquet                a table without partitions
    <root>/warehouse/<table>/_schema.parquet               no rows: a view needs a file to look at
    <root>/warehouse.duckdb                                the views
    <root>/.locks/<table>/...                              who is changing a partition
"""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from tcia_assets.catalog import IMAGE_ARCHIVES, RESTORED, SERIES, SERIES_CHANGES, TABLES
from tcia_assets.errors import (
    BadValue,
    Busy,
    DataError,
    StorageError,
    TciaError,
    UnknownName,
    UsageError,
)
from tcia_assets.spec import Column, Table
from tcia_assets.store import sql
from tcia_assets.store.conform import align, check, empty

PART = "part-0.parquet"
# The underscore hides it from pyarrow's datasets, the suffix shows it to the views.
_SCHEMA = "_schema.parquet"

# DuckDB opens a file once more for each row group that it reads. With one row group for nearly
# every partition, no answer mixes two versions of a partition.
_ROWS_PER_GROUP = 1 << 20

# What most file systems allow for one name, in bytes.
_LONGEST_NAME = 255

# How often `query` asks while partitions are being replaced.
_TRIES = 6

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


@dataclass(frozen=True)
class Written:
    """A partition as it now is on disk; `changed` is whether that is another one than before."""

    path: Path
    rows: int
    bytes_on_disk: int
    changed: bool


class Warehouse:
    """The tables below a root, and the only writer of them.

    Whatever happens to a writer, a reader finds each partition whole, as it was or as it is.
    """

    def __init__(self, root: Path) -> None:
        # Resolved, so that every way to the folder means the same views.
        self.root = root.resolve()
        if "\\" in str(self.root):
            raise UsageError(f"DuckDB finds nothing below a path with a backslash: {self.root}")
        self.database = self.root / "warehouse.duckdb"
        self._kept = threading.local()

    def __reduce__(self) -> tuple[type[Warehouse], tuple[Path]]:
        """For other processes: a connection is not taken along."""
        return Warehouse, (self.root,)

    # --- Partitions -------------------------------------------------------------------------------

    def path(self, table: Table, key: str = "") -> Path:
        """Where the partition is, or would be.

        Raises:
            UsageError: no folder can have this key's name.
        """
        return self._folder(table) / _subfolder(table, key) / PART

    def has(self, table: Table, key: str = "") -> bool:
        return self.path(table, key).is_file()

    def keys(self, table: Table) -> list[str]:
        """The keys of the partitions that are there, sorted; none for an unpartitioned table."""
        folder, start = self._folder(table), f"{table.by}="
        names = [f.name for f in folder.iterdir()] if table.by and folder.is_dir() else []
        keys = {unquote(n.removeprefix(start)) for n in names if n.startswith(start)}
        return sorted(key for key in keys - _NO_KEYS if self.has(table, key))

    def rows(self, table: Table, key: str = "") -> int:
        """How many rows the partition has; 0 where it is not there."""
        with _readable(table, path := self.path(table, key)):
            return int(pq.read_metadata(path).num_rows) if path.is_file() else 0

    def write(self, table: Table, rows: pa.Table, key: str = "") -> Written:
        """The rows are the partition; equal rows are equal bytes, and those are left in place.

        Raises:
            DataError: the rows are not what `conform` returns, or not all of this partition.
            StorageError: the disk refuses. The partition is as it was.
        """
        path = self.path(table, key)
        check(table, rows)
        _check_partition(table, rows, key)
        changed = publish(path, partial(_write_parquet, table, rows))
        return Written(path, rows.num_rows, path.stat().st_size, changed)

    def read(
        self,
        table: Table,
        keys: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """The whole table, or these partitions of it, exactly as declared; or some of its columns.

        Columns that are younger than a file are null in its rows.

        Raises:
            UnknownName: one of these partitions is not there.
        """
        if keys is None:
            keys = self.keys(table) if table.by else [""] * self.has(table)
        chosen = replace(table, columns=tuple(map(table.column, columns or table.names)))
        parts = [self._read(chosen, key) for key in keys]
        return pa.concat_tables(parts) if parts else empty(chosen)

    @contextlib.contextmanager
    def lock(
        self, table: Table, key: str = "", *, part: str = "", wait: float = 600.0
    ) -> Iterator[None]:
        """Nobody else holds the lock of this partition: to read it, change it and write it.

        Reading and writing alone do not ask for it. A thread must not take it twice. `part` names
        work on the partition that has a lock of its own. The system releases a lock when the
        process ends, however that happens.

        Raises:
            Busy: it is still held elsewhere after `wait` seconds.
        """
        folder = self.root / ".locks" / table.name / part
        place = folder / f"{_subfolder(table, key) or 'table'}.lock"
        with held(place, f"{table.name} of {key!r}" if key else table.name, wait=wait):
            yield

    def _folder(self, table: Table) -> Path:
        return self.root / "warehouse" / table.name

    def _read(self, table: Table, key: str) -> pa.Table:
        path = self.path(table, key)
        if not path.is_file():
            raise UnknownName(f"partition of {table.name}", key, self.keys(table))
        with _readable(table, path), pq.ParquetFile(path) as file:
            present = [name for name in table.names if name in file.schema_arrow.names]
            return align(table, file.read(present))

    def _demand_readable(self) -> None:
        """Raises DataError, with the path and what to do, where a partition cannot be read."""
        for table in TABLES:
            for key in self.keys(table) if table.by else [""] * self.has(table):
                # Another process may remove what it has no rows for.
                with contextlib.suppress(UnknownName):
                    self._read(table, key)

    # --- Views ------------------------------------------------------------------------------------

    def connect(self) -> sql.Connection:
        """A read-only connection to the views; it never waits for a writer.

        A statement of yours may fail, and succeed the next time, when a partition is replaced in
        the moment in which DuckDB opens its file: DuckDB opens it twice. `query` tries again.
        """
        connection = self._opened()
        if connection is not None:
            return connection
        try:
            self.ensure_views()
        except TciaError:
            # Where nothing can be written, views in memory do as well.
            return self._in_memory()
        # Another version of this package may have replaced them again already.
        return self._opened() or self._in_memory()

    def query(
        self,
        statement: str,
        parameters: Any = None,
        *,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """The answer to SQL over the views, and over `tables` under their names.

        Raises:
            UsageError: DuckDB refuses the statement; the words are DuckDB's.
            DataError: a file is damaged, which DuckDB may not name.
        """
        tries_left = _TRIES
        while True:
            began, tries_left = time.time(), tries_left - 1
            with self._asked(tables or {}) as connection:
                try:
                    return sql.fetch_table(connection, statement, parameters)
                except sql.SqlError as error:
                    if not tries_left or not self._written_since(began):
                        if not isinstance(error, sql.MISTAKES):
                            self._demand_readable()
                        raise UsageError(_gist(error)) from error

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """While this lasts, what this thread asks by `query` shares one connection.

        To open one takes 20 ms: longer than most answers. The first question opens it, or fails.
        Not for long work: the memory that answers took stays with it.
        """
        if hasattr(self._kept, "connections"):
            yield
            return
        with contextlib.ExitStack() as self._kept.connections:
            try:
                yield
            finally:
                vars(self._kept).clear()

    @contextlib.contextmanager
    def _asked(self, tables: Mapping[str, pa.Table]) -> Iterator[sql.Connection]:
        """A connection that has these tables too, for as long as this lasts."""
        with self.kept_open():
            if not hasattr(self._kept, "connection"):
                self._kept.connection = self._kept.connections.enter_context(self.connect())
            connection = self._kept.connection
            try:
                for name, rows in tables.items():
                    connection.register(name, rows)
                yield connection
            finally:
                for name in tables:
                    connection.unregister(name)

    def ensure_views(self) -> None:
        """`warehouse.duckdb` holds the views of this root and of these declarations.

        Raises:
            StorageError: the disk refuses.
        """
        current = self._opened()
        if current is not None:
            current.close()
            # Of one who was killed after another had made the views: no publication follows.
            _remove_dead_drafts(self.database)
            return
        for table in TABLES:
            publish(self._folder(table) / _SCHEMA, partial(_write_parquet, table, empty(table)))
        with _disk(self.database), tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "views.duckdb"
            # The oldest format that we can ask for, so that an older DuckDB reads it too.
            attach = f"ATTACH {sql.literal(str(made))} AS warehouse (STORAGE_VERSION 'v1.0.0')"
            stamp = _comment("VIEW", ["current_series"], self._stamp)
            made_by = (attach, "USE warehouse", "BEGIN", *self._statements, stamp, "COMMIT")
            self._executed(*made_by).close()
            # Also where the bytes are the same: somebody may hold the old file to write to it.
            publish(self.database, partial(shutil.copyfile, made), keep_equal=False)

    def _opened(self) -> sql.Connection | None:
        """A connection to the views on disk; None where they are not the right ones."""
        if not all((self._folder(table) / _SCHEMA).is_file() for table in TABLES):
            return None
        # Attached to a database in memory: opened directly, DuckDB would hand out what this process
        # has open already, be it stale, and refuse where that has other settings.
        connection = sql.connect()
        try:
            connection.execute(f"ATTACH {sql.literal(str(self.database))} AS warehouse (READ_ONLY)")
            if connection.execute(_SAID, ["current_series"]).fetchall() == [(self._stamp,)]:
                connection.execute("USE warehouse")
                connection.execute(_NO_PYTHON)
                return connection
        except sql.SqlError:
            # Not there, damaged, made by a newer DuckDB, or held by somebody who may write to it.
            pass
        connection.close()
        return None

    def _in_memory(self) -> sql.Connection:
        return self._executed(*self._statements, _NO_PYTHON)

    def _executed(self, *statements: str) -> sql.Connection:
        connection = sql.connect()
        try:
            for statement in statements:
                connection.execute(statement)
        except sql.SqlError as error:
            connection.close()
            raise StorageError(f"no views can be made over {self.root}: {error}") from error
        return connection

    @cached_property
    def _statements(self) -> list[str]:
        views = {table.name: (table.about, self._select(table)) for table in TABLES}
        # Not over the view `series`: DuckDB 1.4 would look for that in the database of its making.
        living = f"{self._select(SERIES)} WHERE withdrawn_at IS NULL AND moved_to IS NULL"
        views["current_series"] = (_CURRENT, living)
        macros = {
            "series_as_of": (_AS_OF, _as_of(self._select(SERIES), self._select(SERIES_CHANGES))),
            "changes_since": (_SINCE, _since(self._select(SERIES_CHANGES))),
        }
        made = [f"CREATE VIEW {sql.identifier(n)} AS {select}" for n, (_, select) in views.items()]
        said = [_comment("VIEW", [n], about) for n, (about, _) in views.items()]
        for name, (about, select) in macros.items():
            made.append(f"CREATE MACRO {name}(moment) AS TABLE {select}")
            said.append(_comment("MACRO TABLE", [name], about))
        said += [_comment("COLUMN", [t.name, c.name], c.about) for t in TABLES for c in t.columns]
        return [*made, *said]

    @cached_property
    def _stamp(self) -> str:
        """What the views on disk say when they are these."""
        digest = hashlib.sha256(repr(self._statements).encode()).hexdigest()
        return f"{_CURRENT}; views {digest[:12]}"

    def _select(self, table: Table) -> str:
        # With the schema spelled out no file is opened before it is read, nothing is inferred, a
        # column that an old file lacks is null, and `union_by_name` is not needed: it opens each
        # file when a statement is prepared and once more when it runs, and fails when the file was
        # replaced in between.
        columns = ", ".join(
            f"{sql.literal(c.name)}: {{name: {sql.literal(c.name)}, "
            f"type: {sql.literal(_SQL_TYPES[c.kind.arrow])}, default_value: NULL}}"
            for c in table.columns
        )
        files = f"{_unglobbed(self._folder(table))}/**/*.parquet"
        return (
            f"SELECT * FROM read_parquet({sql.literal(files)}, "
            f"schema = MAP {{{columns}}}, hive_partitioning = false)"
        )

    def _written_since(self, began: float) -> bool:
        """Whether a partition may have been replaced since; every rename marks its folder."""
        folders = [self._folder(table) for table in TABLES]
        folders += [place for folder in folders for place in folder.glob("*=*")]
        # Clocks of file systems tick in hundredths of a second.
        return any(folder.stat().st_mtime > began - 0.1 for folder in folders if folder.is_dir())


# --- Locks ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def held(place: Path, what: str, *, wait: float) -> Iterator[None]:
    """Nobody else holds the lock at this place; `what` is what it guards. See `Warehouse.lock`."""
    with _disk(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        guard = FileLock(place)
        try:
            guard.acquire(timeout=wait)
        except Timeout:
            problem = f"{what} has been locked elsewhere for more than {wait:g} s"
            raise Busy(f"{problem}: {place}") from None
    try:
        yield
    finally:
        guard.release()


# --- Names ----------------------------------------------------------------------------------------

_NO_KEYS = {"", ".", ".."}


def _subfolder(table: Table, key: str) -> str:
    """The folder of a partition within its table's; "" for a table without partitions."""
    if not table.by:
        if key:
            raise UsageError(f"{table.name} has no partitions, so none called {key!r}")
        return ""
    if key in _NO_KEYS:
        raise UsageError(f"a partition of {table.name} cannot be called {key!r}")
    try:
        name = f"{table.by}={quote(key, safe='')}"
    except UnicodeEncodeError as error:
        raise UsageError(f"{key!r} is not text: {error.reason}") from error
    if len(name) + len(".lock") > _LONGEST_NAME:
        raise UsageError(f"the folder of {key!r} would have a name of {len(name)} bytes: too long")
    return name


def _unglobbed(path: Path) -> str:
    """A path in which DuckDB sees no pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def _check_partition(table: Table, rows: pa.Table, key: str) -> None:
    if not table.by:
        return
    others = rows[table.by].filter(pc.not_equal(rows[table.by], key))
    if len(others):
        problem = f"{others[0].as_py()!r} does not belong into the partition {key!r}"
        raise BadValue(problem, table=table.name, column=table.by, value=others[0].as_py())


# --- Files ----------------------------------------------------------------------------------------


def _write_parquet(table: Table, rows: pa.Table, draft: Path) -> None:
    with pq.ParquetWriter(draft, table.schema, compression="zstd") as writer:
        for start in range(0, rows.num_rows, _ROWS_PER_GROUP):
            # Combined, because Arrow ends a page where a chunk ends: other chunks, other bytes.
            group = rows.slice(start, _ROWS_PER_GROUP).combine_chunks()
            group = pa.Table.from_arrays(group.columns, schema=table.schema)
            writer.write_table(group, _ROWS_PER_GROUP)


def publish(path: Path, write: Callable[[Path], object], *, keep_equal: bool = True) -> bool:
    """What `write` makes of a draft is at the path, whole; whether the file is another one.

    Raises:
        StorageError: the disk refuses. What was there is as it was.
    """
    with _disk(path):
        is_new = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead_drafts(path)
        draft, held = _new_draft(path)
        try:
            write(draft)
            if keep_equal and path.exists() and filecmp.cmp(draft, path, shallow=False):
                return False
            os.fsync(held)
            draft.replace(path)
            sync(path.parent)
            if is_new:
                sync(path.parent.parent)
            return True
        finally:
            draft.unlink(missing_ok=True)
            os.close(held)


def _new_draft(path: Path) -> tuple[Path, int]:
    """A draft beside the path, and the descriptor whose lock shows that its writer lives."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.draft")
    held = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    fcntl.flock(held, fcntl.LOCK_EX)
    if draft.exists():
        return draft, held
    # Between these two lines another writer took it for a dead one's.
    os.close(held)
    return _new_draft(path)


def _remove_dead_drafts(path: Path) -> None:
    for draft in path.parent.glob(f".{path.name}.*.draft"):
        with contextlib.suppress(OSError), draft.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.unlink()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """A file or folder is on disk, whatever happens next."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _readable(table: Table, path: Path) -> Iterator[None]:
    """What is no Parquet is told with the path, and with what helps."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's own refusals have a number; Arrow says so of broken pages as well
        said = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{path} is not readable: {said}; {_cure(table)}", table=table.name
        ) from error


def _cure(table: Table) -> str:
    if table.name == IMAGE_ARCHIVES.name:
        return "`tcia-assets verify --rebuild` makes it anew from the zips"
    return "put a copy of it back, or delete it and refresh its Collection"


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """What the disk refuses is told with the path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path} cannot be written and is as it was: {reason}") from error


# --- Views ----------------------------------------------------------------------------------------

_CURRENT = "Series that are not withdrawn, each in the Collection that it belongs to"
_AS_OF = "series as it was known at a moment, without the columns that only count"
_SINCE = "series_changes seen after a moment, the oldest first"
_SAID = "SELECT comment FROM duckdb_views() WHERE database_name = 'warehouse' AND view_name = ?"
_MOMENT = "CAST(moment AS TIMESTAMP WITH TIME ZONE)"
# Otherwise a table that does not exist could be a Python variable of the caller.
_NO_PYTHON = "SET python_enable_replacements = false"


def _since(changes: str) -> str:
    return (
        f"SELECT * FROM ({changes}) WHERE seen_at > {_MOMENT} "
        "ORDER BY seen_at, Collection, SeriesInstanceUID, number"
    )


def _as_of(series: str, changes: str) -> str:
    """The rows as they are, with each value put back that an event after the moment replaced.

    The earliest such event tells what the value was. Events that no row owns, because a kill came
    in between, put back what is there.
    """
    restored = [SERIES.column(name) for name in RESTORED]
    earliest = ", ".join(
        f"arg_min(before, number) FILTER (WHERE json_exists(before, {_path(c)})) "
        f"AS {sql.identifier(c.name)}"
        for c in restored
    )
    put_back = (
        f"CASE WHEN l.{name} IS NULL THEN s.{name} "
        f"ELSE CAST(l.{name} ->> {_path(c)} AS {_SQL_TYPES[c.kind.arrow]}) END AS {name}"
        for c in restored
        for name in [sql.identifier(c.name)]
    )
    return f"""
        SELECT s.SeriesInstanceUID, s.Collection, {", ".join(put_back)}
        FROM (SELECT * FROM ({series}) WHERE first_seen_at <= {_MOMENT}) AS s
        LEFT JOIN (
            SELECT Collection, SeriesInstanceUID, {earliest}
            FROM ({changes})
            WHERE seen_at > {_MOMENT} AND before IS NOT NULL
            GROUP BY Collection, SeriesInstanceUID
        ) AS l
        ON s.Collection = l.Collection AND s.SeriesInstanceUID = l.SeriesInstanceUID
    """


def _path(column: Column) -> str:
    return sql.literal(f"$.{column.name}")


def _gist(error: sql.SqlError) -> str:
    """What DuckDB says on one line, without its excerpt of the statement and the caret below."""
    lines = takewhile(lambda line: not line.startswith("LINE "), str(error).splitlines())
    return "; ".join(line.strip() for line in lines if line.strip()) or str(error)


def _comment(what: str, names: list[str], text: str) -> str:
    name = ".".join(sql.identifier(n) for n in names)
    return f"COMMENT ON {what} {name} IS {sql.literal(text)}"
