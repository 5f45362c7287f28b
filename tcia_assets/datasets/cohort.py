"""The cohort of a dataset: its Series, frozen, with their licences, hashes and paired masks.

The query is in `cohort_query.py`, the lock file in `cohort_lock.py`, what differs between two of
them in `cohort_diff.py`, the split in `split.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.datasets.split_settings import SPLIT_COLUMNS
from tcia_assets.errors import CohortMoved
from tcia_assets.metadata.publications import PUBLICATIONS
from tcia_assets.store.archives import Archives
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse

IMAGE, CHANNEL, TARGET = "image", "channel", "target"
FETCHED, NOT_FETCHED, WITHDRAWN, UNKNOWN = "fetched", "not_fetched", "withdrawn", "unknown"
STATES = {
    FETCHED: "its zip is on disk",
    NOT_FETCHED: "the source lists it, and its zip is not on disk",
    WITHDRAWN: "the source no longer lists it",
    UNKNOWN: "it is in no Collection of the warehouse",
}

FORMAT = 1
"""The version of the lock file's format."""

_TEXT_COLUMNS = (
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
OF_ANALYSES = ("analysis_result_id", "SeriesDescription", "algorithms")
"""Columns that only masks of an analysis have: which one, its description of the mask, and the
types and names of the algorithms of its segments, such as `AUTOMATIC (TotalSegmentator)`.

Lock files leave them out where they are null: those of earlier cohorts do not have them.
"""
CLASS_VALUE = "class_value"
"""Column that only images of a dataset with classes have: the value that the class is made of.

Lock files leave it out where it is null, as those above.
"""
IMPORTED_FROM = "imported_from"
"""Column that only Series have which were imported from a folder: the name of that source.

Lock files leave it out where it is null, as those above.
"""
_LEFT_OUT_IF_NULL = (*OF_ANALYSES, CLASS_VALUE, IMPORTED_FROM)
SERIES = pa.schema(
    [
        pa.field("SeriesInstanceUID", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in _TEXT_COLUMNS),
        pa.field("ImageCount", pa.int64()),
        *(pa.field(name, pa.string()) for name in _LEFT_OUT_IF_NULL),
    ]
)
"""One row for each Series of a cohort, sorted by role and UID.

`role` is `image`, `target` for a mask that is paired with an image, or `channel` for another
channel of an image; `state` is one of `STATES`.
`fingerprint` is that of the Series' row in the warehouse, `archive_sha256` that of the zip on disk,
null without one. `content_md5` is over the objects in the zip, as NBIA's getMD5Hierarchy computes
it: two downloads of a Series are different zips with the same objects, so this is the hash that
identifies it. It is null where `images` has no MD5 of each object; then the zip itself must be the
same.
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

Objects are identified by SOPInstanceUID only: names of entries can differ between two downloads.
"""

CHANNELS = pa.schema(
    [
        pa.field("image_series_instance_uid", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("is_reference", pa.bool_(), nullable=False),
        pa.field("SeriesInstanceUID", pa.string()),
        pa.field("finding", pa.string()),
        pa.field("message", pa.string()),
    ]
)
"""Which Series is each channel of an image; see `channel_query.pair_channels`.

An image is a channel of its own too. A channel without a Series is null there. `finding` is the
code of what is uncertain about the choice, with its message.
"""

_HASHED = ("series", "pairs", "channels", "publications", "released")
_CURRENT_SERIES = """
    SELECT SeriesInstanceUID, fingerprint, greatest(first_seen_at, changed_at) AS at
    FROM current_series ORDER BY SeriesInstanceUID
"""


@dataclass(frozen=True)
class WarehouseSnapshot:
    """The state of the warehouse when a cohort was queried.

    Attributes:
        series: The number of current Series in all Collections.
        sha256: over the UID and fingerprint of each of them.
        newest_change: When the newest of them was first seen or last changed, in ISO 8601.
    """

    series: int
    sha256: str
    newest_change: str | None

    @classmethod
    def of(cls, warehouse: Warehouse) -> WarehouseSnapshot:
        """Take the snapshot of a warehouse."""
        rows = warehouse.query(_CURRENT_SERIES)
        digest = hashlib.sha256()
        for batch in rows.to_batches():
            uids, marks = (batch[name].to_pylist() for name in ("SeriesInstanceUID", "fingerprint"))
            lines = (f"{uid} {mark}\n" for uid, mark in zip(uids, marks, strict=True))
            digest.update("".join(lines).encode())
        newest = pc.max(rows["at"]).as_py()
        return cls(rows.num_rows, digest.hexdigest(), newest.isoformat() if newest else None)


@dataclass(frozen=True)
class LockedZip:
    """The zip of a Series: where it is, the SHA-256 of its bytes, and a hash of the objects in it.

    `content` is the MD5 over the objects, or the SHA-256 of the zip where that is not known.
    """

    archives: Archives
    name: str
    sha256: str
    content: str

    @contextmanager
    def open(self) -> Iterator[Path]:
        """Provide the path of a file with its bytes.

        Raises:
            CohortMoved: It is gone, or has other bytes.
        """
        with ExitStack() as stack:
            try:
                path = stack.enter_context(self.archives.local(self.name, self.sha256))
                differs = sha256_of(path) != self.sha256
                problem = "has changed since it was fetched" if differs else ""
            except FileNotFoundError:
                problem = "is missing"
            if problem:
                advice = "run tcia-assets verify, then fetch it again"
                raise CohortMoved(
                    f"{self.archives.address(self.name)}: the zip {problem}; {advice}"
                )
            yield path


@dataclass(frozen=True)
class ClassJoin:
    """How values of classes were joined with images.

    Attributes:
        key: The column by which.
        keys: The number of keys that have a value, or are listed without one.
        matched: The number of these that are the key of an image.
        example: One of the others; None if there is none, and of a frozen cohort.
    """

    key: str
    keys: int
    matched: int
    example: str | None = field(default=None, compare=False)

    @property
    def unused(self) -> int:
        """The number of keys that are of no image."""
        return self.keys - self.matched

    @property
    def content(self) -> dict[str, Any]:
        """What lock files hold: no ID of somebody who is not in the dataset."""
        return {"key": self.key, "keys": self.keys, "matched": self.matched}


@dataclass(frozen=True, eq=False)
class Cohort:
    """The Series of a dataset and their pairs, as the schemas `SERIES` and `PAIRS`.

    `channels` is as the schema `CHANNELS`, empty for a dataset without channels.
    `publications` are those that the Series have to cite, as `PUBLICATIONS`; `class_join` is how
    the values of classes were joined, None for a dataset without. `query` is the part of
    the declaration that selects the cohort: `Declaration.cohort_settings`. `released` is the newest
    DateReleased of its Series, as 2026-11-27; None where the source has none, and in lock files of
    earlier versions.
    """

    name: str
    query: Mapping[str, Any]
    snapshot: WarehouseSnapshot
    series: pa.Table
    pairs: pa.Table
    publications: pa.Table = field(default_factory=PUBLICATIONS.empty_table)
    class_join: ClassJoin | None = None
    channels: pa.Table = field(default_factory=CHANNELS.empty_table)
    released: str | None = None

    @property
    def content(self) -> dict[str, Any]:
        """The content of the lock file, as JSON can hold it."""
        return {
            "format": FORMAT,
            "name": self.name,
            "question": self.query,  # The key's name in lock file format 1.
            "snapshot": vars(self.snapshot),
            **({"class_join": self.class_join.content} if self.class_join else {}),
            **self._hashed,
        }

    @property
    def _hashed(self) -> dict[str, Any]:
        """The part of the content that has a hash."""
        rows = [
            {name: value for name, value in row.items() if value or name not in _LEFT_OUT_IF_NULL}
            for row in self.series.to_pylist()
        ]
        content = {"series": rows, "pairs": self.pairs.to_pylist()}
        if self.channels.num_rows:
            content["channels"] = self.channels.to_pylist()
        if self.publications.num_rows:  # Cohorts of NBIA, and earlier ones, have none.
            content["publications"] = self.publications.to_pylist()
        if self.released:
            content["released"] = self.released
        return content

    @property
    def sha256(self) -> str:
        """The hash over Series, pairs, channels, publications and `released`.

        Query and snapshot are left out.

        Where `content_md5` is known, the hash of the zip is left out too: the same Series,
        downloaded by somebody else, give the same cohort.
        """
        return hash_cohort(self._hashed)

    @property
    def text(self) -> str:
        """The text of the lock file; equal cohorts give equal bytes."""
        return _json({**self.content, "sha256": self.sha256}, indent=1) + "\n"

    def of_role(self, role: str) -> pa.Table:
        """Return the Series that are an `image`, or those that are a `target`."""
        return self.series.filter(pc.equal(self.series["role"], role))

    @property
    def not_fetched(self) -> tuple[str, ...]:
        """The Series without a zip on disk."""
        absent = pc.is_null(self.series["archive_sha256"])
        return tuple(self.series.filter(absent)["SeriesInstanceUID"].to_pylist())


def hash_cohort(content: Mapping[str, Any]) -> str:
    """Return the hash of a cohort from the content of its lock file; see `Cohort.sha256`."""
    hashed = {name: content[name] for name in _HASHED if name in content}
    hashed["series"] = [without_zip(row) for row in hashed["series"]]
    return hashlib.sha256(_json(hashed).encode()).hexdigest()


def without_zip(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a Series without the hash of its zip, where its objects identify it."""
    is_zip_needed = row["content_md5"] is None
    return {name: value for name, value in row.items() if is_zip_needed or name != "archive_sha256"}


def _json(content: Any, indent: int | None = None) -> str:
    return json.dumps(content, indent=indent, sort_keys=True, ensure_ascii=False)
