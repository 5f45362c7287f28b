"""`images`: one row per object of the zips in the manifest, from their headers.

What belongs here: which zips are read again, and reading their members as far as the header goes.
What does not: what a header says (`dicom.py`), whether a zip is good (`acceptance`), Dagster.

Cost follows change: the rows of a zip with the same SHA-256 are kept, and it is not opened. Of one
that is read, 16 KB a member are inflated, and pixel data never: unless the zip holds no MD5 of a
member, which is then inflated whole, in pieces, to compute it. That is exact, and slower.
"""

from __future__ import annotations

import hashlib
import lzma
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets import dicom
from tcia_assets.acceptance import NOT_IMAGES, md5_list
from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES
from tcia_assets.conform import align, conform, empty
from tcia_assets.warehouse import Warehouse, Written

_HEAD_BYTES = 1 << 14
# Far above any header of images; who has a longer one may mean harm.
_LONGEST_HEAD = 1 << 26
_PIECE_BYTES = 1 << 20
# Rows are made into columns this many at a time.
_ROWS_AT_ONCE = 20_000

# What zipfile and those whom it asks raise where a zip is broken, encrypted or gone.
_BROKEN = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)

_REPEATED = "the SOPInstanceUID is also that of "

Row = dict[str, Any]


@dataclass(frozen=True)
class Indexed:
    """What indexing a Collection did. `files_per_second` counts the objects that were read."""

    written: Written
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


@dataclass(frozen=True)
class _Archive:
    """A zip as the manifest describes it."""

    path: Path
    series_instance_uid: str
    collection: str
    sha256: str
    archive_bytes: int


def index(
    collection: str,
    warehouse: Warehouse,
    *,
    report: Callable[[int, int], None] = lambda _done, _planned: None,
) -> Indexed:
    """Brings the `images` of a Collection in step with its `image_archives`, under its lock.

    Raises:
        MissingExtra: pydicom is not installed.
        Busy, StorageError: see `Warehouse.lock` and `Warehouse.write`.
    """
    started = time.monotonic()
    with warehouse.lock(IMAGES, collection):
        found, kept = _rows(collection, warehouse, report)
        written = warehouse.write(IMAGES, found, collection)
    return Indexed(
        written,
        objects=found.num_rows,
        new=found.num_rows - kept,
        kept=kept,
        unreadable=found["SOPInstanceUID"].null_count,
        with_errors=found.num_rows - found["error"].null_count,
        seconds=time.monotonic() - started,
    )


def rows(
    collection: str,
    warehouse: Warehouse,
    *,
    report: Callable[[int, int], None] = lambda _done, _planned: None,
) -> pa.Table:
    """The rows of `images` that follow from the manifest of a Collection; nothing is written.

    Whatever is wrong with a zip or a member is told in `error` of its row, or of the one row
    without `entry_name` of a zip that cannot be read at all, which is tried again each time.
    `report` is told after each zip how many are read, of how many.
    """
    return _rows(collection, warehouse, report)[0]


def _rows(
    collection: str, warehouse: Warehouse, report: Callable[[int, int], None]
) -> tuple[pa.Table, int]:
    """The rows, and how many of them were there before."""
    dicom.require()
    archives = _on_disk(collection, warehouse)
    kept = _kept(collection, warehouse, archives)
    known = set(pc.unique(kept["SeriesInstanceUID"]).to_pylist())
    fresh = [archive for archive in archives if archive.series_instance_uid not in known]
    found = pa.concat_tables([kept, *_read_all(fresh, report)])
    return conform(IMAGES, _told_apart(found)), kept.num_rows


def _on_disk(collection: str, warehouse: Warehouse) -> list[_Archive]:
    if not warehouse.has(IMAGE_ARCHIVES, collection):
        return []
    names = ("SeriesInstanceUID", "path", "sha256", "archive_bytes")
    manifest = warehouse.read(IMAGE_ARCHIVES, [collection], names).to_pylist()
    return [
        _Archive(
            warehouse.root / row["path"],
            row["SeriesInstanceUID"],
            collection,
            row["sha256"],
            row["archive_bytes"],
        )
        for row in manifest
        # Also where a newer version could not be had: the earlier one is still there and proven.
        if row["path"]
    ]


def _kept(collection: str, warehouse: Warehouse, archives: list[_Archive]) -> pa.Table:
    """The stored rows of zips that are as they were."""
    if not warehouse.has(IMAGES, collection):
        return empty(IMAGES)
    stored = warehouse.read(IMAGES, [collection])
    series = pa.array([archive.series_instance_uid for archive in archives], pa.string())
    hashes = pa.array([archive.sha256 for archive in archives], pa.string())
    now = hashes.take(pc.index_in(stored["SeriesInstanceUID"], value_set=series))
    same = pc.fill_null(pc.equal(stored["archive_sha256"], now), fill_value=False)
    # What stands in these rows depends on more than the zip's bytes.
    unsure = pc.or_(
        pc.is_null(stored["entry_name"]),
        pc.fill_null(pc.match_substring(stored["error"], _REPEATED), fill_value=False),
    )
    again = pc.unique(stored["SeriesInstanceUID"].filter(unsure))
    return stored.filter(pc.and_not(same, pc.is_in(stored["SeriesInstanceUID"], value_set=again)))


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


def _read_all(archives: list[_Archive], report: Callable[[int, int], None]) -> Iterator[pa.Table]:
    """The rows of these zips, in tables of bounded size."""

    def all_rows() -> Iterator[Row]:
        for done, archive in enumerate(archives, start=1):
            yield from _archive_rows(archive)
            report(done, len(archives))

    flow = all_rows()
    while batch := list(islice(flow, _ROWS_AT_ONCE)):
        yield align(IMAGES, pa.Table.from_pylist(batch, schema=IMAGES.schema))


def _archive_rows(archive: _Archive) -> Iterator[Row]:
    about = {
        "SeriesInstanceUID": archive.series_instance_uid,
        "Collection": archive.collection,
        "archive_sha256": archive.sha256,
    }
    try:
        with _opened(archive) as opened:
            hashes = _hashes(opened)
            for member in opened.infolist():
                if member.filename not in NOT_IMAGES:
                    yield _member_row(opened, member, hashes, archive) | about
    except _BROKEN as error:
        yield about | {"error": _printable(f"the zip cannot be read: {_said(error)}")}


def _opened(archive: _Archive) -> zipfile.ZipFile:
    size = archive.path.stat().st_size
    if size != archive.archive_bytes:
        problem = f"it has {size} bytes, and {archive.archive_bytes} in image_archives"
        raise ValueError(problem)
    return zipfile.ZipFile(archive.path)


def _hashes(opened: zipfile.ZipFile) -> dict[str, str]:
    """The MD5 by name, "" where the archive has none; nothing where the zip holds no list."""
    if md5_list.NAME not in opened.namelist():
        return {}
    if opened.getinfo(md5_list.NAME).file_size > md5_list.most_bytes(len(opened.namelist())):
        raise ValueError(f"{md5_list.NAME} is too large to be a list")
    return md5_list.read(opened.read(md5_list.NAME))


def _member_row(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, hashes: dict[str, str], archive: _Archive
) -> Row:
    name, problems = member.filename, []
    row: Row = {}
    try:
        row = _header(opened, member)
        problems += [row["error"]] if row["error"] else []
        if row["SeriesInstanceUID"] not in {None, archive.series_instance_uid}:
            problems.append(f"its header says Series {row['SeriesInstanceUID']}")
    except _BROKEN as error:
        problems.append(f"its header cannot be read: {_said(error)}")
    md5 = hashes.get(name)
    try:
        md5 = md5 or _md5(opened, member)
    except _BROKEN as error:
        problems.append(f"its MD5 cannot be computed: {_said(error)}")
    told = {"error": _printable("; ".join(problems)) or None}
    return row | {"entry_name": name, "size_bytes": member.file_size, "md5": md5} | told


def _header(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> Row:
    """What the header says, from as little of the member as tells it."""
    size, wanted = member.file_size, _HEAD_BYTES
    with opened.open(member) as stream:
        head = stream.read(wanted)
        while True:
            try:
                return dicom.header_row(head, size)
            except dicom.CutHeader:
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


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
