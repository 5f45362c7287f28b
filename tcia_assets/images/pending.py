"""Series to fetch: one as an object, many as a table of which objects are made a few at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import overload

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.images.acceptance.rules import Expectation

# Objects that an iteration makes at once: half a megabyte.
_MADE_AT_ONCE = 1_000


@dataclass(frozen=True)
class PendingSeries:
    """A selected Series that is not on disk as the source now describes it.

    Attributes:
        series_instance_uid: Its UID.
        image_count: Number of its objects; None if unknown.
        image_bytes: Bytes of its objects; None if unknown.
        fingerprint: Fingerprint of its row in `series`.
        license_name: Its licence.
        description_uri: Its DataDescriptionURI.
        attempts: How often it was tried, unchanged, without success.
        reason: "new", "changed" (its bytes at the source, certainly or possibly), "lost" (`verify`
            found its zip gone or damaged) or "again" (it failed before).
        submitted_on: The day of its last submission; None if unknown.
        crdc_series_uuid: Its version in the Imaging Data Commons; None if unknown.
    """

    series_instance_uid: str
    image_count: int | None
    image_bytes: int | None
    fingerprint: str
    license_name: str | None
    description_uri: str | None
    attempts: int
    reason: str
    submitted_on: date | None = None
    crdc_series_uuid: str | None = None

    @property
    def expected(self) -> Expectation:
        """What its zip must hold."""
        return Expectation(self.series_instance_uid, self.image_count, self.image_bytes)


# The columns of a `PendingList`, in the order of the fields above.
SCHEMA = pa.schema(
    [
        ("series_instance_uid", pa.string()),
        ("image_count", pa.int64()),
        ("image_bytes", pa.int64()),
        ("fingerprint", pa.string()),
        # A few values each, for hundreds of thousands of Series.
        ("license_name", pa.dictionary(pa.int32(), pa.string())),
        ("description_uri", pa.dictionary(pa.int32(), pa.string())),
        ("attempts", pa.int64()),
        ("reason", pa.dictionary(pa.int32(), pa.string())),
        ("submitted_on", pa.date32()),
        ("crdc_series_uuid", pa.string()),
    ]
)


class PendingList(Sequence[PendingSeries]):
    """Series to fetch, in order: a table, because 500,000 objects would take 500 MB.

    Args:
        table: One row a Series, with the columns of `SCHEMA`, in any order and among others.
    """

    def __init__(self, table: pa.Table | None = None) -> None:
        self._table = (
            SCHEMA.empty_table() if table is None else table.select(SCHEMA.names).cast(SCHEMA)
        )

    @classmethod
    def of(cls, *series: PendingSeries) -> PendingList:
        """Make a list of these Series."""
        return cls(pa.Table.from_pylist([vars(each) for each in series], schema=SCHEMA))

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[PendingSeries]:
        for batch in self._table.to_batches(max_chunksize=_MADE_AT_ONCE):
            yield from (PendingSeries(**record) for record in batch.to_pylist())

    @overload
    def __getitem__(self, place: int) -> PendingSeries: ...
    @overload
    def __getitem__(self, place: slice) -> PendingList: ...
    def __getitem__(self, place: int | slice) -> PendingSeries | PendingList:
        if isinstance(place, slice):
            return PendingList(self._table[place])
        row = range(len(self))[place]
        return PendingSeries(**self._table.slice(row, 1).to_pylist()[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PendingList) and self._table.equals(other._table)

    __hash__ = None  # type: ignore[assignment]

    @property
    def uids(self) -> pa.ChunkedArray:
        """The SeriesInstanceUIDs."""
        return self._table["series_instance_uid"]

    @property
    def sizes(self) -> pa.ChunkedArray:
        """Bytes of the objects of each Series; null where they are unknown."""
        return self._table["image_bytes"]

    @property
    def total_bytes(self) -> int:
        """Bytes of the objects of all Series whose size is known."""
        return int(pc.sum(self.sizes).as_py() or 0)

    @property
    def reasons(self) -> Counter[str]:
        """Number of Series by `PendingSeries.reason`."""
        counts = self._table["reason"].cast(pa.string()).value_counts().to_pylist()
        return Counter({each["values"]: each["counts"] for each in counts})

    def tried(self) -> pa.ChunkedArray:
        """Return the UIDs of Series that are not new, so that the manifest has a row of each."""
        return self.uids.filter(pc.not_equal(self._table["reason"].cast(pa.string()), "new"))
