"""Build the tables `references` and `targets`: what SEG, RTSTRUCT and other objects refer to.

Which objects are read belongs here, and their rows. How an object is read is in
`referenced_objects.py`, which zips are read in `reference_plan.py`. Pairing objects with image
Series is in `datasets.pairing`.

Acquired images are not opened: `images` holds their Modality. So a zip that `images` does not
describe yet waits for the next run. Pixel data are not inflated.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ACQUIRED_MODALITIES, IMAGES, REFERENCES, TARGETS
from tcia_assets.errors import escape_unprintable
from tcia_assets.formats.elements import import_pydicom
from tcia_assets.images.headers import referenced_objects, series_zips
from tcia_assets.images.headers.indexed_zips import IndexedImages
from tcia_assets.images.headers.reference_plan import plan_references
from tcia_assets.images.headers.referenced_objects import ReferencedObjects, Target
from tcia_assets.images.headers.series_zips import READ_ERRORS, ListedZip, Row, error_text
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.spec import Table
from tcia_assets.store.conform import empty
from tcia_assets.store.series_parts import SeriesParts
from tcia_assets.store.warehouse import Warehouse, WriteResult

SERIES, SOP, FRAME_OF_REFERENCE = "series", "sop", "frame_of_reference"
_REFERENCED_UIDS = tuple(name for name in REFERENCES.column_names if name.startswith("referenced_"))


@dataclass(frozen=True)
class ReferencesResult:
    """What indexing the references of a Collection did; `new` and `kept` count zips."""

    references: WriteResult
    targets: WriteResult
    new: int
    kept: int
    waiting: int
    """Zips that `images` does not describe yet, or cannot read."""
    without: int
    """Objects that refer to nothing."""
    with_errors: int
    """Rows whose object cannot be read, wholly or in part."""
    seconds: float


def index_references(
    collection: str,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
    rows_per_part: int | None = None,
    new_zips: Collection[str] | None = None,
) -> ReferencesResult:
    """Update `references` and `targets` of a Collection from `image_archives` and `images`.

    Both are written under the lock of `references`, whenever there are enough rows for a file.

    Args:
        collection: The partition.
        warehouse: Where the tables are, and the zips.
        report: Called after each zip with the number of zips read and their total.
        rows_per_part: About how many rows a file has at most; by default as the tables declare.
        new_zips: The Series whose zips are new, if all others are indexed; by default the zips of
            the whole manifest are compared with both tables.

    Raises:
        MissingExtra: pydicom is not installed.
        Busy: Another process holds the lock.
        StorageError: A table cannot be written.
    """
    started = time.monotonic()
    import_pydicom()
    with warehouse.lock(REFERENCES, collection):
        # Else `images` has just been indexed, and what it has of a zip is wanted for few, or none.
        images = _indexed_images(collection, warehouse) if new_zips is None else None
        references = SeriesParts(warehouse.files(REFERENCES, collection), rows_per_part)
        targets = SeriesParts(warehouse.files(TARGETS, collection), rows_per_part)
        plan = plan_references(collection, warehouse, new_zips)
        members: _Members = {}
        if plan.unidentified or plan.changed:
            images = images or _indexed_images(collection, warehouse)
            plan.changed.update(_with_other_uids(plan.unidentified, images, references))
            members = _find_members(images, plan.changed)
        for parts in (targets, references):
            gone = plan.gone[parts.files.table.name]
            if gone or not parts.row_counts:
                parts.replace(empty(parts.files.table), gone)
        zips = series_zips.ListedZips(collection, warehouse, plan.changed)
        _read(zips, members, targets, references, report)
        counts = warehouse.query(_COUNTS, {"collection": collection}).to_pylist()[0]
    return ReferencesResult(
        references.written(),
        targets.written(),
        new=len(plan.changed),
        kept=plan.relevant - len(plan.changed),
        waiting=plan.waiting,
        **counts,
        seconds=time.monotonic() - started,
    )


def _indexed_images(collection: str, warehouse: Warehouse) -> IndexedImages:
    with warehouse.lock(IMAGES, collection):
        return IndexedImages(collection, warehouse)


_COUNTS = """
    SELECT count(*) FILTER (how IS NULL AND error IS NULL) AS without, count(error) AS with_errors
    FROM "references" WHERE Collection = $collection
"""


def _with_other_uids(series: set[str], images: IndexedImages, references: SeriesParts) -> set[str]:
    """Return which of these Series have an object with a different SOPInstanceUID in `images`.

    That of an object changes without its zip if it is, or was, that of several objects; then it has
    none, here or in `images`.
    """
    names = ("SeriesInstanceUID", "entry_name", "SOPInstanceUID")
    now = set(_rows_of(images.read_series(series, names)))
    return {row[0] for row in _rows_of(references.read_series(series, names)) if row not in now}


def _rows_of(table: pa.Table) -> Iterator[tuple[str, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


# The SOPInstanceUID and Modality of an object, as `images` has them.
_ObjectColumns = dict[str, str | None]
# The members to read, by Series and name.
_Members = dict[str, dict[str, _ObjectColumns]]


def _find_members(images: IndexedImages, series: set[str]) -> _Members:
    names = ("SeriesInstanceUID", "entry_name", "SOPInstanceUID", "Modality")
    rows = images.read_series(series, names)
    is_acquired = pc.is_in(rows["Modality"], value_set=pa.array(sorted(ACQUIRED_MODALITIES)))
    members: _Members = {}
    for row in rows.filter(pc.invert(is_acquired)).to_pylist():
        columns = {name: row[name] for name in ("SOPInstanceUID", "Modality")}
        if row["entry_name"] is not None:
            members.setdefault(row["SeriesInstanceUID"], {})[row["entry_name"]] = columns
    return members


def _read(
    zips: series_zips.ListedZips,
    members: _Members,
    targets: SeriesParts,
    references: SeriesParts,
    report: ProgressCallback,
) -> None:
    """Read zips and store their rows in place of those that their Series had."""

    def read_zip(zip_file: zipfile.ZipFile, series_zip: ListedZip) -> Iterator[tuple[Table, Row]]:
        return _read_zip(zip_file, members[series_zip.series_instance_uid])

    batches = series_zips.read_rows(
        (REFERENCES, TARGETS), zips, read_zip, report, rows_at_once=references.limit
    )
    for new_references, new_targets in batches:
        series = set(new_references["SeriesInstanceUID"].to_pylist())
        # `targets` first: the next run trusts it for each zip that has rows in `references`.
        targets.replace(new_targets, gone=series)
        references.replace(new_references)


# --- Rows ---------------------------------------------------------------------------------------


def _read_zip(
    zip_file: zipfile.ZipFile, members: dict[str, _ObjectColumns]
) -> Iterator[tuple[Table, Row]]:
    names = [m.filename for m in zip_file.infolist() if m.filename in members]
    if len(set(names)) < len(names):
        raise ValueError("two of its members have the same name")
    for name in names:
        yield from _read_member(zip_file, name, {"entry_name": name, **members[name]})


def _read_member(zip_file: zipfile.ZipFile, name: str, columns: Row) -> Iterator[tuple[Table, Row]]:
    try:
        with zip_file.open(name) as stream:
            found = referenced_objects.read(stream)
    except READ_ERRORS as error:
        problem = escape_unprintable(f"its references cannot be read: {error_text(error)}")
        yield REFERENCES, columns | {"error": problem}
        return
    problems = {"error": escape_unprintable("; ".join(found.problems)) or None}
    for reference in _reference_rows(found) or [{}]:
        yield REFERENCES, columns | reference | problems
    for place, target in enumerate(found.targets, start=1):
        yield TARGETS, columns | _target_row(place, target)


def _reference_rows(found: ReferencedObjects) -> list[Row]:
    """Return a row for each Series, object and frame of reference that is referred to."""
    series, sop, frame = _REFERENCED_UIDS
    return [
        *({"how": SERIES, series: uid} for uid in found.series),
        *({"how": SOP, series: parent or None, sop: uid} for parent, uid in found.objects),
        *({"how": FRAME_OF_REFERENCE, frame: uid} for uid in found.frames_of_reference),
    ]


def _target_row(place: int, target: Target) -> Row:
    return {
        "target_place": place,
        "target_number": target.number,
        "target_name": target.name or None,
        "target_type": target.type or None,
        "target_type_meaning": target.type_meaning or None,
        "target_category": target.category or None,
        "algorithm_type": target.algorithm_type or None,
        "algorithm_name": target.algorithm_name or None,
        "contour_count": target.contours,
        "referenced_frame_of_reference_uid": target.frame_of_reference_uid or None,
    }
