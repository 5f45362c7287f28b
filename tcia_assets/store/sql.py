"""DuckDB as this package uses it: connections, quoting, and checks of SQL that a user wrote.

The only importer of duckdb.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

Connection = duckdb.DuckDBPyConnection
SqlError = duckdb.Error
# Errors of a statement, as opposed to errors of a file.
MISTAKES = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.ParserException,
)

_lock = threading.Lock()


def connect(
    path: Path | None = None, *, read_only: bool = False, memory_limit: str | None = None
) -> Connection:
    """Open a database, in UTC, that never downloads an extension.

    Args:
        path: The database file; in memory by default.
        read_only: Open the file read-only.
        memory_limit: As DuckDB's setting, such as "1GB".
    """
    config: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": True,
    }
    if memory_limit:
        config["memory_limit"] = memory_limit
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
    return connect()


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


def why_no_query(text: str) -> str:
    """Return why a text is not one complete query; "" if it is. Its tables need not exist.

    >>> [why_no_query(text) for text in ("SELECT a FROM b -- c", "FROM b; FROM c", "DROP TABLE b")]
    ['', 'it holds 2 statements', 'it is a DROP']
    """
    try:
        with scratch() as connection:
            statements = connection.extract_statements(text)
    except (duckdb.Error, UnicodeEncodeError) as error:
        return str(error).splitlines()[0]
    if len(statements) != 1:
        return f"it holds {len(statements)} statements"
    kind = statements[0].type
    return "" if kind == duckdb.StatementType.SELECT else f"it is a {kind.name}"


def fetch_table(connection: Connection, statement: str, parameters: Any = None) -> pa.Table:
    """Run a statement and return all its rows, on each version of DuckDB that we support."""
    # Up to 1.5 a relation copies the result once more on its way to Arrow; from 2.0 on a cursor
    # does, with a warning. For a statement without a result there is no relation.
    if hasattr(connection, "fetch_arrow_table"):
        cursor = connection.execute(statement, parameters)
        return (getattr(cursor, "to_arrow_table", None) or cursor.fetch_arrow_table)()
    relation = connection.sql(statement, params=parameters)
    return pa.table({}) if relation is None else relation.to_arrow_table()
