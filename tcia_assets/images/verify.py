"""Whether what lies on disk is still what was proven, and whether the archive has the same.

What belongs here: looking again, and saying so in the manifest. What does not: fetching again what
is found damaged; the next fetch does that.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import BadArchive, RemoteError, UnknownReply, UsageError
from tcia_assets.images import manifest
from tcia_assets.images.acceptance import Expectation, Proof, accept, md5_list
from tcia_assets.images.md5_hierarchy import contents, hash_of
from tcia_assets.images.places import folder, published_on, zip_path
from tcia_assets.images.plan import Shard
from tcia_assets.metadata import attribution
from tcia_assets.sources import Source
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse

Row = dict[str, Any]
Report = Callable[[int, int], None]
T = TypeVar("T")
R = TypeVar("R")

_WORKERS = 2
# What a rebuild has made by then outlives it.
_FOLD_EVERY_S = 5.0
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
    just_proven: frozenset[str] = frozenset(),
    report: Report = lambda _done, _total: None,
) -> Verified:
    """Compares the zips of a Collection with their manifest: there, of that size, of that SHA-256.

    `deep` inflates each and proves it anew. `sample` looks at so many, others each day. Series that
    the caller has `just_proven` are left out. What is complete and damaged is `failed` in the
    manifest from then on, so that the next fetch has it again; the zip of a Series with another
    verdict is told only. What another run has fetched meanwhile is left alone.
    """
    rows = [row for row in manifest.read(warehouse, collection).to_pylist() if row["path"]]
    older = [row for row in rows if row["SeriesInstanceUID"] not in just_proven]
    chosen = older if sample is None else _sample(older, sample)
    problems: dict[str, str] = {}
    changes: list[tuple[Row | None, Row]] = []
    with closing(_each(lambda row: _problem(row, warehouse.root, deep=deep), chosen)) as looks:
        for done, (row, problem) in enumerate(looks, start=1):
            if problem:
                problems[row["SeriesInstanceUID"]] = problem
                changes.append((row, _marked(row, problem)))
            report(done, len(chosen))
    stand = manifest.amend(warehouse, collection, changes)
    damaged = [row["SeriesInstanceUID"] for row in stand]
    known = {row["path"] for row in rows}
    there = (warehouse.root / folder(collection)).glob("*.zip")
    strays = [p.name for p in sorted(there) if zip_path(collection, p.stem) not in known]
    return Verified(
        collection,
        len(chosen),
        sum(row["archive_bytes"] for row in chosen),
        tuple(Damage(uid, problems[uid]) for uid in damaged),
        tuple(strays),
    )


def _each(look: Callable[[T], R], things: Sequence[T]) -> Generator[tuple[T, R]]:
    """Each thing with what a look at it gave; closed, it looks at no more."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            yield from zip(things, pool.map(look, things), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _sample(rows: Sequence[Row], size: int) -> list[Row]:
    """So many rows, the same all day and others tomorrow."""
    today = datetime.now(UTC).date().isoformat()

    def place(row: Row) -> bytes:
        return hashlib.sha256(f"{today} {row['SeriesInstanceUID']}".encode()).digest()

    return sorted(rows, key=place)[:size]


def _problem(row: Row, root: Path, *, deep: bool) -> str:
    """What is wrong with a zip; "" where nothing is."""
    try:
        return _difference(row, root / row["path"], deep=deep)
    except OSError as error:
        return _unreadable(error)


def _difference(row: Row, path: Path, *, deep: bool) -> str:
    if not path.is_file():
        return f"its zip is gone: {row['path']}"
    size = path.stat().st_size
    if size != row["archive_bytes"]:
        return f"its zip has {size} bytes where {row['archive_bytes']} were proven"
    if sha256_of(path) != row["sha256"]:
        return "its zip has changed since it was proven: another SHA-256"
    try:
        if deep:
            _proven(row, path)
    except BadArchive as error:
        return error.problem
    return ""


def _proven(row: Row, path: Path) -> Proof:
    expected = Expectation(row["SeriesInstanceUID"], row["image_count"], row["image_bytes"])
    return accept(path, expected, workers=1)


def _unreadable(error: OSError) -> str:
    return f"its zip cannot be read: {error.strerror or error}"


def _marked(row: Row, problem: str) -> Row:
    """The row as it is from now on: a verdict on why a Series cannot be had stays."""
    if row["status"] != "complete":
        return row
    return row | {
        "status": "failed",
        "error": f"{problem}; fetch its Collection to have it again",
        "fetched_at": datetime.now(UTC),
    }


# --- The manifest, made anew from the files -----------------------------------------------------


@dataclass(frozen=True)
class Rebuilt:
    """What was made of a Collection's zips: rows that were right, rows made, zips refused.

    `set_aside` is where the old manifest lies now, below the root, where it could not be read.
    """

    collection: str
    kept: int
    made: int
    refused: tuple[Damage, ...]
    set_aside: str = ""


def set_aside(collections: Sequence[str], warehouse: Warehouse) -> dict[str, str]:
    """Moves the manifests of these Collections that cannot be read to quarantine, and says where.

    To be done for all that are to be rebuilt before the first is: what is asked of one Collection's
    manifest DuckDB asks of all files.
    """
    places = {name: manifest.set_aside(warehouse, name) for name in collections}
    return {name: place for name, place in places.items() if place}


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
    Rows are kept as they are made. A manifest that cannot be read is moved to quarantine.

    Raises:
        Busy: a fetch has worked on the Collection for ten minutes.
        StorageError: the disk refuses a row. Those made before are kept.
    """
    with warehouse.lock(IMAGE_ARCHIVES, collection, part=f"fetch-{Shard()}"):
        place = manifest.set_aside(warehouse, collection)
        made = _rebuilt(collection, warehouse, source, report)
        attribution.write_collection(collection, warehouse)
    return replace(made, set_aside=place)


def _rebuilt(collection: str, warehouse: Warehouse, source: str, report: Report) -> Rebuilt:
    paths = sorted((warehouse.root / folder(collection)).glob("*.zip"))
    known = {r["SeriesInstanceUID"]: r for r in manifest.read(warehouse, collection).to_pylist()}
    series = _series(collection, warehouse)

    def look(path: Path) -> Row | Damage:
        uid = path.stem
        return _looked(path, collection, known.get(uid), series.get(uid), source)

    made = 0
    refused: list[Damage] = []
    changes: list[tuple[Row | None, Row]] = []
    folded_at = time.monotonic()
    with closing(_each(look, paths)) as looks:
        for done, (path, found) in enumerate(looks, start=1):
            if isinstance(found, Damage):
                refused.append(found)
            elif found is not known.get(path.stem):
                changes.append((known.get(path.stem), found))
            if time.monotonic() - folded_at > _FOLD_EVERY_S:
                made += len(manifest.amend(warehouse, collection, changes))
                changes.clear()
                folded_at = time.monotonic()
            report(done, len(paths))
    made += len(manifest.amend(warehouse, collection, changes))
    if not warehouse.has(IMAGE_ARCHIVES, collection):
        manifest.fold(warehouse, collection, ())
    # What another run has fetched meanwhile is right without us.
    return Rebuilt(collection, len(paths) - made - len(refused), made, tuple(refused))


def _looked(
    path: Path, collection: str, row: Row | None, series: Row | None, source: str
) -> Row | Damage:
    """The row of a zip, which is the one that it has where that is right, or why it has none."""
    try:
        if not path.is_file():
            return Damage(path.stem, "it is no file")
        if row is not None and _is_right(row, path):
            return row
        return _made(path, collection, series, source)
    except BadArchive as error:
        return Damage(path.stem, error.problem)
    except OSError as error:
        return Damage(path.stem, _unreadable(error))


def _is_right(row: Row, path: Path) -> bool:
    if row["status"] != "complete":
        return False
    return bool(row["archive_bytes"] == path.stat().st_size and row["sha256"] == sha256_of(path))


def _series(collection: str, warehouse: Warehouse) -> dict[str, Row]:
    rows = warehouse.query(
        "SELECT s.SeriesInstanceUID, s.ImageCount, s.fingerprint, s.LicenseName, "
        "s.MaxSubmissionTimestamp::DATE AS submitted_on, "
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
    expected = Expectation(uid, told.get("ImageCount"), told.get("image_bytes"))
    proof = accept(path, expected, workers=1)
    # Another version may have as many images, as large: the days have to tell which one it is.
    submitted = told.get("submitted_on")
    is_settled = submitted is None or submitted < published_on(path)
    return {
        "SeriesInstanceUID": uid,
        "Collection": collection,
        "status": "complete",
        "path": zip_path(collection, uid),
        "archive_bytes": stat.st_size,
        "image_count": proof.image_count,
        "image_bytes": proof.image_bytes,
        "sha256": sha256_of(path),
        "verified_by": proof.verified_by,
        "fingerprint": told.get("fingerprint") if is_settled else None,
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

    `equal` are proven to hold what the archive's database believes; `differing` are not, and of
    those the archive knows the `unknown` no more. `unasked` were left when the questions were used
    up, or when the archive failed: `failure` says how. `not_compared` are complete here, but not
    indexed, or not listed by the archive any more.
    """

    collection: str
    equal: int
    differing: tuple[str, ...]
    unasked: int
    questions: int
    not_compared: int = 0
    unknown: tuple[str, ...] = ()
    failure: str = ""


def audit(
    collection: str,
    source: Source,
    warehouse: Warehouse,
    *,
    most_questions: int = MOST_QUESTIONS,
    sample: int | None = None,
    just_proven: frozenset[str] = frozenset(),
) -> Audited:
    """Compares hashes made from the `images` table with the archive's, from the top down.

    One question proves a whole Collection where all of it is here; below, only what differs or is
    not wholly here is asked for. `sample` asks for so many Series instead, others each day, and
    takes their hashes from the zips themselves: it needs no `images`. The zips of Series that the
    caller has `just_proven` are those that were proven; others are hashed first to see that.

    Raises:
        UsageError: the source gives no MD5 hashes.
    """
    require_hashes(source)
    leaves = _leaves(collection, warehouse)
    walk = _Walk(source, collection, most_questions)
    complete = _complete(collection, warehouse)
    if sample is None:
        comparable = [leaf["SeriesInstanceUID"] for leaf in leaves if leaf["hash"]]
        walk.down(leaves, [each for each in _LEVELS if each[0] in source.hash_levels])
    else:
        comparable = [u for leaf in leaves if (u := leaf["SeriesInstanceUID"]) in complete]
        chosen = _sample([complete[uid] for uid in comparable], sample)
        walk.each([_leaf_on_disk(row, warehouse.root, just_proven) for row in chosen])
    return Audited(
        collection,
        walk.equal,
        tuple(walk.differing),
        walk.unasked,
        walk.questions,
        len(complete.keys() - comparable),
        tuple(walk.unknown),
        walk.failure,
    )


def require_hashes(source: Source) -> None:
    """Raise UsageError if a source gives no MD5 hashes to compare with."""
    if not source.hash_levels:
        raise UsageError(f"{source.name} gives no MD5 hashes to compare the images with")


def _complete(collection: str, warehouse: Warehouse) -> dict[str, Row]:
    rows = manifest.read(warehouse, collection).to_pylist()
    return {row["SeriesInstanceUID"]: row for row in rows if row["status"] == "complete"}


def _leaf_on_disk(row: Row, root: Path, just_proven: frozenset[str]) -> Row:
    """A Series with the hash of its zip; a bad one has none that the archive could have."""
    path, uid = root / row["path"], row["SeriesInstanceUID"]
    try:
        is_fresh = uid in just_proven
        md5s = _listed_md5s(row, path, is_fresh=is_fresh) or [
            member.md5 for member in _proven(row, path).members
        ]
    except (BadArchive, OSError):
        return {"SeriesInstanceUID": uid, "hash": _NO_HASH}
    return {"SeriesInstanceUID": uid, "hash": hash_of(md5s)}


def _listed_md5s(row: Row, path: Path, *, is_fresh: bool) -> list[str]:
    """The MD5s in a zip that is the very one that was proven by them; none where it is not."""
    if row["verified_by"] != "md5":
        return []
    if not is_fresh and sha256_of(path) != row["sha256"]:
        return []
    with zipfile.ZipFile(path) as opened:
        return list(md5_list.read_from_zip(opened).values())


_NO_HASH = "none"
# From the top down: the column whose value makes a group of Series a node, and what it is asked by.
_LEVELS = (
    ("Collection", ("Collection",)),
    ("PatientID", ("Collection", "PatientID")),
    ("StudyInstanceUID", ("StudyInstanceUID",)),
)


def _leaves(collection: str, warehouse: Warehouse) -> list[Row]:
    """Each listed Series with the hash of what is here, null where it is not wholly here."""
    rows: list[Row] = warehouse.query(
        f"""
        SELECT s.Collection, s.PatientID, s.StudyInstanceUID, s.SeriesInstanceUID,
               i.content_md5 AS hash
        FROM current_series AS s LEFT JOIN (
            {contents("images.Collection = $collection AND a.status = 'complete'")}
        ) AS i USING (SeriesInstanceUID)
        WHERE s.Collection = $collection AND s.missing_since IS NULL
        ORDER BY ALL
        """,
        {"collection": collection},
    ).to_pylist()
    return rows


class _Walk:
    """Questions to the archive's tree of hashes, and what they have shown of the Series below."""

    def __init__(self, source: Source, collection: str, most_questions: int) -> None:
        self._source, self._collection, self._most = source, collection, most_questions
        self.equal, self.unasked, self.questions = 0, 0, 0
        self.differing: list[str] = []
        self.unknown: list[str] = []
        self.failure = ""

    @property
    def _may_ask(self) -> bool:
        return not self.failure and self.questions < self._most

    def _asked(self, **filters: str) -> str:
        """The archive's hash; "" where it knows no such thing, or fails: `failure` tells."""
        self.questions += 1
        try:
            return self._source.md5_hash(**filters)
        except UnknownReply:
            return ""
        except RemoteError as error:
            self.failure = str(error)
            return ""

    def down(self, leaves: list[Row], levels: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        """Settles these Series, by one question a node where that can do."""
        if not levels:
            self.each(leaves)
            return
        (column, asked_by), *below = levels
        for node in _grouped(leaves, column):
            if len(node) > 1 and all(leaf["hash"] for leaf in node) and self._may_ask:
                filters = {name: node[0][name] for name in asked_by}
                if self._asked(**filters) == _hash(node, below):
                    self.equal += len(node)
                    continue
            self.down(node, below)

    def each(self, leaves: list[Row]) -> None:
        """Settles these Series one by one; those that are not here are not looked at."""
        for leaf in leaves:
            if leaf["hash"] is None:
                continue
            uid = leaf["SeriesInstanceUID"]
            told = self._asked(SeriesInstanceUID=uid) if self._may_ask else None
            if told is None or self.failure:
                self.unasked += 1
            elif told == leaf["hash"]:
                self.equal += 1
            else:
                self.differing.append(uid)
                if not told:
                    self.unknown.append(uid)


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
