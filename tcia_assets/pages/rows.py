"""Rows of a table as a script beside a page.

A page that is opened from a disk may read no other file, but may run a script. The script hands
columns to `tables.js` as one text in base64, of JSON compressed by gzip: nothing in a value can end
the text, and a browser unpacks it by itself. A column of texts is a list of its values and the
place of each row's value in it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES
from tcia_assets.store.warehouse import Warehouse

SERIES_COLUMNS = (
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "PatientSex",
    "PatientAge",
    "StudyDate",
    "Modality",
    "SeriesDescription",
    "BodyPartExamined",
    "Manufacturer",
    "ManufacturerModelName",
    "ImageCount",
    "FileSize",
    "LicenseName",
)
"""The columns of a Collection's table that are of `series`, beside `on_disk`."""

_GROUPS = (SERIES_COLUMNS[:2], SERIES_COLUMNS[2:9], SERIES_COLUMNS[9:])
_ORDER = ("PatientID", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID")
_LEVEL = 6
_PIECE = 10_000
# The wbits of zlib for a gzip header, which then has no file name and no time.
_GZIP = 31


def rows_script(columns: Iterable[tuple[str, pa.ChunkedArray]]) -> bytes:
    """Return the script that has these columns; equal columns give equal bytes."""
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
    content = bytearray()
    for piece in _json(columns):
        content += packer.compress(piece.encode("ascii"))
    content += packer.flush()
    return b'"use strict";catalogue.rows("' + base64.b64encode(content) + b'");\n'


def _json(columns: Iterable[tuple[str, pa.ChunkedArray]]) -> Iterator[str]:
    """Yield the JSON of columns in pieces, because that of a large Collection takes much memory."""
    before = "{"
    for name, values in columns:
        yield f"{before}{json.dumps(name)}:"
        yield from _column(values)
        before = ","
    yield "{}" if before == "{" else "}"


def _column(values: pa.ChunkedArray) -> Iterator[str]:
    if not pa.types.is_string(values.type) or _is_mostly_distinct(values):
        yield from _list('{"values":', values)
    else:
        encoded = pc.dictionary_encode(values.combine_chunks())
        yield from _list('{"words":', encoded.dictionary)
        yield from _list(',"places":', encoded.indices.fill_null(-1))
    yield "}"


def _is_mostly_distinct(values: pa.ChunkedArray) -> bool:
    """Return whether few of the first values are repeated: a list of all would save nothing."""
    first = values.slice(0, _PIECE)
    return 2 * int(pc.count_distinct(first, mode="all").as_py()) > len(first)


def _list(before: str, values: pa.Array | pa.ChunkedArray) -> Iterator[str]:
    yield f"{before}["
    for start in range(0, len(values), _PIECE):
        piece = json.dumps(values.slice(start, _PIECE).to_pylist(), separators=(",", ":"))
        yield f"{',' if start else ''}{piece[1:-1]}"
    yield "]"


def series_columns(warehouse: Warehouse, collection: str) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Yield the columns of a Collection's table: its Series that are not withdrawn or moved.

    Dates are texts, and `on_disk` is 1 for a Series with a zip; sorted by patient, Study and UID.
    """
    zips = pa.array(uids_on_disk(warehouse, collection), pa.string())
    # One version of the file, although a refresh may replace it meanwhile.
    with warehouse.files(SERIES, collection).reader() as read:
        order, on_disk = _shown_rows(read([*_ORDER, "withdrawn_at", "moved_to"]), zips)
        # A group of columns at a time is read, and one column sorted: all of a large Collection at
        # once take much memory.
        for names in _GROUPS:
            rows = read(names)
            for name in names:
                values = rows[name].take(order)
                yield name, pc.cast(values, pa.string()) if name == "StudyDate" else values
    yield "on_disk", on_disk


def _shown_rows(rows: pa.Table, zips: pa.Array) -> tuple[pa.Array, pa.ChunkedArray]:
    """Return the places of the rows that are shown, in their order, and whether each has a zip."""
    order = pc.sort_indices(rows, [(name, "ascending") for name in _ORDER])
    is_current = pc.and_(pc.is_null(rows["withdrawn_at"]), pc.is_null(rows["moved_to"]))
    order = order.filter(is_current.take(order))
    is_there = pc.is_in(rows["SeriesInstanceUID"], value_set=zips).take(order)
    return order, pc.cast(is_there, pa.int8())


def uids_on_disk(warehouse: Warehouse, collection: str) -> Sequence[str]:
    """Return the UIDs of a Collection's Series with a zip."""
    zips = warehouse.read_or_empty(IMAGE_ARCHIVES, collection, ["SeriesInstanceUID", "path"])
    found: list[str] = zips.filter(pc.is_valid(zips["path"]))["SeriesInstanceUID"].to_pylist()
    return found
