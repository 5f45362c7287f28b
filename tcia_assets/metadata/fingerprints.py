"""Fingerprints of Series: one hash over all values that a source returns for it."""

from __future__ import annotations

from hashlib import md5

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import FINGERPRINT_COLUMNS, SERIES

# Their texts are longer than the rows.
_ROWS_AT_ONCE = 1 << 14
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
    parts = (rows.slice(start, _ROWS_AT_ONCE) for start in range(0, len(rows), _ROWS_AT_ONCE))
    made = pa.chunked_array([_hashes(_texts(part)) for part in parts], pa.string())
    return rows.select([_KEY]).append_column("fingerprint", made)


def _hashes(texts: list[bytes]) -> pa.Array:
    hashes = [md5(text, usedforsecurity=False).hexdigest() for text in texts]
    return pa.array(hashes, pa.string())


def _texts(rows: pa.Table) -> list[bytes]:
    """Return what is hashed for each row."""
    names = sorted(name for name in FINGERPRINT_COLUMNS if name in rows.schema.names)
    filled = (name for name in names if rows[name].null_count < len(rows))
    pieces = [pa.repeat("", len(rows)), *(_pieces(name, rows[name]) for name in filled)]
    texts = pc.binary_join_element_wise(*pieces, "", null_handling="replace")
    found: list[bytes] = texts.cast(pa.binary()).to_pylist()
    return found


def _pieces(name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the part of the text that each value is; null if the value is null."""
    if pa.types.is_date(values.type):
        values = values.cast(pa.int32())
    elif pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    texts = values.cast(pa.string())
    begins = pc.binary_join_element_wise(name, pc.binary_length(texts).cast(pa.string()), "=")
    return pc.binary_join_element_wise(begins, texts, ":")
