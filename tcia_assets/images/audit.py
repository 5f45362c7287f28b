"""Compare MD5 hashes of what is on disk with those of the source."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from tcia_assets.errors import BadArchive, UsageError
from tcia_assets.formats import md5_list
from tcia_assets.images import manifest
from tcia_assets.images.hash_walk import Answers, HashWalk, Leaf
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.md5_hierarchy import content_md5_sql
from tcia_assets.images.verify import accept_again, daily_sample
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
    sample: int | None = None,
    just_fetched: frozenset[str] = frozenset(),
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
        sample: Request only this many Series, different ones each day, and take their hashes from
            the zips, so that `images` is not needed.
        just_fetched: UIDs of Series that the caller has just verified; with `sample`, the zips of
            other Series are hashed first to see whether they changed.
        report: Called with the number of Series that are compared, and that of all.
        answers: As in `HashWalk`.

    Raises:
        UsageError: The source provides no MD5 hashes.
    """
    source = source.of(collection)
    require_hashes(source)
    leaves = _leaves(collection, warehouse)
    walk = HashWalk(source, max_requests, report, {} if answers is None else answers)
    complete = {
        row.series_instance_uid: row
        for row in manifest.read_rows(warehouse, collection)
        if row.is_complete
    }
    if sample is None:
        comparable = [leaf["SeriesInstanceUID"] for leaf in leaves if leaf["hash"]]
        walk.compare(leaves)
    else:
        comparable = [u for leaf in leaves if (u := leaf["SeriesInstanceUID"]) in complete]
        chosen = daily_sample([complete[uid] for uid in comparable], sample)
        walk.compare_series([_stored_leaf(r, warehouse.archives, just_fetched) for r in chosen])
    return AuditResult(collection, walk, len(complete.keys() - comparable))


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
