"""DuckDB as this package uses it: connections, quoting, and checks of SQL that a user wrote.

The only importer of duckdb.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

Connection = duckdb.DuckDBPyConnection
SqlError = duckdb.Error
UnknownNameError = duckdb.CatalogException
# Errors of a statement, as opposed to errors of a file.
MISTAKES = (
    duckdb.BinderException,
    UnknownNameError,
    duckdb.ConversionException,
    duckdb.ParserException,
)

# Table functions that a user's SQL may call: they read no file and change no setting. Any other is
# refused, because a newer DuckDB may add one that writes, as `enable_logging` does.
_PURE_FUNCTIONS = """
    changes_since duckdb_columns duckdb_databases duckdb_extensions duckdb_functions duckdb_keywords
    duckdb_memory duckdb_schemas duckdb_settings duckdb_tables duckdb_types duckdb_views
    generate_series histogram histogram_values json_each json_tree pg_timezone_names
    pragma_database_size pragma_show pragma_table_info pragma_version range repeat repeat_row
    series_as_of summary unnest
"""
_READERS = """
    glob parquet_file_metadata parquet_kv_metadata parquet_metadata parquet_scan parquet_schema
    read_blob read_csv read_csv_auto read_json read_json_auto read_json_objects
    read_json_objects_auto read_ndjson read_ndjson_auto read_ndjson_objects read_parquet read_text
    sniff_csv
"""
# Where a table may be; DuckDB takes `FROM data.csv` for a file if there is no schema `data`.
_SCHEMAS = frozenset(("", "main", "warehouse", "memory", "information_schema", "pg_catalog"))

_lock = threading.Lock()


def connect(
    path: Path | None = None,
    *,
    read_only: bool = False,
    memory_limit: str | None = None,
    threads: int | None = None,
) -> Connection:
    """Open a database, in UTC, that never downloads an extension.

    Args:
        path: The database file; in memory by default.
        read_only: Open the file read-only.
        memory_limit: As DuckDB's setting, such as "1GB".
        threads: How many threads a statement may use; by default one a core. A statement over an
            Arrow table, or a list in JSON, takes up to twice the processor time with two.
    """
    config: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": True,
        # A table that does not exist could be a Python variable of the caller.
        "python_enable_replacements": False,
        # The system's cache has what was read; kept here too, it would only take memory.
        "enable_external_file_cache": False,
    }
    if memory_limit:
        config["memory_limit"] = memory_limit
    if threads:
        config["threads"] = threads
    connection = duckdb.connect(str(path or ":memory:"), read_only=read_only, config=config)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # for its cursors too
    return connection


def scratch() -> Connection:
    """Open a cursor on this process's database in memory; the caller closes it.

    Opening a database takes 7 ms, a cursor almost nothing: small replies come by the thousand.
    """
    with _lock:
        return _database(os.getpid()).cursor()


@cache
def _database(_process: int) -> Connection:
    # One a process, because a DuckDB database does not survive a fork.
    return connect(threads=1)


def identifier(name: str) -> str:
    """Quote a name for SQL.

    >>> print(identifier('a "b" c'))
    "a ""b"" c"
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def is_expression(text: str) -> bool:
    """Return whether a text is one complete SQL expression, also in parentheses.

    >>> [is_expression(text) for text in ("a > 1 -- or so", "true) OR (true", "a, b", "a; b")]
    [True, False, False, False]
    """
    try:
        for each in (text, f"({text}\n)"):
            duckdb.SQLExpression(each)
    except (duckdb.Error, UnicodeEncodeError):
        return False
    return True


def table_names(expression: str) -> set[str]:
    """Return the names of the tables that an expression of SQL refers to, in lower case.

    >>> sorted(table_names("a IN (SELECT a FROM B) AND c = 'd'"))
    ['b']
    """
    with scratch() as connection:
        names = connection.get_table_names(f"SELECT ({expression}\n)")
    return {name.lower() for name in names}


def lock_down(connection: Connection, folders: Iterable[str]) -> None:
    """Let a connection open no file outside some folders, and keep SQL from changing that.

    What is attached already stays. DuckDB would still write below the folders, so SQL that a user
    wrote is passed through `why_no_query` first.

    Args:
        connection: Of a database that nobody else uses.
        folders: The beginnings of the paths and patterns that may be read.
    """
    allowed = ", ".join(literal(folder) for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def why_no_query(text: str, *, may_read_files: bool = False) -> str:
    """Return why a text is not one query that only reads; "" if it is. Its tables need not exist.

    Args:
        text: The SQL.
        may_read_files: Whether it may read files, and not only tables and views.

    >>> [why_no_query(text) for text in ("SELECT a FROM b -- c", "FROM b; FROM c", "DROP TABLE b")]
    ['', 'it holds 2 statements', 'it is a DROP']
    >>> why_no_query("SELECT (SELECT content FROM read_text('x'))")
    'it calls read_text, which is not allowed here'
    """
    try:
        text.encode()
        with scratch() as connection:
            statements = connection.extract_statements(text)
            if reason := _why_not_one_select(statements, text):
                return reason
            tree = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0][0]
        return next(_forbidden_parts(json.loads(tree), may_read_files=may_read_files), "")
    except (duckdb.Error, UnicodeEncodeError) as error:
        return str(error).splitlines()[0]
    except RecursionError:
        return "it is nested too deeply"


def _why_not_one_select(statements: list[duckdb.Statement], text: str) -> str:
    kinds = [statement.type for statement in statements]
    if kinds == [duckdb.StatementType.SELECT]:
        return ""
    if kinds and "pivot" in text.lower():
        # DuckDB would make a type of the values that it finds: that is a statement of its own.
        return "a PIVOT needs its values: ON column IN (...)"
    if not kinds:
        return "it is empty"
    if len(kinds) > 1:
        return f"it holds {len(kinds)} statements"
    article = "an" if kinds[0].name[0] in "AEIOU" else "a"
    return f"it is {article} {kinds[0].name}"


def _forbidden_parts(tree: Any, *, may_read_files: bool) -> Iterator[str]:
    """Yield what a query must not have, from DuckDB's own parse of it."""
    if tree.get("error"):
        message = str(tree["error_message"]).splitlines()[0]
        # DuckDB counts some PRAGMAs as a SELECT until it has to write them as one.
        yield "it is no SELECT" if message.startswith("Only SELECT") else message
        return
    allowed = set((_PURE_FUNCTIONS + (_READERS if may_read_files else "")).split())
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if not isinstance(node, dict):
            nodes += node if isinstance(node, list) else []
            continue
        nodes += node.values()
        if node.get("type") == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name", "")).lower()
            if name not in allowed:
                yield f"it calls {name}, which is not allowed here"
        if node.get("type") == "BASE_TABLE" and not may_read_files:
            place = [str(node.get(k, "")) for k in ("catalog_name", "schema_name", "table_name")]
            if "." in place[2] or not _SCHEMAS.issuperset(p.lower() for p in place[:2]):
                yield f"it reads {'.'.join(filter(None, place))!r}, which is no table"


def fetch_table(connection: Connection, statement: str, parameters: Any = None) -> pa.Table:
    """Run a statement and return all its rows, on each version of DuckDB that we support.

    No two columns of the result have the same name: rows as dictionaries would lose one of them.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, or the connection was interrupted, for which DuckDB
            has an error of its own.
    """
    try:
        table = _fetch(connection, statement, parameters)
        return table.rename_columns(_distinct(table.column_names))
    except (RuntimeError, duckdb.InterruptException) as error:
        if isinstance(error, duckdb.InterruptException) or "interrupted" in str(error):
            raise KeyboardInterrupt from None
        raise


def _distinct(names: Iterable[str]) -> list[str]:
    """Return names, with a number where one was before, as DuckDB names them in a subquery.

    >>> _distinct(["a", "b", "a", "a"])
    ['a', 'b', 'a_1', 'a_2']
    """
    chosen: dict[str, None] = {}
    for name in names:
        numbered = chain([name], (f"{name}_{number}" for number in count(1)))
        chosen[next(each for each in numbered if each not in chosen)] = None
    return list(chosen)


def _fetch(connection: Connection, statement: str, parameters: Any) -> pa.Table:
    # Up to 1.5 a relation copies the result once more on its way to Arrow; from 2.0 on a cursor
    # does, with a warning. For a statement without a result there is no relation.
    if hasattr(connection, "fetch_arrow_table"):
        cursor = connection.execute(statement, parameters)
        return (getattr(cursor, "to_arrow_table", None) or cursor.fetch_arrow_table)()
    relation = connection.sql(statement, params=parameters)
    return pa.table({}) if relation is None else relation.to_arrow_table()
