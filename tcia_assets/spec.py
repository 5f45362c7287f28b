"""The nouns in which the archive and our tables are declared: frozen values, no input or output.

What belongs here: `Kind`, `Column`, `Table` (what we publish) and `Parameter`, `Endpoint`,
`Dialect` (what an archive speaks). What does not: any particular table or dialect (`catalog.py`),
and the reading and writing that follow from them (`wire.py`, `warehouse.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pyarrow as pa

from tcia_assets.errors import UnknownName

# --- Columns and tables -------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """What a value is: its Arrow type, and the rule that a wire value has to keep.

    `rule` is said to the user when a value breaks it: "... is not <rule>".
    """

    name: str
    arrow: pa.DataType
    rule: str

    def __call__(
        self,
        name: str,
        about: str,
        *,
        wire: tuple[str, ...] = (),
        tag: str = "",
        required: bool = False,
    ) -> Column:
        """A column of this kind."""
        return Column(name, self, about, wire=wire, tag=tag, required=required)


@dataclass(frozen=True)
class Column:
    """One column, the same wherever it stands.

    `wire` holds the other spellings under which some dialect sends it; `tag` the DICOM tag of the
    attribute that it holds, "" where the archive or this package made it.
    """

    name: str
    kind: Kind
    about: str
    wire: tuple[str, ...] = ()
    tag: str = ""
    required: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every name under which this column may arrive, ours first."""
        return (self.name, *self.wire)

    @property
    def arrow(self) -> pa.Field:
        about = {"description": self.about, **({"dicom_tag": self.tag} if self.tag else {})}
        return pa.field(self.name, self.kind.arrow, nullable=not self.required, metadata=about)


@dataclass(frozen=True)
class Parent:
    """Rows of a table must have their row in another one, found by equal columns."""

    table: str
    on: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table that this package publishes: an asset, a view and a directory of one name.

    `key` makes a row itself. `by` names the column whose value is the partition, "" for a table
    without partitions; `endpoint` who answers it, "" for a table that is made here.
    """

    name: str
    about: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    endpoint: str = ""
    by: str = ""
    parents: tuple[Parent, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with grain and key in its metadata."""
        about = {"table": self.name, "grain": self.about, "key": ",".join(self.key)}
        return pa.schema([c.arrow for c in self.columns], metadata=about)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def version(self) -> str:
        """Twelve hex digits that change when, and only when, this declares other rows.

        So not with the wording, nor with the parents, which are checked and not stored.
        """
        facts = [(c.name, c.kind.name, str(c.kind.arrow), c.required, c.wire) for c in self.columns]
        text = repr((self.name, self.key, self.endpoint, self.by, facts))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise UnknownName(f"column of {self.name}", name, self.names)


# --- What an archive speaks ---------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """A query parameter: our name of the thing (a column, or `since`) and its exact spelling."""

    name: str
    wire: str
    required: bool = False


@dataclass(frozen=True)
class Wire:
    """How a dialect writes values: formats as in `strptime`, for days and instants in replies."""

    day: str
    instant: str
    # Native SQL dialects print big decimals as 8.000000 in CSV, XML and HTML, though not in JSON.
    decimals_in_text: bool = False


@dataclass(frozen=True)
class Endpoint:
    """One question that a dialect answers.

    `name` is ours and the same in every dialect; `path` is the dialect's. `columns` are the wire
    names of a row in the order in which the server writes them. `formats` are the values that the
    `format` parameter takes; none where there is no such parameter. `answers` is what the body is:
    "rows", a "text" (one hash), a "zip" or one "dicom" object. `since` is the strptime format of the
    date parameter. `silent` marks questions to which "nothing" is a normal answer.
    """

    name: str
    path: str
    about: str
    parameters: tuple[Parameter, ...] = ()
    columns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    method: str = "GET"
    answers: str = "rows"
    since: str = ""
    # Whether a row released on the very day asked for is left out (`>`) or not (`>=`).
    since_is_strict: bool = False
    silent: bool = False
    # Fixed parameters that this package always sends, e.g. IncludeMD5=Yes.
    always: tuple[tuple[str, str], ...] = ()

    def parameter(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise UnknownName(f"parameter of {self.name}", name, (p.name for p in self.parameters))


@dataclass(frozen=True)
class Dialect:
    """A language that the archive has spoken: where, how it authenticates, what it answers.

    `auth` is "none", "bearer" or "api_key". `delegates` names the dialect that answers, on the same
    host, what this one has no endpoint for (shared lists in nbia-v4).
    """

    name: str
    about: str
    base_url: str
    wire: Wire
    endpoints: tuple[Endpoint, ...]
    auth: str = "none"
    delegates: str = ""
    by_name: dict[str, Endpoint] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {e.name: e for e in self.endpoints})

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of that name; UnknownName where this dialect has none."""
        if name not in self.by_name:
            raise UnknownName(f"endpoint of dialect {self.name}", name, self.by_name)
        return self.by_name[name]

    def has(self, name: str) -> bool:
        return name in self.by_name
