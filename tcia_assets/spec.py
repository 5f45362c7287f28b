"""The nouns in which the archive and our tables are declared: frozen values, no input or output.

What belongs here: `Kind`, `Column`, `Table` (what we publish) and `Parameter`, `Endpoint`,
`Dialect` (what an archive speaks). What does not: any particular table or dialect (`catalog.py`),
and the reading and writing that follow from them (`wire.py`, `warehouse.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

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

    @cached_property
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

    @cached_property
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
    """A query parameter: our name of the thing (a column, or `since`) and its exact spelling.

    `many` parameters take several values, separated by commas.
    """

    name: str
    wire: str
    required: bool = False
    many: bool = False


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
    names of a row in the order in which the server writes them.

    What is sent: `formats` are the values that the `format` parameter takes, none where there is no
    such parameter, and `default_format` is what comes where it is left out. `since` is the strptime
    format of the date parameter. `is_strict` endpoints refuse parameters that they do not know, the
    others ignore them. `missing` is the sentence that refuses a request without a required
    parameter, "" where the server does not look.

    What comes: `answers` is what the body is: "rows", a "text" (one hash), a "zip", one "dicom"
    object or a "manifest" (a list of UIDs for a downloader). `nothing` is how no rows are said: a
    "bare" 200 without a byte, an "array" without a row (in JSON), a status "204", or a "null_row".
    `silent` marks questions to which "nothing" is a normal answer. `forms` are the strptime formats
    of columns that are not written as the dialect writes their kind; `numbers` are the columns that
    travel as numbers where the others travel as texts, None where each kind travels as itself.

    `route` marks the zips by which this package fetches a Series: "md5" where they list the MD5s of
    their objects, "count" where counting is all that proves them.
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
    default_format: str = "json"
    is_strict: bool = False
    missing: str = ""
    nothing: str = "bare"
    forms: tuple[tuple[str, str], ...] = ()
    numbers: tuple[str, ...] | None = None
    route: str = ""
    # Whether an archive that works always has rows for it, so that silence is a failure.
    is_never_empty: bool = False

    def parameter(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise UnknownName(f"parameter of {self.name}", name, (p.name for p in self.parameters))

    def wire(self, column: str, wire: Wire) -> Wire:
        """How the values of a column, by its wire name, are written in a dialect that writes so."""
        form = dict(self.forms).get(column)
        return replace(wire, day=form, instant=form) if form else wire


@dataclass(frozen=True)
class Dialect:
    """A language that the archive has spoken: where, how it authenticates, what it answers.

    `auth` is "none", "bearer" or "api_key". `delegates` names the dialect that answers, on the same
    host, the endpoints of `delegated`, which this one has not (shared lists in nbia-v4). `server`
    is the software behind it, which no client sees but all habits follow from: "hibernate" (NBIA's
    first, with entities), "sql" (its present one) or "bindaas".
    """

    name: str
    about: str
    base_url: str
    wire: Wire
    endpoints: tuple[Endpoint, ...]
    auth: str = "none"
    delegates: str = ""
    delegated: tuple[str, ...] = ()
    server: str = "hibernate"
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

    @property
    def control(self) -> Endpoint:
        """The question that tells an archive with nothing to say from one that is broken."""
        return next(e for e in self.endpoints if e.is_never_empty)

    @property
    def image_routes(self) -> tuple[str, ...]:
        """The endpoints that give a Series' zip, best proof first; never none."""
        routes = [e for e in self.endpoints if e.route]
        return tuple(e.name for e in sorted(routes, key=lambda e: e.route != "md5"))

    @property
    def tells_sop_uids(self) -> bool:
        """Whether the identifiers of a Series' objects can be asked for."""
        return any(e.columns == ("SOPInstanceUID",) for e in self.endpoints)

    @property
    def gives_single_images(self) -> bool:
        """Whether one object of a Series can be asked for."""
        return any(e.answers == "dicom" for e in self.endpoints)
