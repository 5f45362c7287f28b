"""Compare MD5 hashes of what is on disk with those of the source."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from tcia_assets.errors import BadArchive, UsageError
from tcia_assets.formats import md5_list
from tcia_assets.images import manifest
from tcia_assets.images.hash_walk import Answers, HashWalk, Leaf
from tcia_assets.images.manifest_row import UID, ManifestRow
from tcia_assets.images.md5_hierarchy import content_md5_sql
from tcia_assets.images.zip_check import accept_again
from tcia_assets.images.zip_files import name_at
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.sources import Source
from tcia_assets.store.archives import Archives
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse

# NBIA answers requests for hashes one at a time.
MAX_REQUESTS = 200

# The hash of a damaged zip; no source has it.
_NO_HASH = "none"


@dataclass(frozen=True)
class AuditResult:
    """How a Collection's complete Series compare with the source's hashes.

    Attributes:
        collection: The Collection.
        walk: What was compared, and what was not.
        not_compared: Number of Series that are complete on disk, but not indexed or not listed by
            the source now.
    """

    collection: str
    walk: HashWalk
    not_compared: int = 0

    @property
    def equal(self) -> int:
        """Number of Series whose hash is the source's."""
        return sum(each.is_equal for each in self.walk.compared)

    @property
    def differing(self) -> list[str]:
        """UIDs of Series with a different hash at the source, or with none."""
        return [each.uid for each in self.walk.compared if not each.is_equal]

    @property
    def unknown(self) -> list[str]:
        """UIDs among `differing` that the source no longer has."""
        return [each.uid for each in self.walk.compared if not each.right_hash]

    @property
    def not_requested(self) -> int:
        """Number of Series left when the requests were used up or the source failed."""
        return self.walk.not_requested

    @property
    def requests(self) -> int:
        """Number of requests sent."""
        return self.walk.requests

    @property
    def failure(self) -> str:
        """The error of the source that ended the comparison; "" if there was none."""
        return self.walk.failure


def require_hashes(source: Source) -> None:
    """Raise UsageError if a source provides no MD5 hashes to compare with."""
    if not source.hash_levels:
        raise UsageError(f"{source.name} provides no MD5 hashes to compare the images with")


def audit_hashes(
    collection: str,
    source: Source,
    warehouse: Warehouse,
    *,
    max_requests: int | None = MAX_REQUESTS,
    report: ProgressCallback = ignore_progress,
    answers: Answers | None = None,
) -> AuditResult:
    """Compare hashes made from the `images` table with the source's, from the top down.

    One request verifies a Collection that is completely on disk. Below it, only nodes that differ
    or are incomplete are requested.

    Args:
        collection: The Collection.
        source: The source to compare with.
        warehouse: The warehouse.
        max_requests: The most requests to send; None for any number.
        report: Called with the number of Series that are compared, and that of all.
        answers: As in `HashWalk`.

    Raises:
        UsageError: The source provides no MD5 hashes.
    """
    source = source.of(collection)
    require_hashes(source)
    leaves = _leaves(collection, warehouse)
    walk = HashWalk(source, max_requests, report, {} if answers is None else answers)
    walk.compare(leaves)
    complete = manifest.read_complete(warehouse, collection, [UID])[UID].to_pylist()
    comparable = {leaf[UID] for leaf in leaves if leaf["hash"]}
    return AuditResult(collection, walk, len(set(complete) - comparable))


def audit_sample(
    collection: str,
    source: Source,
    warehouse: Warehouse,
    size: int,
    just_fetched: frozenset[str] = frozenset(),
) -> AuditResult:
    """Compare the hashes of a few Series, others each day, with the source's.

    Their hashes are taken from the zips, so that `images` is not needed.

    Args:
        collection: The Collection.
        source: The source to compare with; one request a Series.
        warehouse: The warehouse.
        size: The number of Series.
        just_fetched: UIDs of Series that the caller has just verified; the zips of others are
            hashed first to see whether they changed.

    Raises:
        UsageError: The source provides no MD5 hashes.
    """
    source = source.of(collection)
    require_hashes(source)
    walk = HashWalk(source, size, ignore_progress, {})
    rows, unlisted = _sample(collection, warehouse, size)
    walk.compare_series([_stored_leaf(row, warehouse.archives, just_fetched) for row in rows])
    return AuditResult(collection, walk, unlisted)


def _sample(collection: str, warehouse: Warehouse, size: int) -> tuple[list[ManifestRow], int]:
    """Return the rows of `size` complete Series that are listed, and how many are not listed.

    The Series are the same throughout a day (UTC), and others the next day.
    """
    found = warehouse.query(
        # Of UIDs alone: to sort the rows of 200,000 zips takes three times as long. Joined by
        # numbers, which take a third less than texts.
        f"""
        SELECT count(*) FILTER (l.number IS NULL) AS unlisted,
            arg_min(a.{UID}, hash($today, a.{UID}), {size}) FILTER (l.number NOTNULL) AS chosen
        FROM image_archives AS a LEFT JOIN (
            SELECT hash({UID}) AS number FROM current_series
            WHERE Collection = $collection AND missing_since IS NULL
        ) AS l ON l.number = hash(a.{UID})
        WHERE a.Collection = $collection AND a.status = 'complete'
        """,
        {"collection": collection, "today": datetime.now(UTC).date().isoformat()},
    )
    [(unlisted, chosen)] = (tuple(row.values()) for row in found.to_pylist())
    uids = pa.chunked_array([chosen or []], pa.string())
    rows = manifest.read_rows_of(warehouse, collection, uids)
    # One that was removed meanwhile has no row.
    return [rows[uid] for uid in uids.to_pylist() if uid in rows], unlisted


def _leaves(collection: str, warehouse: Warehouse) -> list[Leaf]:
    """Return each listed Series with its hash on disk, null where it is not complete."""
    leaves: list[Leaf] = warehouse.query(
        f"""
        SELECT s.Collection, s.PatientID, s.StudyInstanceUID, s.SeriesInstanceUID,
               i.content_md5 AS hash
        FROM current_series AS s LEFT JOIN (
            {content_md5_sql("images.Collection = $collection AND a.status = 'complete'")}
        ) AS i USING (SeriesInstanceUID)
        WHERE s.Collection = $collection AND s.missing_since IS NULL
        ORDER BY ALL
        """,
        {"collection": collection},
    ).to_pylist()
    return leaves


def _stored_leaf(row: ManifestRow, archives: Archives, just_fetched: frozenset[str]) -> Leaf:
    """Return a Series with the hash of its zip."""
    uid = row.series_instance_uid
    try:
        with archives.local(name_at(row.path or ""), row.sha256 or "") as path:
            md5s = _listed_md5s(row, path, is_fresh=uid in just_fetched) or [
                member.md5 for member in accept_again(row, path).members
            ]
    except (BadArchive, OSError):
        return {"SeriesInstanceUID": uid, "hash": _NO_HASH}
    return {"SeriesInstanceUID": uid, "hash": md5_list.combined_md5(md5s)}


def _listed_md5s(row: ManifestRow, path: Path, *, is_fresh: bool) -> list[str]:
    """Return the MD5 list in a zip that was verified by it and is unchanged, or an empty list."""
    if row.verified_by != "md5":
        return []
    if not is_fresh and sha256_of(path) != row.sha256:
        return []
    with zipfile.ZipFile(path) as opened:
        return list(md5_list.read_from_zip(opened).values())
