"""`images`: one row per object of the zips in the manifest, from their headers.

What belongs here: reading members as far as the header goes, and UIDs that two of them have. What
does not: which zips are read again (`series_zips.py`), what a header says (`dicom.py`), Dagster.

Cost follows change: the rows of a zip with the same SHA-256 are kept, and it is not opened. Of one
that is read, 16 KB a member are inflated, and pixel data never: unless the zip holds no MD5 of a
member, which is then inflated whole, in pieces, to compute it. That is exact, and slower.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGES
from tcia_assets.errors import escape_unprintable
from tcia_assets.images.acceptance import NON_IMAGE_MEMBERS, md5_list
from tcia_assets.images.headers import dicom, series_zips
from tcia_assets.images.headers.series_zips import (
    READ_ERRORS,
    Row,
    SeriesZip,
    error_text,
)
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse, WriteResult

_HEAD_BYTES = 1 << 14
# Far above any header of images; who has a longer one may mean harm.
_LONGEST_HEAD = 1 << 26
_PIECE_BYTES = 1 << 20

_REPEATED = "the SOPInstanceUID is also that of "


@dataclass(frozen=True)
class IndexResult:
    """What indexing a Collection did. `files_per_second` counts the objects that were read."""

    written: WriteResult
    objects: int
    new: int
    kept: int
    unreadable: int
    """Objects of which not even the SOPInstanceUID is known; `error` says why."""
    with_errors: int
    """Objects of which something cannot be read, the unreadable ones among them."""
    seconds: float

    @property
    def files_per_second(self) -> float:
        return self.new / self.seconds if self.seconds else 0.0


def index_images(
    collection: str,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
) -> IndexResult:
    """Brings the `images` of a Collection in step with its `image_archives`, under its lock.

    Raises:
        MissingExtra: pydicom is not installed.
        Busy, StorageError: see `Warehouse.lock` and `Warehouse.write`.
    """
    started = time.monotonic()
    with warehouse.lock(IMAGES, collection):
        found, kept = _rows(collection, warehouse, report)
        written = warehouse.write(IMAGES, found, collection)
    return IndexResult(
        written,
        objects=found.num_rows,
        new=found.num_rows - kept,
        kept=kept,
        unreadable=found["SOPInstanceUID"].null_count,
        with_errors=found.num_rows - found["error"].null_count,
        seconds=time.monotonic() - started,
    )


def read_rows(
    collection: str,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
) -> pa.Table:
    """The rows of `images` that follow from the manifest of a Collection; nothing is written.

    Whatever is wrong with a zip or a member is told in `error` of its row, or of the one row
    without `entry_name` of a zip that cannot be read at all, which is tried again each time.
    `report` is told after each zip how many are read, of how many.
    """
    return _rows(collection, warehouse, report)[0]


def _rows(collection: str, warehouse: Warehouse, report: ProgressCallback) -> tuple[pa.Table, int]:
    """The rows, and how many of them were there before."""
    dicom.require_pydicom()
    archives = series_zips.list_zips(collection, warehouse)
    kept = series_zips.unchanged_rows(IMAGES, collection, warehouse, archives, _is_repeated)
    known = set(pc.unique(kept["SeriesInstanceUID"]).to_pylist())
    fresh = [archive for archive in archives if archive.series_instance_uid not in known]
    (read,) = series_zips.read_rows((IMAGES,), fresh, _archive_rows, report)
    found = pa.concat_tables([kept, read])
    return conform(IMAGES, _told_apart(found)), kept.num_rows


def _is_repeated(stored: pa.Table) -> pa.Array:
    return pc.fill_null(pc.match_substring(stored["error"], _REPEATED), fill_value=False)


def _told_apart(found: pa.Table) -> pa.Table:
    """A UID that two objects have is the first one's alone, by Series and name; the others say so.

    The archive holds each object once, but one that has moved to another Series is for a while, or
    where the old Series is kept, in two zips.
    """
    uids = found["SOPInstanceUID"]
    counts = pc.value_counts(uids.drop_null())
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if not len(twice):
        return found
    places = pc.indices_nonzero(pc.is_in(uids, value_set=twice)).to_pylist()
    names = ("SOPInstanceUID", "SeriesInstanceUID", "entry_name")
    keys = found.select(names).take(places).to_pylist()
    told = zip(keys, places, strict=True)
    order = sorted((*(key[name] for name in names), place) for key, place in told)
    first: dict[str, str] = {}
    problems: dict[int, str] = {}
    for uid, series, name, place in order:
        if uid in first:
            problems[place] = f"{_REPEATED}{first[uid]}: {uid}"
        else:
            first[uid] = f"{name!r} of Series {series}"
    return _without_uid(found, problems)


def _without_uid(found: pa.Table, problems: dict[int, str]) -> pa.Table:
    """The table with these problems in `error`, and no SOPInstanceUID, in these rows."""
    rows = list(range(found.num_rows))
    told = pa.array([problems.get(row) for row in rows], pa.string())
    is_told = pc.is_valid(told)
    uids = pc.if_else(is_told, pa.scalar(None, pa.string()), found["SOPInstanceUID"])
    errors = pc.coalesce(told, found["error"])
    changed = {"SOPInstanceUID": uids, "error": errors}
    columns = [changed.get(name, found[name]) for name in found.schema.names]
    return pa.Table.from_arrays(columns, schema=found.schema)


# --- Zips -----------------------------------------------------------------------------------------


def _archive_rows(opened: zipfile.ZipFile, archive: SeriesZip) -> Iterator[tuple[Table, Row]]:
    hashes = md5_list.read_from_zip(opened)
    for member in opened.infolist():
        if member.filename not in NON_IMAGE_MEMBERS:
            yield IMAGES, _member_row(opened, member, hashes, archive)


def _member_row(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, hashes: dict[str, str], archive: SeriesZip
) -> Row:
    name, problems = member.filename, []
    row: Row = {}
    try:
        row = _header(opened, member)
        problems += [row["error"]] if row["error"] else []
        if row["SeriesInstanceUID"] not in {None, archive.series_instance_uid}:
            problems.append(f"its header says Series {row['SeriesInstanceUID']}")
    except READ_ERRORS as error:
        problems.append(f"its header cannot be read: {error_text(error)}")
    md5 = hashes.get(name)
    try:
        md5 = md5 or _md5(opened, member)
    except READ_ERRORS as error:
        problems.append(f"its MD5 cannot be computed: {error_text(error)}")
    told = {"error": escape_unprintable("; ".join(problems)) or None}
    return row | {"entry_name": name, "size_bytes": member.file_size, "md5": md5} | told


def _header(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> Row:
    """What the header says, from as little of the member as tells it."""
    size, wanted = member.file_size, _HEAD_BYTES
    with opened.open(member) as stream:
        head = stream.read(wanted)
        while True:
            try:
                return dicom.read_header(head, size)
            except dicom.TruncatedHeader:
                if len(head) < wanted or len(head) >= _LONGEST_HEAD:
                    raise
            wanted = 2 * len(head)
            head += stream.read(wanted - len(head))


def _md5(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with opened.open(member) as stream:
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
