"""Fingerprints of Series: one hash over all values that a source returns for it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import FINGERPRINT_COLUMNS, SERIES
from tcia_assets.store import sql

# The text from which a fingerprint is made is several times as long as the row.
_ROWS_AT_ONCE = 1 << 12
_KEY = SERIES.key[0]


def fingerprints(rows: pa.Table) -> pa.Table:
    """Compute the fingerprint of each row.

    The fingerprint is the MD5 of `<name>=<bytes>:<value>` for each value that is not null, sorted
    by column name, with dates and instants as numbers since the epoch. So it does not depend on a
    version, a time zone or the order of columns, and a column that is always null does not count.

    Args:
        rows: Rows with any columns of `series`; SeriesInstanceUID must be among them.

    Returns:
        The columns SeriesInstanceUID and fingerprint, in the order of the rows.
    """
    # The memory that a separate database took for many rows is released when it is closed.
    with sql.scratch() if len(rows) <= _ROWS_AT_ONCE else sql.connect() as connection:
        starts = range(0, max(len(rows), 1), _ROWS_AT_ONCE)
        hashes = [_hash(rows.slice(start, _ROWS_AT_ONCE), connection) for start in starts]
    pa.default_memory_pool().release_unused()
    return pa.table([rows[_KEY], pa.chunked_array(hashes)], [_KEY, "fingerprint"])


def _hash(rows: pa.Table, connection: sql.Connection) -> pa.Array:
    names = sorted(name for name in FINGERPRINT_COLUMNS if name in rows.schema.names)
    # In Arrow, which joins all pieces of a row at once; SQL would copy the text for each piece.
    pieces = [_piece(name, _as_text(rows[name])) for name in names]
    nothing = pa.repeat(pa.scalar(""), len(rows))
    joined = pc.binary_join_element_wise(nothing, *pieces, "", null_handling="skip")
    connection.register("joined", pa.table([joined], ["text"]))
    hashes = sql.fetch_table(connection, "SELECT md5(text) AS fingerprint FROM joined")
    return hashes["fingerprint"].combine_chunks()


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_date(values.type):
        values = values.cast(pa.int32())
    elif pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    return values.cast(pa.string())


def _piece(name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return each value's part of the text; null if the value is null."""
    sizes = pc.binary_length(values).cast(pa.string())
    return pc.binary_join_element_wise(f"{name}=", sizes, ":", values, "")
