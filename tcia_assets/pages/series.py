"""The facts of the Series on disk of a Collection, for a page each."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import ACQUISITION_COLUMNS, IMAGE_ARCHIVES, SERIES
from tcia_assets.pages import display
from tcia_assets.store.warehouse import Warehouse

MASKS = ("SEG", "RTSTRUCT")
"""Modalities whose objects are drawn on an image."""

VOLUMES = ("CT", "MR", "PT")
"""Modalities of which a volume can be shown."""

_MAX_OBJECTS = 100
_MAX_EVENTS = 100
_MAX_RELATED = 60
# States of `datasets.pairing`, which needs an extra.
_WITHOUT_IMAGE = frozenset({"not_fetched", "unknown"})

_Row = dict[str, Any]
_Fact = tuple[str, str, str]


@dataclass(frozen=True)
class Zip:
    """The zip of a Series, as the manifest has it; it may be missing or damaged since.

    Attributes:
        path: Its path in the manifest.
        sha256: Its hash.
        middle_entry: The object in its middle; None if it has no pixels.
        slice_number: The slice in the middle, from 1.
        slice_count: Number of its slices: its objects with pixels, or the frames of a single one.
    """

    path: str
    sha256: str
    middle_entry: str | None = None
    slice_number: int = 0
    slice_count: int = 0


@dataclass
class SeriesFacts:
    """A Series on disk.

    Attributes:
        uid: Its UID.
        row: Its row of `series`.
        archive: Its row of `image_archives`.
        zip: Its zip.
        acquisition: Attributes that its objects share, with a range where they differ.
        objects: The first of its objects.
        targets: Its segments or ROIs.
        images: The image Series that it is drawn on, the likeliest first.
        lacks_image: Whether it is drawn on an image that is not on disk.
        masks: The Series on disk that are drawn on it.
        events: Its history, the oldest first.
        comparisons: Its rows of `source_equality`.
    """

    uid: str
    row: _Row
    archive: _Row
    zip: Zip
    acquisition: list[_Fact] = field(default_factory=list)
    objects: list[_Row] = field(default_factory=list)
    targets: list[_Row] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    lacks_image: bool = False
    masks: list[str] = field(default_factory=list)
    events: list[_Row] = field(default_factory=list)
    comparisons: list[_Row] = field(default_factory=list)

    @property
    def modality(self) -> str:
        """Its Modality; "" if the source states none."""
        return self.row["Modality"] or ""

    @property
    def attributes(self) -> list[_Fact]:
        """What the source states of it: name, value and meaning of each column with a value."""
        return _facts(self.row, SERIES.columns, skipped=_BOOKKEEPING)

    @property
    def provenance(self) -> list[_Fact]:
        """Where its zip is from and how it was proven to be complete."""
        return _facts(
            self.archive, IMAGE_ARCHIVES.columns, skipped=("SeriesInstanceUID", "Collection")
        )


# Columns of `series` that say how it is kept, not what it is.
_BOOKKEEPING = (
    *("Authorized", "fingerprint", "missing_snapshots", "missing_counted_at", "changes"),
    *("listed_since", "first_seen_at", "changed_at"),
)


def read_series(warehouse: Warehouse, collection: str) -> dict[str, SeriesFacts]:
    """Return the facts of a Collection's Series that have a zip, by UID, sorted.

    A Series that was withdrawn or moved has no page.
    """
    reader = _Reader(warehouse, collection)
    archives = {row["SeriesInstanceUID"]: row for row in reader.rows(_ZIPS)}
    rows = {row["SeriesInstanceUID"]: row for row in reader.rows(_SERIES)}
    middles = {row.pop("SeriesInstanceUID"): row for row in reader.rows(_MIDDLES)}
    found = {
        uid: SeriesFacts(
            uid, rows[uid], row, Zip(row["path"], row["sha256"], **middles.get(uid, {}))
        )
        for uid, row in sorted(archives.items())
        if uid in rows
    }
    for row in reader.rows(_acquisition_sql()):
        if facts := found.get(row["SeriesInstanceUID"]):
            facts.acquisition = _acquisition(row)
    reader.add(_OBJECTS, found, lambda facts: facts.objects)
    reader.add(_TARGETS, found, lambda facts: facts.targets)
    reader.add(_EVENTS, found, lambda facts: facts.events)
    reader.add(_COMPARISONS, found, lambda facts: facts.comparisons)
    return found


def add_pairs(found: dict[str, SeriesFacts], pairs: pa.Table) -> None:
    """Add what is drawn on what.

    Args:
        found: The Series of a Collection.
        pairs: As `datasets.pairing.find_pairs` returns them, of its masks.
    """
    ordered = sorted(pairs.to_pylist(), key=lambda row: row["rank"] or 0)
    related: dict[str, list[str]] = defaultdict(list)
    for row in ordered:
        if row["state"] in _WITHOUT_IMAGE and row["SeriesInstanceUID"] in found:
            found[row["SeriesInstanceUID"]].lacks_image = True
        if row["state"] == "paired" and row["SeriesInstanceUID"] in found:
            related[row["SeriesInstanceUID"]].append(row["image_series_instance_uid"])
    for mask, images in related.items():
        found[mask].lacks_image = False
        found[mask].images = list(dict.fromkeys(images))[:_MAX_RELATED]
        # A mask is shown on the image that it most likely belongs to.
        if (image := found.get(images[0])) and len(image.masks) < _MAX_RELATED:
            image.masks.append(mask)


def target_names(masks: Iterable[SeriesFacts]) -> list[str]:
    """Return the names of segments and ROIs, those first that should be seen where they overlap.

    Outlines of the body come last, because they would hide all others.
    """
    targets = [target for mask in masks for target in mask.targets if target["target_name"]]
    targets.sort(key=lambda row: (_is_outline(row), row["contour_count"] or 0))
    return list(dict.fromkeys(row["target_name"].strip() for row in targets))


def _is_outline(target: _Row) -> bool:
    words = (target["target_name"].lower(), (target["target_type"] or "").lower())
    return any(word in {"body", "external", "skin", "patient", "outline"} for word in words)


class _Reader:
    def __init__(self, warehouse: Warehouse, collection: str) -> None:
        self._warehouse, self._collection = warehouse, collection

    def rows(self, statement: str) -> list[_Row]:
        found: list[_Row] = self._warehouse.query(
            statement, {"collection": self._collection}
        ).to_pylist()
        return found

    def add(
        self,
        statement: str,
        found: dict[str, SeriesFacts],
        place: Callable[[SeriesFacts], list[_Row]],
    ) -> None:
        for row in self.rows(statement):
            if facts := found.get(row.pop("SeriesInstanceUID")):
                place(facts).append(row)


_ZIPS = """
    SELECT * FROM image_archives WHERE Collection = $collection AND path NOTNULL
"""
_SERIES = f"""
    SELECT * FROM current_series WHERE Collection = $collection AND SeriesInstanceUID IN (
        SELECT SeriesInstanceUID FROM ({_ZIPS})
    )
"""
_MIDDLES = """
    SELECT SeriesInstanceUID, entry_name AS middle_entry,
        if(objects = 1, frames // 2 + 1, place) AS slice_number,
        if(objects = 1, frames, objects) AS slice_count
    FROM (
        SELECT SeriesInstanceUID, entry_name, greatest(coalesce(NumberOfFrames, 1), 1) AS frames,
            row_number() OVER (
                PARTITION BY SeriesInstanceUID ORDER BY InstanceNumber NULLS LAST, entry_name
            ) AS place,
            count(*) OVER (PARTITION BY SeriesInstanceUID) AS objects
        FROM images
        WHERE Collection = $collection AND entry_name NOTNULL AND "Rows" NOTNULL
    ) WHERE place = objects // 2 + 1
"""
_OBJECTS = f"""
    SELECT SeriesInstanceUID, InstanceNumber, entry_name, size_bytes, md5, error FROM images
    WHERE Collection = $collection AND entry_name NOTNULL
    QUALIFY row_number() OVER (
        PARTITION BY SeriesInstanceUID ORDER BY InstanceNumber NULLS LAST, entry_name
    ) <= {_MAX_OBJECTS}
    ORDER BY SeriesInstanceUID, InstanceNumber NULLS LAST, entry_name
"""
_TARGETS = """
    SELECT SeriesInstanceUID, target_number, target_name, target_type, target_type_meaning,
        algorithm_type, algorithm_name, contour_count
    FROM targets WHERE Collection = $collection ORDER BY SeriesInstanceUID, entry_name, target_place
"""
_EVENTS = f"""
    SELECT SeriesInstanceUID, event, seen_at, changed_columns, before, after FROM series_changes
    WHERE Collection = $collection AND SeriesInstanceUID IN (
        SELECT SeriesInstanceUID FROM ({_ZIPS})
    )
    QUALIFY row_number() OVER (
        PARTITION BY SeriesInstanceUID ORDER BY seen_at DESC
    ) <= {_MAX_EVENTS}
    ORDER BY SeriesInstanceUID, seen_at, number NULLS LAST
"""
_COMPARISONS = """
    SELECT SeriesInstanceUID, left_source, right_source, state, reason, compared_at
    FROM source_equality WHERE Collection = $collection
    ORDER BY SeriesInstanceUID, left_source, right_source
"""
_NUMERIC = frozenset({"whole", "count", "number", "day"})


def _acquisition_sql() -> str:
    """Return SQL for the least and the greatest value of each attribute.

    The view `series_acquisition` also counts values, which takes much longer.
    """
    columns = ", ".join(
        f'min("{c.name}") AS "{c.name}", max("{c.name}") AS "{c.name} max"'
        for c in ACQUISITION_COLUMNS
    )
    return (
        f"SELECT SeriesInstanceUID, {columns} FROM images WHERE Collection = $collection "
        "GROUP BY SeriesInstanceUID"
    )


def _acquisition(row: _Row) -> list[_Fact]:
    found = []
    for column in ACQUISITION_COLUMNS:
        least, most = row[column.name], row[f"{column.name} max"]
        if least is None:
            continue
        if least == most:
            shown = display.text(least)
        elif column.kind.name in _NUMERIC:
            shown = f"{display.text(least)} to {display.text(most)}"
        else:
            shown = "differs between objects"
        found.append((column.name, shown, column.description))
    return found


def _facts(row: _Row, columns: Iterable[Any], *, skipped: Iterable[str]) -> list[_Fact]:
    left_out = set(skipped)
    return [
        (column.name, _shown(column.name, row[column.name]), column.description)
        for column in columns
        if column.name not in left_out and row.get(column.name) is not None
    ]


def _shown(name: str, value: Any) -> str:
    is_bytes = name.endswith("_bytes") or name == "FileSize"
    return display.size(value) if is_bytes else display.text(value)


def changed_values(event: _Row) -> Iterator[tuple[str, str, str]]:
    """Yield name, old and new value of each column that a change event changed."""
    before, after = (json.loads(event[name] or "{}") for name in ("before", "after"))
    for name in event["changed_columns"] or ():
        yield name, display.text(before.get(name)), display.text(after.get(name))
    if event["event"] == "moved":
        yield "Collection", "", display.text(after.get("moved_to"))
