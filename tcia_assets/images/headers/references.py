"""`references` and `targets`: whom the objects about images refer to, and what they delineate.

What belongs here: which objects are read, and the rows that follow. What does not: how an object
says it (`referenced_objects.py`), which zips are read again (`series_zips.py`), what is made of it
(`pairing.py`), Dagster.

Objects that are what a machine took are not opened: `images` tells which these are. So a zip that
`images` does not describe yet waits for the next time. Pixels are never inflated.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ACQUIRED, IMAGES, REFERENCES, TARGETS
from tcia_assets.errors import escape_unprintable
from tcia_assets.images.headers import dicom, referenced_objects, series_zips
from tcia_assets.images.headers.referenced_objects import ReferencedObjects, Target
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

SERIES, SOP, FRAME_OF_REFERENCE = "series", "sop", "frame_of_reference"
_REFERENCED = tuple(name for name in REFERENCES.names if name.startswith("referenced_"))


@dataclass(frozen=True)
class ReferencesResult:
    """What reading the references of a Collection did; `new` and `kept` are zips."""

    references: WriteResult
    targets: WriteResult
    new: int
    kept: int
    waiting: int
    """Zips that `images` does not describe yet, or cannot read."""
    without: int
    """Objects that name nothing."""
    with_errors: int
    """Rows whose object, or a part of it, cannot be read."""
    seconds: float


def index_references(
    collection: str, warehouse: Warehouse, *, report: ProgressCallback = ignore_progress
) -> ReferencesResult:
    """Brings both tables of a Collection in step with its `image_archives` and `images`.

    Under the lock of its `references`.

    Raises:
        MissingExtra: pydicom is not installed.
        Busy, StorageError: see `Warehouse.lock` and `Warehouse.write`.
    """
    started = time.monotonic()
    dicom.require_pydicom()
    with warehouse.lock(REFERENCES, collection):
        plan = _plan(collection, warehouse)
        found = _found(plan, collection, warehouse, report)
        # In this order: rows of `references` say that those of `targets` are there.
        targets = warehouse.write(TARGETS, found[1], collection)
        written = warehouse.write(REFERENCES, found[0], collection)
    return ReferencesResult(
        written,
        targets,
        new=len(plan.fresh),
        kept=len(plan.known),
        waiting=plan.waiting,
        without=_count(pc.and_(pc.is_null(found[0]["how"]), pc.is_null(found[0]["error"]))),
        with_errors=found[0].num_rows - found[0]["error"].null_count,
        seconds=time.monotonic() - started,
    )


def _count(flags: pa.Array) -> int:
    return int(pc.sum(flags, min_count=0).as_py())


# Of an object, as `images` has it: its SOPInstanceUID and its Modality.
_Who = dict[str, str | None]


@dataclass(frozen=True)
class _Plan:
    """The members about images by Series, the zips to read, and the rows that stay."""

    members: dict[str, dict[str, _Who]]
    fresh: list[SeriesZip]
    known: set[str]
    kept: pa.Table
    waiting: int


def _plan(collection: str, warehouse: Warehouse) -> _Plan:
    archives = series_zips.list_zips(collection, warehouse)
    described, members = _described(collection, warehouse)
    there = [a for a in archives if described.get(a.series_instance_uid) == a.sha256]
    about_images = [a for a in there if a.series_instance_uid in members]
    kept = series_zips.unchanged_rows(REFERENCES, collection, warehouse, about_images)
    if not series_zips.is_current(TARGETS, collection, warehouse):
        kept = kept.slice(0, 0)
    known = set(pc.unique(kept["SeriesInstanceUID"]).to_pylist())
    fresh = [a for a in about_images if a.series_instance_uid not in known]
    return _Plan(members, fresh, known, kept, len(archives) - len(there))


def _described(
    collection: str, warehouse: Warehouse
) -> tuple[dict[str, str], dict[str, dict[str, _Who]]]:
    """By Series: the hash of the zip that `images` describes, and the members about images."""
    names = ("SeriesInstanceUID", "archive_sha256", "entry_name", "SOPInstanceUID", "Modality")
    images = warehouse.read_or_empty(IMAGES, collection, names)
    images = images.filter(pc.is_valid(images["entry_name"]))
    zips = images.group_by(["SeriesInstanceUID", "archive_sha256"]).aggregate([])
    described = dict(zip(*(zips[name].to_pylist() for name in names[:2]), strict=True))
    acquired = pc.is_in(images["Modality"], value_set=pa.array(sorted(ACQUIRED)))
    members: dict[str, dict[str, _Who]] = {}
    for row in images.filter(pc.invert(acquired)).to_pylist():
        who = {name: row[name] for name in ("SOPInstanceUID", "Modality")}
        members.setdefault(row["SeriesInstanceUID"], {})[row["entry_name"]] = who
    return described, members


def _found(
    plan: _Plan, collection: str, warehouse: Warehouse, report: ProgressCallback
) -> tuple[pa.Table, pa.Table]:
    """The whole partitions of both tables."""
    tables = (REFERENCES, TARGETS)

    def rows_of(opened: zipfile.ZipFile, archive: SeriesZip) -> Iterator[tuple[Table, Row]]:
        return _archive_rows(opened, plan.members[archive.series_instance_uid])

    read = series_zips.read_rows(tables, plan.fresh, rows_of, report)
    known = pa.array(sorted(plan.known), pa.string())
    stored = warehouse.read_or_empty(TARGETS, collection)
    kept = (plan.kept, stored.filter(pc.is_in(stored["SeriesInstanceUID"], value_set=known)))
    references, targets = (
        conform(table, pa.concat_tables(parts))
        for table, *parts in zip(tables, kept, read, strict=True)
    )
    return references, targets


# --- Rows -----------------------------------------------------------------------------------------


def _archive_rows(opened: zipfile.ZipFile, members: dict[str, _Who]) -> Iterator[tuple[Table, Row]]:
    names = [m.filename for m in opened.infolist() if m.filename in members]
    if len(set(names)) < len(names):
        raise ValueError("two of its members have the same name")
    for name in names:
        yield from _member_rows(opened, name, {"entry_name": name, **members[name]})


def _member_rows(opened: zipfile.ZipFile, name: str, who: Row) -> Iterator[tuple[Table, Row]]:
    try:
        with opened.open(name) as stream:
            told = referenced_objects.read(stream)
    except READ_ERRORS as error:
        problem = escape_unprintable(f"its references cannot be read: {error_text(error)}")
        yield REFERENCES, who | {"error": problem}
        return
    problems = {"error": escape_unprintable("; ".join(told.problems)) or None}
    for reference in _named(told) or [{}]:
        yield REFERENCES, who | reference | problems
    for place, target in enumerate(told.targets, start=1):
        yield TARGETS, who | _target_row(place, target)


def _named(told: ReferencedObjects) -> list[Row]:
    """A row for each Series, object and frame of reference that is named."""
    series, sop, frame = _REFERENCED
    return [
        *({"how": SERIES, series: uid} for uid in told.series),
        *({"how": SOP, series: above or None, sop: uid} for above, uid in told.objects),
        *({"how": FRAME_OF_REFERENCE, frame: uid} for uid in told.frames_of_reference),
    ]


def _target_row(place: int, target: Target) -> Row:
    return {
        "target_place": place,
        "target_number": target.number,
        "target_name": target.name or None,
        "target_type": target.type or None,
        "target_type_meaning": target.type_meaning or None,
        "target_category": target.category or None,
        "contour_count": target.contours,
        "referenced_frame_of_reference_uid": target.frame_of_reference_uid or None,
    }
