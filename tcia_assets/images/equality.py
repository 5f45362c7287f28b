"""The table `source_equality`: compare the images of Series in two places, by their hashes.

Three pairs can be compared: the mirror with NBIA, the mirror with the IDC, NBIA with the IDC. No
image is downloaded: the mirror has MD5s in `images`, NBIA hashes them itself, the IDC lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import NLST, SERIES, SOURCE_EQUALITY
from tcia_assets.images.audit import MAX_REQUESTS, audit_hashes
from tcia_assets.images.hash_walk import Answers, ComparedSeries, HashWalk, Leaf
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.sources import Source
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

MIRROR, NBIA, IDC = "mirror", "nbia", "idc"
_UID = SERIES.key[0]
_Row = dict[str, Any]


@dataclass(frozen=True)
class Equality:
    """What a comparison of a Collection's Series in two places found.

    Attributes:
        collection: The Collection.
        left: The first place.
        right: The second one.
        rows: The rows of `source_equality` that were written.
        not_compared: Number of Series that could not be compared, because the requests were used
            up, a source failed, or the images are not indexed.
        requests: Number of requests sent.
        failure: The error of the source that ended the comparison; "" if there was none.
    """

    collection: str
    left: str
    right: str
    rows: tuple[Mapping[str, Any], ...]
    not_compared: int
    requests: int
    failure: str

    def count(self, state: str) -> int:
        """Return the number of Series in a state."""
        return sum(row["state"] == state for row in self.rows)


def compare_mirror(
    collection: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
    *,
    report: ProgressCallback = ignore_progress,
    answers: Answers | None = None,
) -> Equality:
    """Compare the zips of a Collection with what a source has, and record it.

    Args:
        collection: The Collection; its zips must be indexed.
        source: The source.
        warehouse: The warehouse.
        at: The time of the comparison, with a time zone.
        report: Called with the number of Series that are compared, and that of all.
        answers: What the source has answered for single Series; completed.

    Raises:
        UsageError: The source provides no MD5 hashes.
        StorageError: The table cannot be written.
    """
    found = audit_hashes(
        collection,
        source,
        warehouse,
        max_requests=_max_requests(source),
        report=report,
        answers=answers,
    )
    place = IDC if source.release else NBIA
    facts = _Facts.of(collection, source, found.walk.compared, warehouse)
    rows = [facts.row(each, MIRROR, place, at) for each in found.walk.compared]
    _record(collection, rows, warehouse)
    left = found.not_requested + found.not_compared
    return Equality(collection, MIRROR, place, tuple(rows), left, found.requests, found.failure)


def compare_sources(
    collection: str,
    nbia: Source,
    idc: Source,
    warehouse: Warehouse,
    at: datetime,
    *,
    report: ProgressCallback = ignore_progress,
    answers: Answers | None = None,
) -> Equality:
    """Compare what NBIA has of a Collection with what the IDC has, and record it.

    Takes what `compare_mirror` takes, with the IDC's answers. The IDC's objects are listed Series
    by Series; their hashes are compared with NBIA's from the top down, so that one request verifies
    a Collection.
    """
    listing = HashWalk(idc, report=report, answers={} if answers is None else answers)
    stored = _listed(collection, warehouse)
    # Compared with nothing, so that each Series is listed.
    listing.compare_series([leaf | {"hash": ""} for leaf in stored])
    hashes = {each.uid: each for each in listing.compared}
    leaves = [leaf | {"hash": _hash(hashes.get(leaf[_UID]))} for leaf in stored]
    walk = HashWalk(nbia.of(collection), MAX_REQUESTS)
    walk.compare(leaves)
    compared = [
        # NBIA is on the left.
        ComparedSeries(each.uid, each.right_hash, each.left_hash, each.problem)
        for each in walk.compared
    ]
    compared += [each for each in listing.compared if not each.right_hash]
    facts = _Facts.of(collection, idc, compared, warehouse)
    rows = [facts.row(each, NBIA, IDC, at) for each in compared]
    _record(collection, rows, warehouse)
    return Equality(
        collection,
        NBIA,
        IDC,
        tuple(rows),
        listing.not_requested + walk.not_requested,
        listing.requests + walk.requests,
        listing.failure or walk.failure,
    )


def _max_requests(source: Source) -> int | None:
    return None if source.release else MAX_REQUESTS


def _hash(compared: ComparedSeries | None) -> str | None:
    return (compared.right_hash or None) if compared else None


def _listed(collection: str, warehouse: Warehouse) -> list[Leaf]:
    """Return the listed Series of a Collection, in the order of the hierarchy."""
    leaves: list[Leaf] = warehouse.query(
        "SELECT Collection, PatientID, StudyInstanceUID, SeriesInstanceUID FROM current_series "
        "WHERE Collection = $collection AND missing_since IS NULL ORDER BY ALL",
        {"collection": collection},
    ).to_pylist()
    return leaves


@dataclass(frozen=True)
class _Facts:
    """What is known of the compared Series beside their hashes.

    Attributes:
        collection: Their Collection.
        source: The source on the right.
        stored: Their rows in `series`, with the number of objects in their zips, by UID.
        objects: Number of objects at a source with releases, by UID.
        gone: For Series that only earlier releases had, the version that lacked each first.
    """

    collection: str
    source: Source
    stored: Mapping[str, _Row]
    objects: Mapping[str, int | None]
    gone: Mapping[str, str]

    @classmethod
    def of(
        cls,
        collection: str,
        source: Source,
        compared: Iterable[ComparedSeries],
        warehouse: Warehouse,
    ) -> _Facts:
        uids = [each.uid for each in compared]
        stored = {row[_UID]: row for row in _stored(collection, warehouse)}
        objects: dict[str, int | None] = {}
        if source.release and uids:
            sizes = source.series_sizes(uids).table
            objects = dict(
                zip(sizes[_UID].to_pylist(), sizes["ObjectCount"].to_pylist(), strict=True)
            )
        return cls(collection, source, stored, objects, source.gone_in(uids))

    def row(self, each: ComparedSeries, left: str, right: str, at: datetime) -> _Row:
        """Return the row of a Series."""
        stored = self.stored.get(each.uid, {})
        listed = stored.get("ImageCount")
        state, reason = self._state(each, left, right)
        return {
            _UID: each.uid,
            "Collection": self.collection,
            "left_source": left,
            "right_source": right,
            "state": state,
            "left_hash": each.left_hash or None,
            "right_hash": each.right_hash or None,
            "left_objects": stored.get("image_count") if left == MIRROR else listed,
            "right_objects": self.objects.get(each.uid) if right == IDC else listed,
            "idc_version": int(self.source.release.partition(".")[0]) if right == IDC else None,
            "compared_at": at,
            "reason": reason,
        }

    def _state(self, each: ComparedSeries, left: str, right: str) -> tuple[str, str | None]:
        if each.is_equal:
            return "equal", None
        if each.problem:
            return "unknown", each.problem
        if each.left_hash and each.right_hash:
            return self._difference(each.uid, left, right)
        return self._absence(each, right)

    def _absence(self, each: ComparedSeries, right: str) -> tuple[str, str]:
        if each.right_hash or right == NBIA:
            return "absent", "NBIA does not have this Series any more"
        if each.uid in self.gone:
            return "absent", f"the IDC does not have it since v{self.gone[each.uid]}"
        return "lag", f"the IDC does not have it yet in release {self.source.release}"

    def _difference(self, uid: str, left: str, right: str) -> tuple[str, str]:
        stored = self.stored.get(uid, {})
        newest, released = stored.get("newest"), self.source.released_on
        if right == IDC and newest and released and newest >= released:
            return "lag", f"released or submitted on {newest}, after the IDC's on {released}"
        mine = stored.get("image_count" if left == MIRROR else "ImageCount")
        theirs = self.objects.get(uid)
        if self.collection == NLST and mine and theirs and theirs < mine:
            # The IDC's own loading leaves them out.
            return "absent", f"the IDC leaves out {mine - theirs} invalid or repeated objects"
        return "differs", "both have the Series, with other objects"


def _stored(collection: str, warehouse: Warehouse) -> list[_Row]:
    rows: list[_Row] = warehouse.query(
        """
        SELECT s.SeriesInstanceUID, s.ImageCount, a.image_count,
               greatest(s.MaxSubmissionTimestamp::DATE, s.DateReleased) AS newest
        FROM series AS s LEFT JOIN (
            SELECT * FROM image_archives WHERE Collection = $collection
        ) AS a USING (SeriesInstanceUID)
        WHERE s.Collection = $collection
        """,
        {"collection": collection},
    ).to_pylist()
    return rows


def _record(collection: str, rows: list[_Row], warehouse: Warehouse) -> None:
    """Store the rows in place of older ones of the same Series and places."""
    if not rows:
        return
    new = pa.Table.from_pylist(rows, schema=SOURCE_EQUALITY.schema)
    replaced = {tuple(row[name] for name in SOURCE_EQUALITY.key) for row in rows}
    with warehouse.update(SOURCE_EQUALITY, collection) as partition:
        kept = [
            row
            for row in partition.rows.to_pylist()
            if tuple(row[name] for name in SOURCE_EQUALITY.key) not in replaced
        ]
        before = pa.Table.from_pylist(kept, schema=SOURCE_EQUALITY.schema)
        partition.rows = conform(SOURCE_EQUALITY, pa.concat_tables([before, new]))
