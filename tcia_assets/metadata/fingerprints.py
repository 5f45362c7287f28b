"""Fingerprints of Series: one hash over all values that a source returns for it."""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.catalog import FINGERPRINT_COLUMNS, SERIES
from tcia_assets.store import sql

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
    names = sorted(name for name in FINGERPRINT_COLUMNS if name in rows.schema.names)
    pieces = ["''", *(_piece(name, rows.schema.field(name).type) for name in names)]
    statement = f"SELECT md5(concat({', '.join(pieces)})) AS fingerprint FROM given"
    given, made = rows.select([_KEY, *names]), []
    with sql.scratch() as connection:
        # DuckDB's copy of many rows would take as much memory as they do.
        for start in range(0, max(len(rows), 1), _ROWS_AT_ONCE):
            connection.register("given", given.slice(start, _ROWS_AT_ONCE))
            made += sql.fetch_table(connection, statement)["fingerprint"].chunks
    hashes = pa.chunked_array(made, pa.string())
    return given.select([_KEY]).append_column("fingerprint", hashes)


def _piece(name: str, kind: pa.DataType) -> str:
    """Return SQL for a value's part of the text; null if the value is null."""
    column = text = sql.identifier(name)
    if pa.types.is_date(kind):
        text = f"({column} - DATE '1970-01-01')"
    elif pa.types.is_timestamp(kind):
        text = f"epoch_us({column})"
    text = f"{text}::VARCHAR"
    # `concat` leaves nulls out, of which the name would remain.
    return f"CASE WHEN {column} IS NOT NULL THEN concat('{name}=', strlen({text}), ':', {text}) END"
