"""Compare MD5 hashes of what is on disk with those of the source."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from tcia_assets.errors import BadArchive, RemoteError, UnknownReply, UsageError
from tcia_assets.formats import md5_list
from tcia_assets.images import manifest
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.md5_hierarchy import combined_md5, content_md5_sql
from tcia_assets.images.verify import accept_again, daily_sample
from tcia_assets.sources import Source
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse

# NBIA answers requests for hashes one at a time.
MAX_REQUESTS = 200

# The hash of a damaged zip; no source has it.
_NO_HASH = "none"
# From the top down: the column that divides Series into nodes, and the columns by which a node's
# hash is requested.
_LEVELS = (
    ("Collection", ("Collection",)),
    ("PatientID", ("Collection", "PatientID")),
    ("StudyInstanceUID", ("StudyInstanceUID",)),
)
_Level = tuple[str, tuple[str, ...]]
# A Series as a leaf of the hierarchy: its keys, and the hash of what is on disk.
_Leaf = dict[str, Any]


@dataclass
class AuditResult:
    """How a Collection's complete Series compare with the source's hashes.

    Attributes:
        collection: The Collection.
        equal: Number of Series whose hash is the source's.
        differing: UIDs of Series with a different hash at the source.
        not_requested: Number of Series left when the requests were used up or the source failed.
        requests: Number of requests sent.
        not_compared: Number of Series that are complete on disk, but not indexed or not listed by
            the source now.
        unknown: UIDs among `differing` that the source no longer has.
        failure: The error of the source that ended the comparison; "" if there was none.
    """

    collection: str
    equal: int = 0
    differing: list[str] = field(default_factory=list)
    not_requested: int = 0
    requests: int = 0
    not_compared: int = 0
    unknown: list[str] = field(default_factory=list)
    failure: str = ""


def require_hashes(source: Source) -> None:
    """Raise UsageError if a source provides no MD5 hashes to compare with."""
    if not source.hash_levels:
        raise UsageError(f"{source.name} provides no MD5 hashes to compare the images with")


def audit_hashes(
    collection: str,
    source: Source,
    warehouse: Warehouse,
    *,
    max_requests: int = MAX_REQUESTS,
    sample: int | None = None,
    just_fetched: frozenset[str] = frozenset(),
) -> AuditResult:
    """Compare hashes made from the `images` table with the source's, from the top down.

    One request verifies a Collection that is completely on disk. Below it, only nodes that differ
    or are incomplete are requested.

    Args:
        collection: The Collection.
        source: The source to compare with.
        warehouse: The warehouse.
        max_requests: The most requests to send.
        sample: Request only this many Series, different ones each day, and take their hashes from
            the zips, so that `images` is not needed.
        just_fetched: UIDs of Series that the caller has just verified; with `sample`, the zips of
            other Series are hashed first to see whether they changed.

    Raises:
        UsageError: The source provides no MD5 hashes.
    """
    source = source.of(collection)
    require_hashes(source)
    leaves = _leaves(collection, warehouse)
    found = AuditResult(collection)
    walk = _Walk(source, max_requests, found)
    complete = {
        row.series_instance_uid: row
        for row in manifest.read_rows(warehouse, collection)
        if row.is_complete
    }
    if sample is None:
        comparable = [leaf["SeriesInstanceUID"] for leaf in leaves if leaf["hash"]]
        walk.compare_nodes(leaves, [each for each in _LEVELS if each[0] in source.hash_levels])
    else:
        comparable = [u for leaf in leaves if (u := leaf["SeriesInstanceUID"]) in complete]
        chosen = daily_sample([complete[uid] for uid in comparable], sample)
        walk.compare_series([_leaf_on_disk(r, warehouse.root, just_fetched) for r in chosen])
    found.not_compared = len(complete.keys() - comparable)
    return found


def _leaves(collection: str, warehouse: Warehouse) -> list[_Leaf]:
    """Return each listed Series with its hash on disk, null where it is not complete."""
    leaves: list[_Leaf] = warehouse.query(
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


def _leaf_on_disk(row: ManifestRow, root: Path, just_fetched: frozenset[str]) -> _Leaf:
    """Return a Series with the hash of its zip."""
    path, uid = root / str(row.path), row.series_instance_uid
    try:
        md5s = _listed_md5s(row, path, is_fresh=uid in just_fetched) or [
            member.md5 for member in accept_again(row, path).members
        ]
    except (BadArchive, OSError):
        return {"SeriesInstanceUID": uid, "hash": _NO_HASH}
    return {"SeriesInstanceUID": uid, "hash": combined_md5(md5s)}


def _listed_md5s(row: ManifestRow, path: Path, *, is_fresh: bool) -> list[str]:
    """Return the MD5 list in a zip that was verified by it and is unchanged, or an empty list."""
    if row.verified_by != "md5":
        return []
    if not is_fresh and sha256_of(path) != row.sha256:
        return []
    with zipfile.ZipFile(path) as opened:
        return list(md5_list.read_from_zip(opened).values())


@dataclass(frozen=True)
class _Walk:
    """A walk down the source's MD5 hierarchy, which adds what it finds to `found`."""

    source: Source
    max_requests: int
    found: AuditResult

    def compare_nodes(self, leaves: list[_Leaf], levels: Sequence[_Level]) -> None:
        """Compare Series, by one request for each node that is complete on disk and equal."""
        if not levels:
            self.compare_series(leaves)
            return
        (column, requested_by), *below = levels
        for node in _group(leaves, column):
            if len(node) > 1 and all(leaf["hash"] for leaf in node) and self._may_request:
                filters = {name: node[0][name] for name in requested_by}
                if self._request(**filters) == _node_hash(node, below):
                    self.found.equal += len(node)
                    continue
            self.compare_nodes(node, below)

    def compare_series(self, leaves: list[_Leaf]) -> None:
        """Compare Series one by one; those that are not on disk are skipped."""
        for leaf in leaves:
            if leaf["hash"] is None:
                continue
            uid = leaf["SeriesInstanceUID"]
            source_hash = self._request(SeriesInstanceUID=uid) if self._may_request else None
            if source_hash is None or self.found.failure:
                self.found.not_requested += 1
            elif source_hash == leaf["hash"]:
                self.found.equal += 1
            else:
                self.found.differing.append(uid)
                if not source_hash:
                    self.found.unknown.append(uid)

    @property
    def _may_request(self) -> bool:
        return not self.found.failure and self.found.requests < self.max_requests

    def _request(self, **node: str) -> str:
        """Return the source's hash; "" if it does not have the node, or fails (see `failure`)."""
        self.found.requests += 1
        try:
            return self.source.md5_hash(**node)
        except UnknownReply:
            return ""
        except RemoteError as error:
            self.found.failure = str(error)
            return ""


def _group(leaves: list[_Leaf], column: str) -> list[list[_Leaf]]:
    # `_leaves` sorts them by the columns of all levels, from the top down.
    return [list(group) for _, group in groupby(leaves, key=itemgetter(column))]


def _node_hash(node: list[_Leaf], below: Sequence[_Level]) -> str:
    """Return the hash of a node, made from its Series' hashes through the levels below it."""
    if not below:
        return combined_md5(leaf["hash"] for leaf in node)
    (column, _), *rest = below
    return combined_md5(_node_hash(child, rest) for child in _group(node, column))
