"""The Series of a dataset, frozen: who is in it, as what, under which licence, and since when.

What belongs here: asking the question, the lock file, and what has changed since. What does not:
reading images, the split, Dagster. Nothing is asked of the archive: the warehouse is what is known.

A cohort is asked for once and then locked. Asking again compares, and changes the lock file only if
that is wanted: a dataset must not change because the archive did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.datasets.split import SPLIT_COLUMNS
from tcia_assets.store.warehouse import Warehouse

IMAGE, TARGET = "image", "target"
FETCHED, NOT_FETCHED, WITHDRAWN, UNKNOWN = "fetched", "not_fetched", "withdrawn", "unknown"
STATES = {
    FETCHED: "its zip is on disk",
    NOT_FETCHED: "the archive lists it, and its zip is not on disk",
    WITHDRAWN: "the archive lists it no more",
    UNKNOWN: "no Collection that is known here has it",
}

FORMAT = 1

_TEXTS = (
    "PatientID",
    "StudyInstanceUID",
    *SPLIT_COLUMNS,
    "PatientAge",
    "fingerprint",
    "archive_sha256",
    "content_md5",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
)
SERIES = pa.schema(
    [
        pa.field("SeriesInstanceUID", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in _TEXTS),
        pa.field("ImageCount", pa.int64()),
    ]
)
"""A Series of a cohort: an `image`, or a `target` that is paired with one; sorted by role and UID.

`fingerprint` is that of the Series now; `archive_sha256` that of the zip on disk, null without one.
`content_md5` is over the objects in that zip, as the archive's own getMD5Hierarchy counts it: two
downloads of a Series are never the same zip, and so it is this that says what the Series was. Null
where `images` does not tell it; then the zip itself has to be the same.
"""
PAIRS = pa.schema(
    [
        pa.field("image_series_instance_uid", pa.string(), nullable=False),
        pa.field("target_series_instance_uid", pa.string(), nullable=False),
        pa.field("SOPInstanceUID", pa.string()),
        pa.field("how", pa.string(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
    ]
)
"""Which object of a target lies on which image; see `pairing.find_pairs`.

Objects have no other name: in the next zip of a Series an entry may be another one.
"""

_SNAPSHOT = """
    SELECT SeriesInstanceUID, fingerprint, greatest(first_seen_at, changed_at) AS at
    FROM current_series ORDER BY SeriesInstanceUID
"""


@dataclass(frozen=True)
class WarehouseSnapshot:
    """What was known when a cohort was asked for.

    `sha256` is over UID and fingerprint of each current Series of all Collections; `newest_change`
    is when the newest of them was first seen or last changed.
    """

    series: int
    sha256: str
    newest_change: str | None

    @classmethod
    def of(cls, warehouse: Warehouse) -> WarehouseSnapshot:
        found = warehouse.query(_SNAPSHOT)
        digest = hashlib.sha256()
        for batch in found.to_batches():
            uids, marks = (batch[name].to_pylist() for name in ("SeriesInstanceUID", "fingerprint"))
            lines = (f"{uid} {mark}\n" for uid, mark in zip(uids, marks, strict=True))
            digest.update("".join(lines).encode())
        newest = pc.max(found["at"]).as_py()
        return cls(found.num_rows, digest.hexdigest(), newest.isoformat() if newest else None)


@dataclass(frozen=True, eq=False)
class Cohort:
    """The Series of a dataset and their pairs, as `SERIES` and `PAIRS` say.

    `question` is what the declaration asked: its cohort and, of its target, which masks count.
    """

    name: str
    query: Mapping[str, Any]
    snapshot: WarehouseSnapshot
    series: pa.Table
    pairs: pa.Table

    @property
    def content(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "format": FORMAT,
            "name": self.name,
            "question": self.query,
            "snapshot": vars(self.snapshot),
            "series": self.series.to_pylist(),
            "pairs": self.pairs.to_pylist(),
        }

    @property
    def sha256(self) -> str:
        """Over the Series and pairs; not over the question, nor when it was asked.

        Nor over a zip of which its `content_md5` is told: the same Series fetched by others is the
        same cohort.
        """
        series = [_without_zip(row) for row in self.series.to_pylist()]
        told = {"series": series, "pairs": self.pairs.to_pylist()}
        return hashlib.sha256(_json(told).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The lock file; equal cohorts are equal bytes."""
        return _json({**self.content, "sha256": self.sha256}, indent=1) + "\n"

    def of_role(self, role: str) -> pa.Table:
        return self.series.filter(pc.equal(self.series["role"], role))

    @property
    def not_fetched(self) -> tuple[str, ...]:
        """Series without a zip on disk."""
        absent = pc.is_null(self.series["archive_sha256"])
        return tuple(self.series.filter(absent)["SeriesInstanceUID"].to_pylist())


@dataclass(frozen=True)
class SeriesZip:
    """A zip on disk, as `image_archives` has it; `content` names what is in it, on any machine."""

    path: Path
    sha256: str
    content: str


@dataclass(frozen=True)
class CohortDiff:
    """What is otherwise in a later cohort: Series by UID, pairs by their UIDs.

    `changed` has for each Series its columns that differ, as they were and as they are.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]] | None = None
    pairs_added: tuple[str, ...] = ()
    pairs_removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        return "\n".join(self._lines()) or "nothing has changed"

    def _lines(self) -> Iterator[str]:
        for sign, what, uids in (
            ("+", "Series", self.added),
            ("-", "Series", self.removed),
            ("+", "pair", self.pairs_added),
            ("-", "pair", self.pairs_removed),
        ):
            yield from (f"{sign} {what} {uid}" for uid in uids)
        for uid, columns in (self.changed or {}).items():
            told = ", ".join(f"{n} {old!r} -> {new!r}" for n, (old, new) in columns.items())
            yield f"~ Series {uid}: {told}"


def diff_cohorts(before: Cohort, after: Cohort) -> CohortDiff:
    """What is otherwise in the later one."""
    old, new = _by_uid(before), _by_uid(after)
    changed = {uid: _otherwise(old[uid], new[uid]) for uid in sorted(old.keys() & new.keys())}
    old_pairs, new_pairs = _pair_names(before), _pair_names(after)
    return CohortDiff(
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(old.keys() - new.keys())),
        {uid: columns for uid, columns in changed.items() if columns},
        tuple(sorted(new_pairs - old_pairs)),
        tuple(sorted(old_pairs - new_pairs)),
    )


def _otherwise(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    if old["content_md5"] == new["content_md5"]:
        old, new = _without_zip(old), _without_zip(new)
    return {name: (old[name], new[name]) for name in new if old[name] != new[name]}


def _without_zip(row: dict[str, Any]) -> dict[str, Any]:
    """A Series without the hash of its zip, if the objects in that are known."""
    is_zip = row["content_md5"] is None
    return {name: value for name, value in row.items() if is_zip or name != "archive_sha256"}


def _by_uid(cohort: Cohort) -> dict[str, dict[str, Any]]:
    return {row["SeriesInstanceUID"]: row for row in cohort.series.to_pylist()}


def _pair_names(cohort: Cohort) -> set[str]:
    return {
        f"{row['target_series_instance_uid']} {row['SOPInstanceUID']} on "
        f"{row['image_series_instance_uid']} by {row['how']}, rank {row['rank']}"
        for row in cohort.pairs.to_pylist()
    }


def _json(content: Any, indent: int | None = None) -> str:
    return json.dumps(content, indent=indent, sort_keys=True, ensure_ascii=False)
