"""What a source answers with: rows and what they cost, and what it still has of single Series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from tcia_assets.errors import TciaError


@dataclass
class Cost:
    """What was sent and received: requests, with retries, and bytes."""

    requests: int = 0
    size_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.requests + other.requests, self.size_bytes + other.size_bytes)


@dataclass(frozen=True)
class UnreadableValues:
    """The values of one column that are not of its kind; they are null in the rows.

    Attributes:
        rows: The rows that have them.
        texts: The values as they were received, one for each of these rows.
        values: How many values the column has in all rows, readable or not.
    """

    rows: pa.Table
    texts: pa.ChunkedArray
    values: int


@dataclass(frozen=True)
class SourceRows:
    """Rows from a source, and what they cost.

    Attributes:
        table: Typed columns under our names; a column that no row has is left out.
        unclaimed: Fields that were in the rows and that none of our columns claims.
        promised: Columns (our names) that the source declares.
        cost: What was sent and received for them.
        seconds: Time until the last row was read.
        failure: The error that ended the work early; None if nothing is left out.
        unreadable: Values that are null in the rows because they cannot be read, by column.
        digest: Identifies the rows as they were received; "" if they cannot be recognized.
        is_known: Whether the rows are those of the known digest; they were not read then.
    """

    table: pa.Table
    unclaimed: tuple[str, ...] = ()
    promised: tuple[str, ...] = ()
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0
    failure: TciaError | None = None
    unreadable: Mapping[str, UnreadableValues] = field(default_factory=dict)
    digest: str = ""
    is_known: bool = False


@dataclass(frozen=True)
class SampleReply:
    """The rows of one reply, and how their dates are written.

    Attributes:
        rows: The rows.
        date_forms: The `strptime` forms of the dates and times in each column that has any; "" is
            a form that is not known.
        declared_forms: The form in which the source is declared to write each of these columns.
    """

    rows: SourceRows
    date_forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    declared_forms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Connection:
    """How a request reached the source, and what its answer began with.

    Attributes:
        host: Name and port of the host that was requested.
        address: IP address and port of the other end: the host's, or the proxy's. "" if unknown.
        proxy: The URL of the proxy that was used, without user and password; "" for none.
        tls: The version of TLS, such as "TLSv1.3"; "" without TLS.
        certificate_until: When the host's certificate expires; None without TLS, or if unknown.
        status: The HTTP status.
        seconds: Time to the first byte of the answer.
        server_time: The server's clock; None if it does not tell.
        limits: Headers of the answer that declare limits, as "name: value".
    """

    host: str
    address: str
    proxy: str
    tls: str
    certificate_until: datetime | None
    status: int
    seconds: float
    server_time: datetime | None
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Strictness:
    """Whether the source refuses a filter that it does not know, and is declared to."""

    refuses: bool
    declared: bool


@dataclass(frozen=True)
class ProbeResult:
    """What a source still has of single Series that its listing lacks.

    Attributes:
        gone: UIDs that the source no longer has. Certain cases only.
        elsewhere: UIDs that are in another Collection, each with its name.
        probed: Number of Series that were checked.
        cost: What was sent and received.
        failure: The error that ended the check early, if any; nothing is gone then.
    """

    gone: Sequence[str] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    probed: int = 0
    cost: Cost = field(default_factory=Cost)
    failure: TciaError | None = None


@dataclass(frozen=True)
class ClinicalTable:
    """A table about the patients of a Collection; `columns` are their labels by name."""

    name: str
    title: str
    columns: Mapping[str, str]
