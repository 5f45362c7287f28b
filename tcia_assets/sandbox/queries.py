"""What a request asks, as SQL over the archive's current Series.

What belongs here: which rows an endpoint answers with, and how each server compares: case, trailing
blanks, dates (archive-api.md 5.6, 5.7, 7.2). What does not: which endpoints, parameters and columns
there are (`catalog.py`), and how a row is written (`reply_formats.py`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.date_parameters import by_database, by_java
from tcia_assets.spec import Dialect, Endpoint, Parameter
from tcia_assets.store import sql

NOTHING = "FALSE"

# A reply is made from parts of so many Series at most, so that none needs much memory.
_PART = 4096

# What the archive knows of a Series and the catalogue does not say. NULL where not even here.
_MADE = {
    "Phantom": "'NO'",
    "SpeciesCode": "'337915000'",
    "SpeciesDescription": "'Homo sapiens'",
    "Authorized": "1",
    "ReleasedStatus": "if(DateReleased IS NULL, NULL, 'Yes')",
    "TotalSizeInBytes": "FileSize",
    "ObjectCount": "ImageCount",
    "AnnotationSize": "0",
}
# What nbia-v1 leaves of texts for a downloader that reads CSV with no quotes.
_STRIPPED = "regexp_replace({}, '[^A-Za-z0-9 .-]', '', 'g')"
_FOR_A_DOWNLOADER = {
    "StudyDescription": _STRIPPED,
    "SeriesDescription": _STRIPPED,
    "Manufacturer": "replace({}, ',', ' ')",
}
_UIDS = {"SeriesInstanceUID", "StudyInstanceUID"}
_EXACT_BEFORE_V4 = {"BodyPartExamined", "Manufacturer", "ManufacturerModelName"}
_GRAINS = {
    "StudyInstanceUID": ("StudyInstanceUID",),
    "PatientID": ("Collection", "PatientID"),
    "Collection": ("Collection",),
}


@dataclass(frozen=True)
class RowQuery:
    """The rows of an endpoint that satisfy all conditions, in an order that depends on `seed`."""

    dialect: Dialect
    endpoint: Endpoint
    conditions: tuple[str, ...] = ()
    seed: int = 0

    @property
    def unfiltered(self) -> RowQuery:
        return replace(self, conditions=())

    @property
    def names(self) -> tuple[str, ...]:
        """Our names of the endpoint's columns."""
        return tuple(COLUMNS_BY_WIRE_NAME[wire].name for wire in self.endpoint.columns)

    def statements(self, archive: Archive) -> Iterator[str]:
        """SELECTs of `names`, one after the other; together they are all rows."""
        if len(self.names) == 1 and self.endpoint.name.endswith("Values"):
            yield self._values()
        elif "SeriesInstanceUID" in self.names:
            yield from self._series(archive)
        else:
            grain = next(name for name in _GRAINS if name in self.names)
            yield self._grouped(_GRAINS[grain], archive)

    def _where(self, *more: str) -> str:
        conditions = (*self.conditions, *more)
        return f"WHERE {' AND '.join(conditions)}" if conditions else ""

    def _values(self) -> str:
        name = sql.identifier(self.names[0])
        ascii_order = self.names[0] == "Collection"
        # nbia-v4 upper-cases all values but the Collections'.
        value = f"upper({name})" if self.dialect.server == "sql" and not ascii_order else name
        order = "value" if ascii_order else "upper(value) NULLS FIRST, value"
        return (
            f"SELECT value AS {name} FROM (SELECT DISTINCT {value} AS value "
            f"FROM archive.series {self._where()}) ORDER BY {order}"
        )

    def _series(self, archive: Archive) -> Iterator[str]:
        columns = ", ".join(
            f"{self._source(archive, n)} AS {sql.identifier(n)}" for n in self.names
        )
        for part in self._parts(archive):
            where = self._where(f"place BETWEEN {part.start} AND {part.stop - 1}")
            order = f"hash(place, {self.seed})"
            yield f"SELECT {columns} FROM archive.series {where} ORDER BY {order}"

    def _source(self, archive: Archive, name: str) -> str:
        if name not in archive.columns:
            return _MADE.get(name, "NULL")
        is_cut = self.endpoint.name == "getSeriesMetadata" and self.dialect.server == "hibernate"
        form = _FOR_A_DOWNLOADER.get(name, "{}") if is_cut else "{}"
        return form.format(sql.identifier(name))

    def _parts(self, archive: Archive) -> list[range]:
        """Ranges of rows that hold all, in another order for each seed."""
        span = archive.rows(
            "SELECT count(*) AS n, min(place) AS low, max(place) + 1 AS high "
            f"FROM archive.series {self._where()}"
        )[0]
        if span["n"] <= _PART:
            return [range(span["low"], span["high"])] if span["n"] else []
        starts = range(span["low"], span["high"], _PART)
        parts = [range(start, min(start + _PART, span["high"])) for start in starts]
        random.Random(self.seed).shuffle(parts)  # noqa: S311 - an order
        return parts

    def _grouped(self, keys: tuple[str, ...], archive: Archive) -> str:
        # A Study in two Collections is one row, with either name: the server groups by Study.
        quoted = [sql.identifier(key) for key in keys]
        columns = ", ".join(
            sql.identifier(name)
            if name in keys
            else f"{_one_of(archive, name)} AS {sql.identifier(name)}"
            for name in self.names
        )
        return (
            f"SELECT {columns} FROM archive.series {self._where()} "
            f"GROUP BY {', '.join(quoted)} ORDER BY hash({', '.join(quoted)}, {self.seed})"
        )


def _one_of(archive: Archive, name: str) -> str:
    if name == "SeriesCount":
        return "count(*)"
    if name == "PatientCount":
        return "count(DISTINCT PatientID)"
    return f"min({sql.identifier(name)})" if name in archive.columns else _MADE.get(name, "NULL")


def build_query(
    archive: Archive, dialect: Dialect, endpoint: Endpoint, values: Mapping[str, str], seed: int
) -> RowQuery:
    """The question that these values put; they are keyed by our names of the parameters."""
    conditions = tuple(
        _since(dialect, endpoint, value)
        if name == "since"
        else _filter(archive, dialect, endpoint.parameter(name), endpoint, value)
        for name, value in values.items()
    )
    if endpoint.since_format and "since" not in values:
        conditions += ("DateReleased > DATE '1900-01-01'",)
    return RowQuery(dialect, endpoint, conditions, seed)


def _since(dialect: Dialect, endpoint: Endpoint, value: str) -> str:
    parse = by_java if dialect.server == "hibernate" else by_database
    day = parse(value, endpoint.since_format)
    if day is None:
        return NOTHING
    column = "MaxSubmissionTimestamp" if dialect.server == "bindaas" else "DateReleased"
    operator = ">" if endpoint.since_is_strict else ">="
    return f"strftime({column}, '%Y-%m-%d') {operator} {sql.literal(day)}"


def _filter(
    archive: Archive, dialect: Dialect, parameter: Parameter, endpoint: Endpoint, value: str
) -> str:
    name = parameter.name
    value = value.rstrip(" ")  # the database compares as if both sides were padded with blanks
    if name == "list_name":
        return _among(archive, archive.list_members(value))
    if name == "SeriesInstanceUID":
        return _among(archive, _uids(value) if parameter.is_list else (value,))
    if name == "Collection":
        return _one_in("Collection", archive.matching_collections(value))
    is_v4 = dialect.server == "sql"
    column, text = f"rtrim({sql.identifier(name)}, ' ')", sql.literal(value)
    if name in _UIDS or (name in _EXACT_BEFORE_V4 and endpoint.name == "getSeries" and not is_v4):
        return f"{column} = {text}"
    if name == "PatientID" and endpoint.name == "getPatient":
        # nbia-v1 raises the value but not the column: lower-case letters can never match.
        return f"{column} = {text if is_v4 else sql.literal(value.upper())}"
    return f"upper({column}) = upper({text})"


def _uids(value: str) -> list[str]:
    # whatever cannot be in a UID or between two is left out, and not refused
    return re.sub("[^0-9,.]", "", value).split(",")


def _among(archive: Archive, uids: Iterable[str]) -> str:
    known = (archive.facts(uid) for uid in uids)
    places = sorted({str(facts.place) for facts in known if facts})
    return f"place IN ({', '.join(places)})" if places else NOTHING


def _one_in(name: str, values: tuple[str, ...]) -> str:
    texts = ", ".join(sql.literal(value) for value in values)
    return f"{sql.identifier(name)} IN ({texts})" if values else NOTHING
