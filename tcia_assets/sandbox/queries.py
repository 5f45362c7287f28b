"""Build the SQL of a request: which rows an endpoint returns.

Each server compares values in its own way: case, trailing blanks, dates (archive-api.md 5.6, 5.7,
7.2). Endpoints, parameters and columns are in `catalog.py`; rows are written in `reply_formats.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.date_parameters import parse_in_database, parse_in_java
from tcia_assets.sandbox.endpoints import ServedEndpoint
from tcia_assets.spec import Parameter
from tcia_assets.store import sql

_NO_ROWS = "FALSE"

# The rows of at most this many Series are queried at once, to limit memory.
_BATCH = 4096

# Values that the archive has for a Series and the catalogue lacks. Other columns are null.
_CONSTANTS = {
    "Phantom": "'NO'",
    "SpeciesCode": "'337915000'",
    "SpeciesDescription": "'Homo sapiens'",
    "Authorized": "1",
    "ReleasedStatus": "if(DateReleased IS NULL, NULL, 'Yes')",
    "TotalSizeInBytes": "FileSize",
    "ObjectCount": "ImageCount",
    "AnnotationSize": "0",
}
# nbia-v1 removes these characters for a downloader that reads CSV without quotes.
_STRIPPED = "regexp_replace({}, '[^A-Za-z0-9 .-]', '', 'g')"
_FOR_DOWNLOADER = {
    "StudyDescription": _STRIPPED,
    "SeriesDescription": _STRIPPED,
    "Manufacturer": "replace({}, ',', ' ')",
}
_UIDS = {"SeriesInstanceUID", "StudyInstanceUID"}
_CASE_SENSITIVE_BEFORE_V4 = {"BodyPartExamined", "Manufacturer", "ManufacturerModelName"}
_GROUP_KEYS = {
    "StudyInstanceUID": ("StudyInstanceUID",),
    "PatientID": ("Collection", "PatientID"),
    "Collection": ("Collection",),
}


@dataclass(frozen=True)
class RowQuery:
    """The rows of an endpoint that satisfy all conditions, in an order that depends on `seed`."""

    served: ServedEndpoint
    conditions: tuple[str, ...] = ()
    seed: int = 0

    @property
    def unfiltered(self) -> RowQuery:
        """The same query without its conditions."""
        return replace(self, conditions=())

    @property
    def names(self) -> tuple[str, ...]:
        """Our names of the endpoint's columns."""
        return tuple(COLUMNS_BY_WIRE_NAME[name].name for name in self.served.endpoint.columns)

    def statements(self, archive: Archive) -> Iterator[str]:
        """Yield SELECT statements of the columns `names`; together they return all rows."""
        if len(self.names) == 1 and self.served.endpoint.name.endswith("Values"):
            yield self._distinct_values()
        elif "SeriesInstanceUID" in self.names:
            yield from self._series(archive)
        else:
            key = next(name for name in _GROUP_KEYS if name in self.names)
            yield self._grouped(_GROUP_KEYS[key], archive)

    def _where(self, *more: str) -> str:
        conditions = (*self.conditions, *more)
        return f"WHERE {' AND '.join(conditions)}" if conditions else ""

    def _distinct_values(self) -> str:
        name = sql.identifier(self.names[0])
        is_collection = self.names[0] == "Collection"
        # nbia-v4 returns all values in upper case, except the names of Collections.
        value = f"upper({name})" if self.served.is_native_sql and not is_collection else name
        order = "value" if is_collection else "upper(value) NULLS FIRST, value"
        return (
            f"SELECT value AS {name} FROM (SELECT DISTINCT {value} AS value "
            f"FROM archive.series {self._where()}) ORDER BY {order}"
        )

    def _series(self, archive: Archive) -> Iterator[str]:
        columns = ", ".join(
            f"{self._expression(archive, n)} AS {sql.identifier(n)}" for n in self.names
        )
        for batch in self._batches(archive):
            where = self._where(f"row_number BETWEEN {batch.start} AND {batch.stop - 1}")
            order = f"hash(row_number, {self.seed})"
            yield f"SELECT {columns} FROM archive.series {where} ORDER BY {order}"

    def _expression(self, archive: Archive, name: str) -> str:
        if name not in archive.columns:
            return _CONSTANTS.get(name, "NULL")
        is_stripped = self.served.is_hibernate and self.served.endpoint.name == "getSeriesMetadata"
        template = _FOR_DOWNLOADER.get(name, "{}") if is_stripped else "{}"
        return template.format(sql.identifier(name))

    def _batches(self, archive: Archive) -> list[range]:
        """Return ranges of row numbers that contain all rows, shuffled by the seed."""
        span = archive.rows(
            "SELECT count(*) AS n, min(row_number) AS low, max(row_number) + 1 AS high "
            f"FROM archive.series {self._where()}"
        )[0]
        if span["n"] <= _BATCH:
            return [range(span["low"], span["high"])] if span["n"] else []
        starts = range(span["low"], span["high"], _BATCH)
        batches = [range(start, min(start + _BATCH, span["high"])) for start in starts]
        random.Random(self.seed).shuffle(batches)  # noqa: S311 - an order
        return batches

    def _grouped(self, keys: tuple[str, ...], archive: Archive) -> str:
        # A Study in two Collections is one row, with either name: the server groups by Study.
        quoted = [sql.identifier(key) for key in keys]
        columns = ", ".join(
            sql.identifier(name)
            if name in keys
            else f"{_aggregate(archive, name)} AS {sql.identifier(name)}"
            for name in self.names
        )
        return (
            f"SELECT {columns} FROM archive.series {self._where()} "
            f"GROUP BY {', '.join(quoted)} ORDER BY hash({', '.join(quoted)}, {self.seed})"
        )


def _aggregate(archive: Archive, name: str) -> str:
    if name == "SeriesCount":
        return "count(*)"
    if name == "PatientCount":
        return "count(DISTINCT PatientID)"
    if name in archive.columns:
        return f"min({sql.identifier(name)})"
    return _CONSTANTS.get(name, "NULL")


def build_query(
    archive: Archive, served: ServedEndpoint, values: Mapping[str, str], seed: int
) -> RowQuery:
    """Return the query of a request.

    Args:
        archive: The archive, to find Series and Collections by name.
        served: The endpoint.
        values: The values of its parameters, by our name of each.
        seed: Determines the order of the rows.
    """
    conditions = tuple(
        _since(served, value)
        if name == "since"
        else _condition(archive, served, served.endpoint.parameter(name), value)
        for name, value in values.items()
    )
    if served.endpoint.since_format and "since" not in values:
        conditions += ("DateReleased > DATE '1900-01-01'",)
    return RowQuery(served, conditions, seed)


def _since(served: ServedEndpoint, value: str) -> str:
    parse = parse_in_java if served.is_hibernate else parse_in_database
    day = parse(value, served.endpoint.since_format)
    if day is None:
        return _NO_ROWS
    column = "MaxSubmissionTimestamp" if served.is_bindaas else "DateReleased"
    operator = ">" if served.since_is_exclusive else ">="
    return f"strftime({column}, '%Y-%m-%d') {operator} {sql.literal(day)}"


def _condition(archive: Archive, served: ServedEndpoint, parameter: Parameter, value: str) -> str:
    name = parameter.name
    value = value.rstrip(" ")  # the database compares as if both sides were padded with blanks
    if name == "list_name":
        return _series_in(archive, archive.list_members(value))
    if name == "SeriesInstanceUID":
        return _series_in(archive, _split_uids(value) if parameter.is_list else (value,))
    if name == "Collection":
        return _value_in("Collection", archive.matching_collections(value))
    column, text = f"rtrim({sql.identifier(name)}, ' ')", sql.literal(value)
    if name in _UIDS or _is_case_sensitive(served, name):
        return f"{column} = {text}"
    if name == "PatientID" and served.endpoint.name == "getPatient":
        # nbia-v1 upper-cases the value but not the column: lower-case letters never match.
        return f"{column} = {text if served.is_native_sql else sql.literal(value.upper())}"
    return f"upper({column}) = upper({text})"


def _is_case_sensitive(served: ServedEndpoint, name: str) -> bool:
    is_get_series = served.endpoint.name == "getSeries"
    return is_get_series and not served.is_native_sql and name in _CASE_SENSITIVE_BEFORE_V4


def _split_uids(value: str) -> list[str]:
    # The server drops all characters that cannot be part of a list of UIDs.
    return re.sub("[^0-9,.]", "", value).split(",")


def _series_in(archive: Archive, uids: Iterable[str]) -> str:
    found = (archive.find(uid) for uid in uids)
    numbers = sorted({str(series.row_number) for series in found if series})
    return f"row_number IN ({', '.join(numbers)})" if numbers else _NO_ROWS


def _value_in(name: str, values: tuple[str, ...]) -> str:
    texts = ", ".join(sql.literal(value) for value in values)
    return f"{sql.identifier(name)} IN ({texts})" if values else _NO_ROWS
