"""Build the table `images`: one row per DICOM object of the zips in the manifest.

Which zips are read belongs here, and reading members as far as their header goes. What a header
holds is in `dicom.py`, what is stored of each zip in `indexed_zips.py`.

The rows of a zip with the same SHA-256 are kept: neither it nor they are opened. Of other zips,
16 KB of each member are inflated, and no pixel data. Only if the zip lists no MD5 for a member, the
whole member is inflated, in pieces, to compute it.

Rows that were read for fewer columns than `images` has now are kept until their zip is read again,
which is done within a limit of time: after a new version there may be millions of them.
"""

from __future__ import annotations

import hashlib
import math
import time
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import HEADER_VERSION, IMAGES
from tcia_assets.errors import escape_unprintable
from tcia_assets.formats import md5_list
from tcia_assets.formats.attributes import header_attributes
from tcia_assets.formats.elements import TruncatedHeader
from tcia_assets.images.acceptance.rules import NON_IMAGE_MEMBERS
from tcia_assets.images.headers import dicom, series_zips
from tcia_assets.images.headers.indexed_zips import IndexedImages
from tcia_assets.images.headers.repeated_uids import (
    add_rows_with_same_uid,
    clear_repeated_uids,
    find_outdated,
)
from tcia_assets.images.headers.series_zips import READ_ERRORS, ListedZip, Row, error_text
from tcia_assets.images.run_limits import RereadBudget
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.spec import Table
from tcia_assets.store.conform import empty
from tcia_assets.store.warehouse import Warehouse, WriteResult

_UID = "SeriesInstanceUID"
_HEAD_BYTES = 1 << 14
# Far above the header of any image. A longer one may be an attack.
_MAX_HEADER_BYTES = 1 << 26
_PIECE_BYTES = 1 << 20


# The Series whose zip is not indexed as it is now.
_CHANGED = f"""
    SELECT SeriesInstanceUID FROM {series_zips.ZIPS}
    ANTI JOIN {series_zips.INDEXED} USING (zip)
"""
_ZIPS = """
    SELECT count(*) AS zips FROM image_archives WHERE Collection = $collection AND path NOTNULL
"""
_GONE = f"""
    SELECT SeriesInstanceUID FROM indexed_zips WHERE Collection = $collection
    AND SeriesInstanceUID NOT IN (SELECT SeriesInstanceUID FROM {series_zips.ZIPS})
"""
_COPIED = """
    SELECT SeriesInstanceUID FROM indexed_zips WHERE Collection = $collection
    GROUP BY SeriesInstanceUID HAVING count(*) > 1
"""


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
    rows_per_part: int | None = None,
    new_zips: Collection[str] | None = None,
) -> IndexResult:
    """Update the `images` of a Collection from its `image_archives`, under the table's lock.

    What is wrong with a zip or a member is in `error` of its row. A zip that cannot be read at all
    has one row without `entry_name`, and is tried again each time. Rows are stored whenever there
    are enough for a file, so a run that is killed has to read only the rest again.

    Args:
        collection: The partition.
        warehouse: Where both tables are, and the zips.
        report: Called after each zip with the number of zips read and their total.
        reread: How long zips may be read again that are unchanged, only because `images` has
            further columns; the next call goes on. By default without a limit.
        rows_per_part: About how many rows a file has at most; by default as the table declares.
        new_zips: The Series whose zips are new, if all others are indexed; by default the whole
            manifest is compared, and so it is if the numbers of zips show that others differ.

    Raises:
        MissingExtra: pydicom is not installed.
        Busy: Another process holds the lock.
        StorageError: The table cannot be written.
    """
    started = time.monotonic()
    header_attributes()  # raises here, where no row is blamed for it
    with warehouse.lock(IMAGES, collection):
        images = IndexedImages(collection, warehouse, rows_per_part)
        update = _Update(collection, warehouse, images)
        new = update.run(report, reread or RereadBudget(math.inf), new_zips)
        counts = images.counts
        return IndexResult(
            images.written(),
            objects=counts["row_count"],
            new=new,
            kept=counts["row_count"] - new,
            outdated=counts["outdated_count"],
            unreadable=counts["unidentified_count"],
            with_errors=counts["error_count"],
            seconds=time.monotonic() - started,
        )


class _Update:
    """One update of the `images` of a Collection."""

    def __init__(self, collection: str, warehouse: Warehouse, images: IndexedImages) -> None:
        self._collection, self._warehouse, self._images = collection, warehouse, images
        # The number of rows that were read, by Series: some are read twice.
        self._new: dict[str, int] = {}

    def run(
        self, report: ProgressCallback, budget: RereadBudget, new_zips: Collection[str] | None
    ) -> int:
        """Bring `images` up to date; return the number of rows that were read."""
        gone, changed, outdated = self._compare(new_zips)
        if gone or not self._images.row_counts:
            self._images.replace(empty(IMAGES), gone)
        self._read(changed, report)
        self._read_outdated_repeats(report)
        with budget.spend() as until:
            self._read(outdated - gone - changed, report, until=until, only_good=True)
        return sum(self._new.values())

    def _compare(self, new_zips: Collection[str] | None) -> tuple[set[str], set[str], set[str]]:
        """Return the Series without a zip, with another one than is indexed, and outdated ones."""
        summaries = list(self._images.summaries)
        changed = {uid for each in summaries for uid in each.unread}
        outdated = {uid for each in summaries for uid in each.outdated}
        changed.update(self._query(_CHANGED)[_UID].to_pylist() if new_zips is None else new_zips)
        zips = self._query(_ZIPS)["zips"][0].as_py()
        new = len(changed) - len(self._images.locate(changed))
        if sum(len(each.series) for each in summaries) == zips - new:
            return set(), changed, outdated
        if new_zips is not None:
            return self._compare(None)
        gone, copied = (set(self._query(sql)[_UID].to_pylist()) for sql in (_GONE, _COPIED))
        return gone, (changed | copied) - gone, outdated

    def _query(self, statement: str) -> pa.Table:
        return self._warehouse.query(statement, {"collection": self._collection})

    def _read_outdated_repeats(self, report: ProgressCallback) -> None:
        """Read the zips again of which an object may have its SOPInstanceUID now.

        One may get it that a third has named since, hence the loop; a zip that cannot be read ends
        it.
        """
        before: set[str] = set()
        while True:
            series = find_outdated(self._collection, self._images, self._warehouse)
            if series == before:
                return
            self._read(series, report, only_good=True)
            before = series

    def _read(
        self,
        series: set[str],
        report: ProgressCallback,
        *,
        until: float = math.inf,
        only_good: bool = False,
    ) -> None:
        """Read zips and store their rows.

        Args:
            series: The Series of the zips.
            report: Called after each zip.
            until: Time of `time.monotonic()` after which no zip is begun.
            only_good: Whether a zip that cannot be read any more keeps the rows that it had;
                `verify` finds the damage.
        """
        zips = series_zips.ListedZips(self._collection, self._warehouse, series)
        batches = series_zips.read_rows(
            (IMAGES,), zips, _read_zip, report, until=until, rows_at_once=self._images.limit
        )
        for (rows,) in batches:
            if only_good:
                rows = rows.filter(pc.is_valid(rows["entry_name"]))  # noqa: PLW2901
            self._new |= Counter(rows["SeriesInstanceUID"].to_pylist())
            self._store(rows)

    def _store(self, rows: pa.Table) -> None:
        rows = add_rows_with_same_uid(rows, self._collection, self._images, self._warehouse)
        self._images.replace(clear_repeated_uids(rows))


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
