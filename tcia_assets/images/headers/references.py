"""Build the tables `references` and `targets`: what SEG, RTSTRUCT and other objects refer to.

Which objects are read belongs here, and their rows. How an object is read is in
`referenced_objects.py`, which zips are read again in `series_zips.py`. Pairing objects with image
Series is in `datasets.pairing`.

Acquired images are not opened: `images` holds their Modality. So a zip that `images` does not
describe yet waits for the next run. Pixel data are not inflated.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ACQUIRED_MODALITIES, IMAGES, REFERENCES, TARGETS
from tcia_assets.errors import escape_unprintable
from tcia_assets.formats.elements import import_pydicom
from tcia_assets.images.headers import referenced_objects, series_zips
from tcia_assets.images.headers.referenced_objects import ReferencedObjects, Target
from tcia_assets.images.headers.series_zips import READ_ERRORS, ListedZip, Row, error_text
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform
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
    collection: str, warehouse: Warehouse, *, report: ProgressCallback = ignore_progress
) -> ReferencesResult:
    """Update `references` and `targets` of a Collection from `image_archives` and `images`.

    Both are written under the lock of `references`.

    Args:
        collection: The partition.
        warehouse: Where the tables are, and the zips.
        report: Called after each zip with the number of zips read and their total.

    Raises:
        MissingExtra: pydicom is not installed.
        Busy: Another process holds the lock.
        StorageError: A table cannot be written.
    """
    started = time.monotonic()
    import_pydicom()
    with warehouse.update(REFERENCES, collection) as partition:
        plan = _make_plan(collection, warehouse)
        references, targets = _build_tables(plan, collection, warehouse, report)
        # Not `update`, because the lock of `references` guards both tables.
        # `targets` first: the next run trusts it for each zip that has rows in `references`.
        targets_written = warehouse.write(TARGETS, conform(TARGETS, targets), collection)
        partition.rows = references
    refers_to_nothing = pc.and_(pc.is_null(references["how"]), pc.is_null(references["error"]))
    return ReferencesResult(
        partition.written,
        targets_written,
        new=len(plan.changed),
        kept=len(plan.kept_series),
        waiting=plan.waiting,
        without=int(pc.sum(refers_to_nothing, min_count=0).as_py()),
        with_errors=references.num_rows - references["error"].null_count,
        seconds=time.monotonic() - started,
    )


# The SOPInstanceUID and Modality of an object, as `images` has them.
_ObjectColumns = dict[str, str | None]


@dataclass(frozen=True)
class _Plan:
    """The zips to read, their members to read by Series and name, and the rows to keep."""

    members: dict[str, dict[str, _ObjectColumns]]
    changed: list[ListedZip]
    kept_series: set[str]
    kept: pa.Table
    waiting: int


def _make_plan(collection: str, warehouse: Warehouse) -> _Plan:
    zips = series_zips.list_zips(collection, warehouse)
    described, members = _read_images(collection, warehouse)
    ready = [each for each in zips if described.get(each.series_instance_uid) == each.sha256]
    relevant = [each for each in ready if each.series_instance_uid in members]
    kept = series_zips.unchanged_rows(REFERENCES, collection, warehouse, relevant)
    if not all(series_zips.is_current(t, collection, warehouse) for t in (REFERENCES, TARGETS)):
        kept = kept.slice(0, 0)
    kept_series = set(pc.unique(kept["SeriesInstanceUID"]).to_pylist())
    changed = [each for each in relevant if each.series_instance_uid not in kept_series]
    return _Plan(members, changed, kept_series, kept, len(zips) - len(ready))


def _read_images(
    collection: str, warehouse: Warehouse
) -> tuple[dict[str, str], dict[str, dict[str, _ObjectColumns]]]:
    """Return, by Series, the SHA-256 that `images` describes, and the members to read."""
    names = ("SeriesInstanceUID", "archive_sha256", "entry_name", "SOPInstanceUID", "Modality")
    images = warehouse.read_or_empty(IMAGES, collection, names)
    images = images.filter(pc.is_valid(images["entry_name"]))
    zips = images.group_by(["SeriesInstanceUID", "archive_sha256"]).aggregate([])
    described = dict(zip(*(zips[name].to_pylist() for name in names[:2]), strict=True))
    is_acquired = pc.is_in(images["Modality"], value_set=pa.array(sorted(ACQUIRED_MODALITIES)))
    members: dict[str, dict[str, _ObjectColumns]] = {}
    for row in images.filter(pc.invert(is_acquired)).to_pylist():
        columns = {name: row[name] for name in ("SOPInstanceUID", "Modality")}
        members.setdefault(row["SeriesInstanceUID"], {})[row["entry_name"]] = columns
    return described, members


def _build_tables(
    plan: _Plan, collection: str, warehouse: Warehouse, report: ProgressCallback
) -> tuple[pa.Table, pa.Table]:
    """Return the whole partitions of both tables."""
    tables = (REFERENCES, TARGETS)

    def read_zip(zip_file: zipfile.ZipFile, series_zip: ListedZip) -> Iterator[tuple[Table, Row]]:
        return _read_zip(zip_file, plan.members[series_zip.series_instance_uid])

    read = series_zips.read_rows(tables, plan.changed, read_zip, report)
    kept_series = pa.array(sorted(plan.kept_series), pa.string())
    stored = warehouse.read_or_empty(TARGETS, collection)
    kept_targets = stored.filter(pc.is_in(stored["SeriesInstanceUID"], value_set=kept_series))
    references, targets = read
    return pa.concat_tables([plan.kept, references]), pa.concat_tables([kept_targets, targets])


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
