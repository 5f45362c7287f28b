"""DuckDB as this package uses it: connections and the quoting of names and texts.

The only importer of duckdb. What belongs here: settings that must be the same everywhere, and
quoting. What does not: any statement about the archive's data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

Connection = duckdb.DuckDBPyConnection
SqlError = duckdb.Error


def connect(
    path: Path | None = None, *, read_only: bool = False, memory_limit: str | None = None
) -> Connection:
    """A connection in UTC that never downloads an extension; in memory where no path is given."""
    config: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": True,
    }
    if memory_limit:
        config["memory_limit"] = memory_limit
    connection = duckdb.connect(str(path or ":memory:"), read_only=read_only, config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def identifier(name: str) -> str:
    """A name, quoted for SQL.

    >>> identifier('a "b"')
    '"a ""b\"""'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text, quoted for SQL.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
