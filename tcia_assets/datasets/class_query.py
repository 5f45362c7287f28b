"""The value of each image of a cohort that its class is made of, from the warehouse or a CSV file.

Values are joined by Series, Study or Patient. No key has two classes, and what has none is counted.
"""

from __future__ import annotations

import csv
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.class_settings import KEYS, ClassSettings
from tcia_assets.datasets.classes import name_of_value
from tcia_assets.datasets.cohort import ClassJoin
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.declared_sql import run_declared
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.store.sql import identifier
from tcia_assets.store.warehouse import Warehouse

_MOST_SHOWN = 5
# `own` are the rows that have the values, `chosen` the images.
_VALUES = """
    WITH given AS (
        SELECT DISTINCT {collection} AS collection, trim({key}::VARCHAR) AS key,
               nullif(trim({column}::VARCHAR), '') AS value
        FROM ({own}
        ) WHERE nullif(trim({key}::VARCHAR), '') NOTNULL
    )
"""
_BY_SERIES = """
    SELECT c.SeriesInstanceUID AS uid, c.{key} AS key,
           list_sort(list(DISTINCT g.value) FILTER (WHERE g.value NOTNULL)) AS values
    FROM chosen AS c LEFT JOIN given AS g
    ON g.key = c.{key} AND coalesce(g.collection = c.Collection, true)
    GROUP BY ALL ORDER BY uid
"""
_COUNTS = """
    SELECT count(DISTINCT (g.key, g.collection)) AS keys,
           count(DISTINCT (g.key, g.collection)) FILTER (WHERE c.{key} NOTNULL) AS matched,
           min(g.key) FILTER (WHERE c.{key} IS NULL) AS example
    FROM given AS g LEFT JOIN (SELECT DISTINCT Collection, {key} FROM chosen) AS c
    ON g.key = c.{key} AND coalesce(g.collection = c.Collection, true)
"""


def query_classes(
    declaration: Declaration, settings: ClassSettings, warehouse: Warehouse, images: pa.Table
) -> tuple[dict[str, str], ClassJoin]:
    """Return the value of each image, by UID, and how the values were joined.

    Args:
        declaration: Of the dataset.
        settings: Its section `classes`.
        warehouse: Has the values, unless they are in a file.
        images: Their SeriesInstanceUID, StudyInstanceUID, PatientID and Collection.

    Raises:
        BadDeclaration: The file cannot be read, or the SQL fails; there is no such column, or no
            key; a key has values of several classes; no image has a value.
    """
    tables = {"chosen": images.select(["Collection", *KEYS])}
    statement = settings.statement
    if settings.csv:
        tables["class_rows"], statement = _read_csv(declaration, settings), "FROM class_rows"
    place = f"classes.{settings.origin}"
    probe = f"SELECT * FROM ({statement}\n) LIMIT 0"
    columns = run_declared(declaration, place, warehouse, probe, tables).column_names
    key = _key(declaration, settings, columns)
    names = {
        "key": identifier(key),
        "column": identifier(settings.column),
        "collection": "Collection" if "Collection" in columns else "NULL::VARCHAR",
    }
    given = _VALUES.format(own=statement, **names)
    run = [
        run_declared(declaration, place, warehouse, given + text.format(**names), tables)
        for text in (_BY_SERIES, _COUNTS)
    ]
    values = _values(declaration, settings, key, run[0].to_pylist())
    [counts] = run[1].to_pylist()
    if not values:
        problem = (
            f"no image of the cohort has a value: none of {counts['keys']} {key}s with one is "
            "that of an image"
        )
        raise declaration.error_at("classes", problem)
    return values, ClassJoin(key, **counts)


def _read_csv(declaration: Declaration, settings: ClassSettings) -> pa.Table:
    """Read a CSV file; all its values are texts, as IDs may begin with zeros."""
    try:
        with settings.csv_path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problem = f"{settings.csv} cannot be read: {error}"
        raise declaration.error_at("classes.csv", problem) from None
    if not rows:
        raise declaration.error_at("classes.csv", f"{settings.csv} is empty")
    header, *rows = rows
    if doubled := sorted({name for name in header if header.count(name) > 1}):
        raise declaration.error_at("classes.csv", f"two columns are called {doubled[0]!r}")
    rows = [row for row in rows if row]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            problem = f"row {number} has {len(row)} values; the header has {len(header)}"
            raise declaration.error_at("classes.csv", problem)
    columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
    return pa.table(columns or [pa.array([], pa.string())] * len(header), names=header)


def _key(declaration: Declaration, settings: ClassSettings, columns: list[str]) -> str:
    """Return the column to join by."""
    if settings.column not in columns:
        problem = str(UnknownName("column", settings.column, columns))
        raise declaration.error_at("classes.column", problem)
    found = [name for name in KEYS if name in columns]
    if settings.key and settings.key not in columns:
        raise declaration.error_at("classes.key", str(UnknownName("column", settings.key, columns)))
    if not found:
        problem = f"the values have no column to join by: one of {', '.join(KEYS)}"
        raise declaration.error_at(f"classes.{settings.origin}", problem)
    return settings.key or found[0]


def _values(
    declaration: Declaration, settings: ClassSettings, key: str, rows: list[dict[str, Any]]
) -> dict[str, str]:
    """Return the value of each Series; of several values of one class, the first."""
    values: dict[str, str] = {}
    doubled: dict[str, list[str]] = {}
    for row in rows:
        found = row["values"] or []
        if len({_class_of(declaration, settings, value) for value in found}) > 1:
            doubled[row["key"]] = found
        elif found:
            values[row["uid"]] = found[0]
    if doubled:
        shown = [
            f"{name!r} has {', '.join(map(repr, found[:_MOST_SHOWN]))}"
            for name, found in list(doubled.items())[:_MOST_SHOWN]
        ]
        more = f", and {len(doubled) - len(shown)} more" if len(doubled) > len(shown) else ""
        problem = f"{len(doubled)} {key}s have values of several classes: {'; '.join(shown)}{more}"
        raise declaration.error_at("classes.column", problem)
    return values


def _class_of(declaration: Declaration, settings: ClassSettings, value: str) -> str | None:
    try:
        return name_of_value(settings.names, value)
    except UsageError as error:
        raise declaration.error_at("classes.names", str(error)) from None
