"""The SQL of the DuckDB views and macros over a root's partitions, and of their comments."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
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
from tcia_assets.spec import Column, Table
from tcia_assets.store import acquisition, sql
from tcia_assets.store.clinical import is_readable
from tcia_assets.store.partitions import table_folder

_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.date32(): "DATE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.list_(pa.int64()): "BIGINT[]",
    pa.list_(pa.float64()): "DOUBLE[]",
    pa.list_(pa.string()): "VARCHAR[]",
}
_SCHEMA_TYPE = "MAP(VARCHAR, STRUCT(name VARCHAR, type VARCHAR, default_value VARCHAR))"

_CURRENT = "Series that are not withdrawn, each in the Collection that it belongs to"
_CLINICAL = "Clinical table; its columns are described in clinical_tables"
_AS_OF = "series as it was known at a moment, without the columns that only count"
_SINCE = "series_changes seen after a moment, the oldest first"
_MOMENT = "CAST(moment AS TIMESTAMP WITH TIME ZONE)"


class ViewSql:
    """The SQL of all views and macros over one root; their paths are absolute.

    Args:
        root: The data folder.
        clinical: The file of each clinical table by the name of its view.
    """

    def __init__(self, root: Path, clinical: Mapping[str, Path]) -> None:
        self._root, self.clinical = root, clinical

    @cached_property
    def views(self) -> dict[str, tuple[str, str]]:
        """The comment and the SQL of each view."""
        views = {table.name: (table.grain, self._select(table)) for table in TABLES}
        # Not over the view `series`: DuckDB 1.4 would look for it in the database that it was
        # created in.
        current = f"{self._select(SERIES)} WHERE withdrawn_at IS NULL AND moved_to IS NULL"
        views["current_series"] = (_CURRENT, current)
        views[acquisition.NAME] = (acquisition.ABOUT, acquisition.select(self._select(IMAGES)))
        for name, path in self.clinical.items():
            # Its columns are its own, so they are read from the file; a damaged one has no view.
            if not is_readable(path):
                continue
            file = sql.literal(escape_glob(path))
            select = f"SELECT * FROM read_parquet({file}, hive_partitioning = false)"
            views[name] = (_CLINICAL, select)
        return views

    @cached_property
    def macros(self) -> dict[str, tuple[str, str]]:
        """The comment and the SQL of each macro."""
        return {
            "series_as_of": (_AS_OF, _as_of(self._select(SERIES), self._select(SERIES_CHANGES))),
            "changes_since": (_SINCE, _since(self._select(SERIES_CHANGES))),
        }

    @cached_property
    def creates(self) -> dict[str, str]:
        """The statement that creates each view and macro; none needs another one."""
        views = {n: f"CREATE VIEW {sql.identifier(n)} AS {t}" for n, (_, t) in self.views.items()}
        macros = self.macros.items()
        return views | {n: f"CREATE MACRO {n}(moment) AS TABLE {t}" for n, (_, t) in macros}

    @cached_property
    def script(self) -> str:
        """SQL that creates the views and macros, then their comments."""
        comments = [_comment("VIEW", [n], about) for n, (about, _) in self.views.items()]
        comments += [_comment("MACRO TABLE", [n], about) for n, (about, _) in self.macros.items()]
        for table in TABLES:
            comments += [
                _comment("COLUMN", [table.name, c.name], c.description) for c in table.columns
            ]
        comments += [
            _comment("COLUMN", [acquisition.NAME, c.name], c.description)
            for c in ACQUISITION_COLUMNS
        ]
        # One text: a statement of its own takes half as long again for each of the hundreds.
        return ";\n".join([*self.creates.values(), *comments])

    @property
    def stamped_script(self) -> str:
        """`script`, with the stamp."""
        return f"{self.script};\n{_comment('VIEW', ['current_series'], self.stamp)}"

    @cached_property
    def stamp(self) -> str:
        """The comment by which the views on disk are recognized as current."""
        digest = hashlib.sha256(self.script.encode()).hexdigest()
        return f"{_CURRENT}; views {digest[:12]}"

    def select_from(self, table: Table, folders: Sequence[Path]) -> str:
        """Return SQL for the rows of a table in some folders: no file elsewhere is opened."""
        return _select(table, [f"{escape_glob(folder)}/*.parquet" for folder in folders])

    def _select(self, table: Table) -> str:
        return _select(table, [f"{escape_glob(table_folder(self._root, table))}/**/*.parquet"])


def _select(table: Table, patterns: Sequence[str]) -> str:
    # With an explicit schema no file is opened before it is read, no type is inferred and a
    # column that an old file lacks is null. `union_by_name` would also fill such columns, but
    # it opens each file once when a statement is prepared and again when it runs, and fails
    # when the file was replaced in between.
    columns = ", ".join(
        f'{c.name}={{name: {c.name}, type: "{_SQL_TYPES[c.kind.arrow_type]}", default_value: NULL}}'
        for c in table.columns
    )
    # A text, because DuckDB takes longer over hundreds of expressions: it binds them for each
    # query, and copies them for each comment.
    schema = f"CAST({sql.literal(f'{{{columns}}}')} AS {_SCHEMA_TYPE})"
    files = sql.literal(patterns[0])
    if len(patterns) > 1:
        files = f"[{', '.join(map(sql.literal, patterns))}]"
    return f"SELECT * FROM read_parquet({files}, schema = {schema}, hive_partitioning = false)"


def escape_glob(path: Path) -> str:
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
