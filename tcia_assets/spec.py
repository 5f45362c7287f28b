"""The types in which tables and source APIs are declared: frozen values without I/O.

`Kind`, `Column`, `Check` and `Table` describe what this package publishes; `Parameter`, `Endpoint`
and `Dialect` what a client needs to know about a source's API. The tables and dialects themselves
are in `catalog.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from tcia_assets.errors import require_known

# A DICOM UID: this pattern, and at most 64 characters.
UID_PATTERN, MAX_UID_LENGTH = r"[0-9]+([.][0-9]+)*", 64

# --- Columns and tables -------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """The type of a value: its Arrow type, and the rule for values read from a reply.

    `rule` completes an error message: "... is not <rule>".
    """

    name: str
    arrow_type: pa.DataType
    rule: str

    def __call__(
        self,
        name: str,
        description: str,
        tag: str = "",
        *,
        wire_names: tuple[str, ...] = (),
        required: bool = False,
        inside: str = "",
    ) -> Column:
        """Declare a column of this kind."""
        return Column(name, self, description, tag, wire_names, required, inside)


@dataclass(frozen=True)
class Column:
    """A column. The same name means the same thing in every table.

    `wire_names` are the other names that some dialect uses for it in replies. `tag` is the DICOM
    tag of the attribute, "" for a field that the source or this package defines. `inside` is the
    tag of the sequence whose first item has the attribute, "" for one at an object's top level. A
    `required` column is never null.
    """

    name: str
    kind: Kind
    description: str
    tag: str = ""
    wire_names: tuple[str, ...] = ()
    required: bool = False
    inside: str = ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every name that a reply may use for this column, ours first."""
        return (self.name, *self.wire_names)

    @cached_property
    def arrow_field(self) -> pa.Field:
        """The Arrow field, with the description and the DICOM tag in its metadata."""
        metadata = {"description": self.description}
        if self.tag:
            metadata["dicom_tag"] = self.tag
        return pa.field(self.name, self.kind.arrow_type, not self.required, metadata)


@dataclass(frozen=True)
class Parent:
    """A foreign key: each row needs a row of the table `table` with equal values in `on`."""

    table: str
    on: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """A check of stored tables for facts that a person should look at.

    Args:
        name: The name of the asset check.
        description: What is true when it passes.
        sql: A query over the warehouse that returns the rows for which it fails.
        is_error: Whether a failure is an error or a warning.
        order: What the rows are ordered by, first those that a person should see first.
    """

    name: str
    description: str
    sql: str
    is_error: bool = False
    order: str = "ALL"

    @property
    def ordered_sql(self) -> str:
        """The query, whose rows come in the same order each time.

        >>> Check("named", "Each thing has a name.", "SELECT key FROM things").ordered_sql
        'SELECT key FROM things ORDER BY ALL'
        """
        return f"{self.sql} ORDER BY {self.order}"


@dataclass(frozen=True)
class Table:
    """A table that this package publishes: one name for the asset, the view and the directory.

    Args:
        name: The name of the table.
        grain: What one row is; completes "One row per ...".
        key: The columns that identify a row.
        columns: All columns, in order.
        endpoint: The endpoint that returns its rows, "" for a table that this package derives.
        partitioned_by: The column whose value is the partition key, "" without partitions.
        parents: The tables in which each row must have a parent row.
        made_from: The table from which it is made, "" if it is requested for its own sake.
        refreshed_after: The tables whose rows a refresh of it reads: they are refreshed before.
        updates: How its asset is kept current and what its plots show, for Dagster's UI.
        checks: Checks in addition to those of key and parents.
        rows_per_part: A partition of more rows has several files of about so many, so that a change
            costs one file; 0 for one file a partition. All rows of a Series are in one file, unless
            rows are only ever added.
        rows_written_again: Of a table with `rows_per_part`: a file that has more rows than this
            gets no few new ones any more, since it would be written again for each of them. By
            default a file is filled.
        summary: The narrow table with one row for each Series of this one; "" without one.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    endpoint: str = ""
    partitioned_by: str = ""
    parents: tuple[Parent, ...] = ()
    made_from: str = ""
    refreshed_after: tuple[str, ...] = ()
    updates: str = ""
    checks: tuple[Check, ...] = ()
    rows_per_part: int = 0
    rows_written_again: int = 0
    summary: str = ""

    def __hash__(self) -> int:
        # Tables are keys: a hash of all columns took a tenth of a millisecond each time.
        return hash(self.name)

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with grain and key in its metadata."""
        metadata = {"table": self.name, "grain": self.grain, "key": ",".join(self.key)}
        return pa.schema([c.arrow_field for c in self.columns], metadata=metadata)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        return tuple(self._by_name)

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def version(self) -> str:
        """Twelve hex digits that change only with what is stored: names, types, key, partitions.

        Texts, parents and checks are left out, because they are not stored.
        Dagster compares this version with that of stored assets.
        """
        facts = [
            (c.name, c.kind.name, str(c.kind.arrow_type), c.required, c.wire_names)
            for c in self.columns
        ]
        text = repr((self.name, self.key, self.endpoint, self.partitioned_by, facts))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def column(self, name: str) -> Column:
        """Return the column of that name.

        Raises:
            UnknownName: The table has no such column.
        """
        if name not in self._by_name:
            require_known(f"column of {self.name}", [name], self.column_names)
        return self._by_name[name]


# --- Rows from an index -------------------------------------------------------------------------


@dataclass(frozen=True)
class IndexFile:
    """A Parquet file of an index release.

    Args:
        name: Its name.
        columns: The columns that it must have: texts, days or instants, but for the following.
        numbers: Those that are numbers.
        lists: Those that are lists.
    """

    name: str
    columns: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexRows:
    """How the rows of a table are made from an index release.

    Args:
        table: The table.
        columns: Expressions of SQL by column, over the rows of `origin`.
        origin: What they are selected from, as SQL behind FROM.
        doi: An expression for the DOI of a row of `origin`; "" if it has none.
        is_grouped: Whether several rows of `origin` make one, so that each column but those of the
            key is an aggregate.
    """

    table: Table
    columns: Mapping[str, str]
    origin: str
    doi: str = ""
    is_grouped: bool = False

    @property
    def grouping(self) -> str:
        """The GROUP BY of the query for all rows; "" without one."""
        keys = [self.columns[name] for name in self.table.key if name in self.columns]
        return f" GROUP BY {', '.join(keys)}" if self.is_grouped else ""


# --- The API of a source ------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """A query parameter: our name (of a column, or `since`) and the exact name that is sent.

    An `is_list` parameter takes several values, separated by commas.
    """

    name: str
    wire_name: str
    required: bool = False
    is_list: bool = False


@dataclass(frozen=True)
class ValueFormat:
    """How dates and times are written in replies, as `strptime` formats.

    Only what is usual: a reader also accepts the other formats that are known.
    """

    day: str
    instant: str
    # Some servers write large numbers as 8.000000 in CSV, XML and HTML, but not in JSON.
    decimals_in_text: bool = False


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of a dialect, as a client needs to know it.

    Args:
        name: Our name, the same in every dialect.
        description: What it returns, in words.
        parameters: The parameters that it takes.
        columns: The names of a row's columns on the wire, in the order of the server.
        formats: The values that its `format` parameter takes; empty without such a parameter.
        path: The dialect's path, below its base URL; like `name` by default.
        method: The HTTP method.
        returns: The content of the body: "rows", "text" (one hash), "zip", "dicom" (one object)
            or "manifest" (a series list for TCIA's downloader).
        since_format: The `strptime` format of its date parameter.
        may_be_empty: Whether no rows are a normal result.
        is_never_empty: Whether a working server always has rows, so that none are a failure.
        fixed_parameters: Parameters that this package always sends, as (name, value).
        date_formats: `strptime` formats of columns that differ from the dialect's `ValueFormat`.
        zip_proof: For the zips that this package downloads, what proves them complete: "md5" (they
            list the MD5s of their objects) or "count" (only the number of objects); otherwise "".
        optional_columns: Names of columns that only some servers of the dialect send.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()
    columns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    path: str = ""
    method: str = "GET"
    returns: str = "rows"
    since_format: str = ""
    may_be_empty: bool = False
    is_never_empty: bool = False
    fixed_parameters: tuple[tuple[str, str], ...] = ()
    date_formats: tuple[tuple[str, str], ...] = ()
    zip_proof: str = ""
    optional_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path or self.name)

    def parameter(self, name: str) -> Parameter:
        """Return the parameter that has this name of ours.

        Raises:
            UnknownName: The endpoint takes no such parameter.
        """
        require_known(f"parameter of {self.name}", [name], [p.name for p in self.parameters])
        return next(p for p in self.parameters if p.name == name)

    def value_format(self, wire_name: str, default: ValueFormat) -> ValueFormat:
        """Return the format of a column's values; `default` is the format of the dialect."""
        date_format = dict(self.date_formats).get(wire_name)
        return replace(default, day=date_format, instant=date_format) if date_format else default


@dataclass(frozen=True)
class Dialect:
    """A version of the API: where it is, how clients authenticate, which endpoints it has.

    Args:
        name: The value of TCIA_DIALECT.
        description: What it is, in words.
        base_url: The public server.
        value_format: How dates and times are written in replies.
        endpoints: Its endpoints.
        auth: "none", "bearer" or "api_key".
        delegate: The dialect on the same host that serves the `delegated_endpoints`.
        delegated_endpoints: Names of endpoints that this dialect lacks.
        is_strict: Whether a parameter that an endpoint does not take is an error; else it is
            ignored.
        nlst_base_url: The public server of the Collection NLST; "" if it has none of its own.
    """

    name: str
    description: str
    base_url: str
    value_format: ValueFormat
    endpoints: tuple[Endpoint, ...]
    auth: str = "none"
    delegate: str = ""
    delegated_endpoints: tuple[str, ...] = ()
    is_strict: bool = False
    nlst_base_url: str = ""

    @cached_property
    def by_name(self) -> dict[str, Endpoint]:
        """The endpoints by name."""
        return {e.name: e for e in self.endpoints}

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of that name.

        Raises:
            UnknownName: The dialect has no such endpoint.
        """
        require_known(f"endpoint of dialect {self.name}", [name], self.by_name)
        return self.by_name[name]

    def has(self, name: str) -> bool:
        """Return whether the dialect has an endpoint of that name."""
        return name in self.by_name

    @property
    def health_endpoint(self) -> Endpoint:
        """The endpoint that returns rows whenever the server works.

        It shows whether an empty reply of another endpoint means no rows or a broken server.
        """
        return next(e for e in self.endpoints if e.is_never_empty)

    @property
    def zip_endpoints(self) -> tuple[str, ...]:
        """Names of the endpoints that return a Series as a zip, those with MD5s first."""
        endpoints = [e for e in self.endpoints if e.zip_proof]
        return tuple(e.name for e in sorted(endpoints, key=lambda e: e.zip_proof != "md5"))
