"""Whether what lies on disk is still what was proven, and whether the archive has the same.

What belongs here: looking again, and saying so in the manifest. What does not: fetching again what
is found damaged; the next fetch does that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tcia_assets import attribution
from tcia_assets.acceptance import Expectation, accept
from tcia_assets.archive import manifest
from tcia_assets.archive.places import folder, zip_path
from tcia_assets.archive.tree import hash_of
from tcia_assets.client import ArchiveClient
from tcia_assets.errors import BadArchive
from tcia_assets.warehouse import Warehouse

Row = dict[str, Any]
Report = Callable[[int, int], None]

_WORKERS = 2
# The archive answers questions about hashes one at a time.
MOST_QUESTIONS = 200


@dataclass(frozen=True)
class Damage:
    """A Series whose zip is not as the manifest says, and why."""

    series_instance_uid: str
    problem: str


@dataclass(frozen=True)
class Verified:
    """What a look at a Collection's zips found; `strays` are zips that no row knows."""

    collection: str
    checked: int
    checked_bytes: int
    damaged: tuple[Damage, ...]
    strays: tuple[str, ...]


def verify(
    collection: str,
    warehouse: Warehouse,
    *,
    deep: bool = False,
    sample: int | None = None,
    report: Report = lambda _done, _total: None,
) -> Verified:
    """Compares the zips of a Collection with their manifest: there, of that size, of that SHA-256.

    `deep` inflates each and proves it anew. `sample` looks at so many, others each day. What is
    damaged is `failed` in the manifest from then on, so that the next fetch has it again.
    """
    rows = [row for row in manifest.read(warehouse, collection).to_pylist() if row["path"]]
    chosen = rows if sample is None else _sample(rows, sample)
    damaged: list[tuple[Row, str]] = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        looks = pool.map(lambda row: _problem(row, warehouse.root, deep=deep), chosen)
        for done, (row, problem) in enumerate(zip(chosen, looks, strict=True), start=1):
            if problem:
                damaged.append((row, problem))
            report(done, len(chosen))
    manifest.fold(warehouse, collection, [_failed(row, problem) for row, problem in damaged])
    known = {row["path"] for row in rows}
    there = (warehouse.root / folder(collection)).glob("*.zip")
    strays = [p.name for p in sorted(there) if zip_path(collection, p.stem) not in known]
    return Verified(
        collection,
        len(chosen),
        sum(row["archive_bytes"] for row in chosen),
        tuple(Damage(row["SeriesInstanceUID"], problem) for row, problem in damaged),
        tuple(strays),
    )


def _sample(rows: Sequence[Row], size: int) -> list[Row]:
    """So many rows, the same all day and others tomorrow."""
    today = datetime.now(UTC).date().isoformat()

    def place(row: Row) -> bytes:
        return hashlib.sha256(f"{today} {row['SeriesInstanceUID']}".encode()).digest()

    return sorted(rows, key=place)[:size]


def _problem(row: Row, root: Path, *, deep: bool) -> str:
    """What is wrong with a zip; "" where nothing is."""
    path = root / row["path"]
    if not path.is_file():
        return f"its zip is gone: {row['path']}"
    size = path.stat().st_size
    if size != row["archive_bytes"]:
        return f"its zip has {size} bytes where {row['archive_bytes']} were proven"
    if _sha256(path) != row["sha256"]:
        return "its zip has changed since it was proven: another SHA-256"
    if deep:
        expected = Expectation(row["SeriesInstanceUID"], row["image_count"], row["image_bytes"])
        try:
            accept(path, expected, workers=1)
        except BadArchive as error:
            return error.problem
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _failed(row: Row, problem: str) -> Row:
    return row | {
        "status": "failed",
        "error": f"{problem}; fetch its Collection to have it again",
        "fetched_at": datetime.now(UTC),
    }


# --- The manifest, made anew from the files -----------------------------------------------------


@dataclass(frozen=True)
class Rebuilt:
    """What was made of a Collection's zips: rows that were right, rows made, zips refused."""

    collection: str
    kept: int
    made: int
    refused: tuple[Damage, ...]


def rebuild(
    collection: str,
    warehouse: Warehouse,
    source: str,
    *,
    report: Report = lambda _done, _total: None,
) -> Rebuilt:
    """Makes the rows that the manifest of a Collection lacks from its zips, each proven anew.

    Counts and sizes are those of the `series` table, so a Series that the archive has changed since
    is refused here and fetched again by the next fetch. `source` is said to be where they are from.
    """
    paths = sorted((warehouse.root / folder(collection)).glob("*.zip"))
    known = {r["SeriesInstanceUID"]: r for r in manifest.read(warehouse, collection).to_pylist()}
    series = _series(collection, warehouse)
    rows, refused, kept = [], [], 0
    for done, path in enumerate(paths, start=1):
        if _is_right(known.get(path.stem), path):
            kept += 1
        else:
            try:
                rows.append(_made(path, collection, series.get(path.stem), source))
            except BadArchive as error:
                refused.append(Damage(path.stem, error.problem))
        report(done, len(paths))
    manifest.fold(warehouse, collection, rows, over_newer=True)
    attribution.write_collection(collection, warehouse)
    return Rebuilt(collection, kept, len(rows), tuple(refused))


def _is_right(row: Row | None, path: Path) -> bool:
    if row is None or row["status"] != "complete":
        return False
    return bool(row["archive_bytes"] == path.stat().st_size and row["sha256"] == _sha256(path))


def _series(collection: str, warehouse: Warehouse) -> dict[str, Row]:
    rows = warehouse.query(
        "SELECT s.SeriesInstanceUID, s.ImageCount, s.fingerprint, s.LicenseName, "
        "s.DataDescriptionURI, coalesce(s.FileSize, z.TotalSizeInBytes) AS image_bytes "
        "FROM series AS s LEFT JOIN series_sizes AS z "
        "ON z.SeriesInstanceUID = s.SeriesInstanceUID AND z.fingerprint = s.fingerprint "
        "WHERE s.Collection = $collection",
        {"collection": collection},
    )
    return {row["SeriesInstanceUID"]: row for row in rows.to_pylist()}


def _made(path: Path, collection: str, series: Row | None, source: str) -> Row:
    told: Mapping[str, Any] = series or {}
    uid, stat = path.stem, path.stat()
    proof = accept(path, Expectation(uid, told.get("ImageCount"), told.get("image_bytes")))
    return {
        "SeriesInstanceUID": uid,
        "Collection": collection,
        "status": "complete",
        "path": zip_path(collection, uid),
        "archive_bytes": stat.st_size,
        "image_count": proof.image_count,
        "image_bytes": proof.image_bytes,
        "sha256": _sha256(path),
        "verified_by": proof.verified_by,
        "fingerprint": told.get("fingerprint"),
        "license_name": told.get("LicenseName"),
        "DataDescriptionURI": told.get("DataDescriptionURI"),
        "source": source,
        "fetched_at": datetime.fromtimestamp(stat.st_mtime, UTC),
        "attempts": 0,
        "error": None,
    }


# --- The archive's own hashes -------------------------------------------------------------------


@dataclass(frozen=True)
class Audited:
    """What the archive's hashes say of a Collection's Series that are complete here.

    `equal` are proven to hold what the archive's database believes; `differing` are not; `unasked`
    were left when the questions were used up.
    """

    collection: str
    equal: int
    differing: tuple[str, ...]
    unasked: int
    questions: int


def audit(
    collection: str,
    client: ArchiveClient,
    warehouse: Warehouse,
    *,
    most_questions: int = MOST_QUESTIONS,
    sample: int | None = None,
) -> Audited:
    """Compares hashes made from the `images` table with the archive's, from the top down.

    One question proves a whole Collection where all of it is here; below, only what differs or is
    not wholly here is asked for. `sample` asks for so many Series instead, others each day.

    Raises:
        UnknownName: the dialect has no getMD5Hierarchy.
    """
    client.dialect.endpoint(_HIERARCHY)
    leaves = _leaves(collection, warehouse)
    walk = _Walk(client, collection, most_questions)
    if sample is None:
        walk.down(leaves, _LEVELS)
    else:
        walk.each(_sample([leaf for leaf in leaves if leaf["hash"]], sample))
    return Audited(
        collection, walk.equal, tuple(walk.differing), walk.unasked, most_questions - walk.left
    )


_HIERARCHY = "getMD5Hierarchy"
# From the top down: the column whose value makes a group of Series a node, and what it is asked by.
_LEVELS = (
    ("Collection", ("Collection",)),
    ("PatientID", ("Collection", "PatientID")),
    ("StudyInstanceUID", ("StudyInstanceUID",)),
)


def _leaves(collection: str, warehouse: Warehouse) -> list[Row]:
    """Each listed Series with the hash of what is here, null where it is not wholly here."""
    rows: list[Row] = warehouse.query(
        """
        SELECT s.Collection, s.PatientID, s.StudyInstanceUID, s.SeriesInstanceUID, i.hash
        FROM current_series AS s LEFT JOIN (
            SELECT SeriesInstanceUID, md5(string_agg(lower(md5), '' ORDER BY lower(md5))) AS hash
            FROM images JOIN image_archives AS a USING (SeriesInstanceUID)
            WHERE images.Collection = $collection AND archive_sha256 = a.sha256
            AND a.status = 'complete'
            GROUP BY SeriesInstanceUID HAVING count(md5) = count(*)
        ) AS i USING (SeriesInstanceUID)
        WHERE s.Collection = $collection AND s.missing_since IS NULL
        ORDER BY ALL
        """,
        {"collection": collection},
    ).to_pylist()
    return rows


class _Walk:
    """Questions to the archive's tree of hashes, and what they have shown of the Series below."""

    def __init__(self, client: ArchiveClient, collection: str, most_questions: int) -> None:
        self._client, self._collection, self.left = client, collection, most_questions
        self.equal, self.unasked = 0, 0
        self.differing: list[str] = []

    def down(self, leaves: list[Row], levels: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        """Settles these Series, by one question a node where that can do."""
        if not levels:
            self.each(leaves)
            return
        (column, asked_by), *below = levels
        for node in _grouped(leaves, column):
            if len(node) > 1 and all(leaf["hash"] for leaf in node) and self.left:
                self.left -= 1
                filters = {name: node[0][name] for name in asked_by}
                if self._client.ask_text(_HIERARCHY, **filters) == _hash(node, below):
                    self.equal += len(node)
                    continue
            self.down(node, below)

    def each(self, leaves: list[Row]) -> None:
        """Settles these Series one by one; those that are not here are not looked at."""
        for leaf in leaves:
            if leaf["hash"] is None:
                continue
            if not self.left:
                self.unasked += 1
                continue
            self.left -= 1
            uid = leaf["SeriesInstanceUID"]
            if self._client.ask_text(_HIERARCHY, SeriesInstanceUID=uid) == leaf["hash"]:
                self.equal += 1
            else:
                self.differing.append(uid)


def _grouped(leaves: list[Row], column: str) -> list[list[Row]]:
    groups: dict[str, list[Row]] = {}
    for leaf in leaves:
        groups.setdefault(leaf[column], []).append(leaf)
    return list(groups.values())


def _hash(node: list[Row], below: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """The hash of a node, made from its Series' hashes through the levels below it."""
    if not below:
        return hash_of(leaf["hash"] for leaf in node)
    (column, _), *rest = below
    return hash_of(_hash(child, rest) for child in _grouped(node, column))
