"""Build the table `images`: one row per DICOM object of the zips in the manifest.

Reading members as far as their header goes belongs here, and repeated SOPInstanceUIDs. Which zips
are read again is in `series_zips.py`, what a header holds in `dicom.py`.

The rows of a zip with the same SHA-256 are kept and it is not opened. Of other zips, 16 KB of each
member are inflated, and no pixel data. Only if the zip lists no MD5 for a member, the whole member
is inflated, in pieces, to compute it.

Rows that were read for fewer columns than `images` has now are kept until their zip is read again,
which is done within a limit of time: after a new version there may be millions of them.
"""

from __future__ import annotations

import hashlib
import math
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import HEADER_VERSION, IMAGES
from tcia_assets.errors import escape_unprintable
from tcia_assets.formats import md5_list
from tcia_assets.formats.elements import TruncatedHeader
from tcia_assets.images.acceptance.rules import NON_IMAGE_MEMBERS
from tcia_assets.images.headers import dicom, series_zips
from tcia_assets.images.headers.attributes import header_attributes
from tcia_assets.images.headers.series_zips import READ_ERRORS, ListedZip, Row, error_text
from tcia_assets.images.run_limits import RereadBudget
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse, WriteResult

_HEAD_BYTES = 1 << 14
# Far above the header of any image. A longer one may be an attack.
_MAX_HEADER_BYTES = 1 << 26
_PIECE_BYTES = 1 << 20

_REPEATED = "the SOPInstanceUID is also that of "


@dataclass(frozen=True)
class IndexResult:
    """What indexing a Collection did; all counts are of objects."""

    written: WriteResult
    objects: int
    new: int
    kept: int
    outdated: int
    """Objects that are kept without the values of columns that `images` did not have then."""
    unreadable: int
    """Objects whose SOPInstanceUID is not known; `error` has the reason."""
    with_errors: int
    """Objects with an `error`, including the unreadable ones."""
    seconds: float

    @property
    def files_per_second(self) -> float:
        """The number of objects read per second."""
        return self.new / self.seconds if self.seconds else 0.0


def index_images(
    collection: str,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
    reread: RereadBudget | None = None,
) -> IndexResult:
    """Update the `images` of a Collection from its `image_archives`, under the table's lock.

    What is wrong with a zip or a member is in `error` of its row. A zip that cannot be read at all
    has one row without `entry_name`, and is tried again each time.

    Args:
        collection: The partition.
        warehouse: Where both tables are, and the zips.
        report: Called after each zip with the number of zips read and their total.
        reread: How long zips may be read again that are unchanged, only because `images` has
            further columns; the next call goes on. By default without a limit.

    Raises:
        MissingExtra: pydicom is not installed.
        Busy: Another process holds the lock.
        StorageError: The table cannot be written.
    """
    started = time.monotonic()
    header_attributes()  # raises here, where no row is blamed for it
    with warehouse.update(IMAGES, collection) as partition:
        read, kept = _build_rows(collection, warehouse, report, reread or RereadBudget(math.inf))
        partition.rows = rows = _clear_repeated_uids(pa.concat_tables([kept, read]))
    return IndexResult(
        partition.written,
        objects=rows.num_rows,
        new=read.num_rows,
        kept=kept.num_rows,
        outdated=int(pc.sum(_is_outdated(kept), min_count=0).as_py()),
        unreadable=rows["SOPInstanceUID"].null_count,
        with_errors=rows.num_rows - rows["error"].null_count,
        seconds=time.monotonic() - started,
    )


def _build_rows(
    collection: str, warehouse: Warehouse, report: ProgressCallback, budget: RereadBudget
) -> tuple[pa.Table, pa.Table]:
    """Return the rows that are read now, and those that were stored before and stay."""
    zips = series_zips.list_zips(collection, warehouse)
    kept = series_zips.unchanged_rows(IMAGES, collection, warehouse, zips, _has_repeated_uid)
    kept_series = _series_of(kept)
    outdated_series = _series_of(kept.filter(_is_outdated(kept)))
    changed = [each for each in zips if each.series_instance_uid not in kept_series]
    outdated = [each for each in zips if each.series_instance_uid in outdated_series]
    (read,) = series_zips.read_rows((IMAGES,), changed, _read_zip, report)
    with budget.spend() as until:
        (reread,) = series_zips.read_rows((IMAGES,), outdated, _read_zip, report, until=until)
    # A zip that cannot be read any more keeps the rows that it had; `verify` finds the damage.
    reread = reread.filter(pc.is_valid(reread["entry_name"]))
    is_replaced = pc.is_in(
        kept["SeriesInstanceUID"], value_set=pa.array(sorted(_series_of(reread)), pa.string())
    )
    return pa.concat_tables([read, reread]), kept.filter(pc.invert(is_replaced))


def _series_of(rows: pa.Table) -> set[str]:
    return set(pc.unique(rows["SeriesInstanceUID"]).to_pylist())


def _is_outdated(rows: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(pc.not_equal(rows["header_version"], HEADER_VERSION), fill_value=True)


# --- Repeated SOPInstanceUIDs -------------------------------------------------------------------


def _has_repeated_uid(stored: pa.Table) -> pa.Array:
    return pc.fill_null(pc.match_substring(stored["error"], _REPEATED), fill_value=False)


def _clear_repeated_uids(rows: pa.Table) -> pa.Table:
    """Keep a SOPInstanceUID of several objects for the first, by Series and name, with an error.

    A source holds each object once. But an object that moved to a different Series is in two zips
    for a while, or for as long as the old Series is kept.
    """
    uids = rows["SOPInstanceUID"]
    counts = pc.value_counts(uids.drop_null())
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if not len(repeated):
        return rows
    indices = pc.indices_nonzero(pc.is_in(uids, value_set=repeated))
    keys = rows.select(["SOPInstanceUID", "SeriesInstanceUID", "entry_name"]).take(indices)
    order = sorted(
        zip(*(key.to_pylist() for key in keys.columns), indices.to_pylist(), strict=True)
    )
    first: dict[str, str] = {}
    problems: dict[int, str] = {}
    for uid, series, name, index in order:
        if uid in first:
            problems[index] = f"{_REPEATED}{first[uid]}: {uid}"
        else:
            first[uid] = f"{name!r} of Series {series}"
    return _clear_uids(rows, problems)


def _clear_uids(rows: pa.Table, problems: dict[int, str]) -> pa.Table:
    """Set SOPInstanceUID to null and `error` to the problem, in the rows with these indices."""
    errors = pa.array([problems.get(index) for index in range(rows.num_rows)], pa.string())
    null = pa.scalar(None, pa.string())
    changed = {
        "SOPInstanceUID": pc.if_else(pc.is_valid(errors), null, rows["SOPInstanceUID"]),
        "error": pc.coalesce(errors, rows["error"]),
    }
    columns = [changed.get(name, rows[name]) for name in rows.schema.names]
    return pa.Table.from_arrays(columns, schema=rows.schema)


# --- Zips ---------------------------------------------------------------------------------------


def _read_zip(zip_file: zipfile.ZipFile, series_zip: ListedZip) -> Iterator[tuple[Table, Row]]:
    hashes = md5_list.read_from_zip(zip_file)
    for member in zip_file.infolist():
        if member.filename not in NON_IMAGE_MEMBERS:
            md5 = hashes.get(member.filename)
            yield IMAGES, _read_member(zip_file, member, md5, series_zip.series_instance_uid)


def _read_member(
    zip_file: zipfile.ZipFile, member: zipfile.ZipInfo, md5: str | None, series_uid: str
) -> Row:
    row: Row = {}
    problems = []
    try:
        row = _read_header(zip_file, member)
        problems += [row["error"]] if row["error"] else []
        if row["SeriesInstanceUID"] not in {None, series_uid}:
            problems.append(f"its header has Series {row['SeriesInstanceUID']}")
    except READ_ERRORS as error:
        problems.append(f"its header cannot be read: {error_text(error)}")
    try:
        md5 = md5 or _compute_md5(zip_file, member)
    except READ_ERRORS as error:
        problems.append(f"its MD5 cannot be computed: {error_text(error)}")
    return row | {
        "entry_name": member.filename,
        "size_bytes": member.file_size,
        "md5": md5,
        "error": escape_unprintable("; ".join(problems)) or None,
        "header_version": HEADER_VERSION,
    }


def _read_header(zip_file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Row:
    """Read the header from as few bytes of the member as hold it."""
    size, wanted = member.file_size, _HEAD_BYTES
    with zip_file.open(member) as stream:
        head = stream.read(wanted)
        while True:
            try:
                return dicom.read_header(head, size)
            except TruncatedHeader:
                if len(head) < wanted or len(head) >= _MAX_HEADER_BYTES:
                    raise
            wanted = 2 * len(head)
            head += stream.read(wanted - len(head))


def _compute_md5(zip_file: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with zip_file.open(member) as stream:
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
