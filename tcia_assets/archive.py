"""The images of selected Series: planned, fetched, proven, kept, and listed in a manifest.

What belongs here: which zips to fetch, and the one way in which a zip gets its name. What does not:
when a zip is good (`acceptance.py`), what HTTP does (`client`), and Dagster (`defs/`).

Nothing has its final name before it is proven whole; what was complete before stays until then.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from tcia_assets import dicom
from tcia_assets.acceptance import Expectation, Proof, accept
from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.client import ArchiveClient
from tcia_assets.conform import conform, empty
from tcia_assets.errors import (
    BadArchive,
    NotPublic,
    RequestRefused,
    TciaError,
    UnknownReply,
    UnreadableReply,
    UsageError,
)
from tcia_assets.selection import Selection
from tcia_assets.warehouse import Warehouse

_SAVE_EVERY_S = 5.0
# A zip is seldom larger than what it holds; this covers LICENSE, MD5 list and directory.
_SPARE_BYTES = 1 << 30
# Headers, directory entry and MD5 line of an object; LICENSE, and what deflate may add.
_BYTES_BESIDE_AN_OBJECT = 1 << 10
_BYTES_BESIDE_ALL = 1 << 20

STATUSES = ("complete", "incomplete", "unavailable", "failed")

# Whether the zip `a` holds what the Series `s` is now. A fingerprint also changes with a licence, a
# description or the dialect that is asked; none of these is a reason to fetch the bytes again.
_SAME_BYTES = """(
    a.fingerprint = s.fingerprint OR (
        a.image_count = s.ImageCount
        AND coalesce(a.image_bytes = s.FileSize, true)
        AND coalesce(s.MaxSubmissionTimestamp::DATE < a.fetched_at::DATE, true)
    )
)"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """A Series that is selected and not on disk as the archive now describes it."""

    series_instance_uid: str
    image_count: int | None
    file_size: int | None
    fingerprint: str
    license_name: str | None
    attempts: int

    @property
    def expected(self) -> Expectation:
        return Expectation(self.series_instance_uid, self.image_count, self.file_size)


@dataclass(frozen=True)
class Plan:
    """What a run will fetch of a Collection, what it leaves to the next, what is there already."""

    collection: str
    now: tuple[Wanted, ...]
    later: tuple[Wanted, ...]
    complete: int

    @property
    def bytes_now(self) -> int:
        """Bytes to fetch, as far as the archive told sizes."""
        return sum(w.file_size or 0 for w in self.now)

    @property
    def bytes_later(self) -> int:
        return sum(w.file_size or 0 for w in self.later)


@dataclass(frozen=True)
class Progress:
    """How far a run is: Series and bytes, of those planned."""

    done: int
    planned: int
    bytes_done: int


def plan(collection: str, selection: Selection, warehouse: Warehouse) -> Plan:
    """Compares the selection with the manifest and the disk; small Series first."""
    rows = warehouse.query(
        f"""
        SELECT s.SeriesInstanceUID, s.ImageCount, s.FileSize, s.fingerprint, s.LicenseName,
               coalesce(a.attempts, 0) AS attempts, a.path, a.archive_bytes,
               a.status = 'complete' AND {_SAME_BYTES} AS complete
        FROM (SELECT * FROM current_series WHERE Collection = $collection
              AND {selection.predicate}) AS s
        LEFT JOIN (SELECT * FROM image_archives WHERE Collection = $collection) AS a
        USING (SeriesInstanceUID)
        ORDER BY s.FileSize NULLS LAST, s.SeriesInstanceUID
        """,
        {"collection": collection},
    ).to_pylist()
    there = [row for row in rows if row["complete"] and _lies_whole(warehouse.root, row)]
    known = {row["SeriesInstanceUID"] for row in there}
    wanted = [_wanted(row) for row in rows if row["SeriesInstanceUID"] not in known]
    fits = _within(wanted, selection)
    return Plan(collection, tuple(wanted[:fits]), tuple(wanted[fits:]), len(there))


def pending_images(selection: Selection, warehouse: Warehouse) -> dict[str, list[str]]:
    """UID and fingerprint of selected Series not yet tried as they are now, by Collection."""
    rows = warehouse.query(
        f"""
        SELECT s.Collection, s.SeriesInstanceUID || ' ' || s.fingerprint AS mark
        FROM (SELECT * FROM current_series WHERE {selection.predicate}) AS s
        ANTI JOIN image_archives AS a
        ON s.SeriesInstanceUID = a.SeriesInstanceUID
        AND (s.fingerprint = a.fingerprint OR (a.status = 'complete' AND {_SAME_BYTES}))
        ORDER BY ALL
        """
    ).to_pylist()
    pending: dict[str, list[str]] = {}
    for row in rows:
        pending.setdefault(row["Collection"], []).append(row["mark"])
    return pending


def fetch(
    collection: str,
    selection: Selection,
    client: ArchiveClient,
    warehouse: Warehouse,
    *,
    planned: Callable[[Plan], None] = lambda _: None,
    report: Callable[[Progress], None] = lambda _: None,
) -> tuple[Plan, pa.Table]:
    """Fetches what is selected and not here; the plan, and the manifest as it then is on disk.

    The manifest is kept as results arrive. A Series that cannot be had is a row that says why, not
    an exception. Raises UsageError, with the numbers and before the first byte, where the disk
    cannot hold the plan.
    """
    dicom.require()
    # The plan is made under the lock: two runs that plan at once would fetch everything twice.
    with warehouse.lock(IMAGE_ARCHIVES, collection):
        chosen = plan(collection, selection, warehouse)
        planned(chosen)
        _demand_space(chosen, warehouse.root)
        _remove_drafts(warehouse.root / zip_path(collection, ""))
        manifest = _Manifest(warehouse, collection)
        try:
            for done, row in enumerate(_fetched(chosen, client, warehouse, manifest), start=1):
                manifest.put(row)
                report(Progress(done, len(chosen.now), manifest.new_bytes))
        finally:
            manifest.save()
        return chosen, manifest.table()


def zip_path(collection: str, series_instance_uid: str) -> str:
    """Where a Series' zip lies, relative to the data root."""
    return f"archives/{quote(collection, safe='')}/{series_instance_uid}.zip"


def _lies_whole(root: Path, row: Row) -> bool:
    path = root / str(row["path"])
    return path.is_file() and path.stat().st_size == row["archive_bytes"]


def _wanted(row: Row) -> Wanted:
    return Wanted(
        row["SeriesInstanceUID"],
        row["ImageCount"],
        row["FileSize"],
        row["fingerprint"],
        row["LicenseName"],
        row["attempts"],
    )


def _within(wanted: list[Wanted], selection: Selection) -> int:
    """How many of the wanted fit into one run; one at least, or a large Series would never come."""
    total = 0
    for place, each in enumerate(wanted[: selection.max_series_per_run]):
        total += each.file_size or 0
        if place and total > selection.max_bytes_per_run:
            return place
    return min(len(wanted), selection.max_series_per_run)


def _demand_space(plan: Plan, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if plan.now and plan.bytes_now + _SPARE_BYTES > free:
        wanted, spare = plan.bytes_now / 1e9, _SPARE_BYTES / 1e9
        raise UsageError(
            f"{plan.collection}: {len(plan.now)} Series of {wanted:.1f} GB do not fit: "
            f"{free / 1e9:.1f} GB are free at {root}, and {spare:.1f} GB are kept free"
        )


def _fetched(
    plan: Plan, client: ArchiveClient, warehouse: Warehouse, manifest: _Manifest
) -> Iterator[Row]:
    """The manifest rows, as the Series arrive."""
    with ThreadPoolExecutor(client.settings.max_connections) as pool:
        futures: list[Future[Row]] = [
            pool.submit(_fetch_one, wanted, plan.collection, client, warehouse.root, manifest.old)
            for wanted in plan.now
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _fetch_one(
    wanted: Wanted, collection: str, client: ArchiveClient, root: Path, old: dict[str, Row]
) -> Row:
    uid = wanted.series_instance_uid
    row: Row = {
        "SeriesInstanceUID": uid,
        "Collection": collection,
        "fingerprint": wanted.fingerprint,
        "license_name": wanted.license_name,
        "source": client.settings.source,
        "fetched_at": datetime.now(UTC),
        "attempts": 0,
    }
    path = zip_path(collection, uid)
    try:
        there = _adopted(wanted, root / path) if uid not in old else None
        kept = there or _kept(wanted, client, root / path)
        return row | {"status": "complete", "path": path} | kept
    except TciaError as error:
        verdict = _verdict(error) | {"attempts": wanted.attempts + 1, "error": str(error)}
        # An earlier complete copy stays, and the manifest goes on saying where it is.
        earlier = {k: old[uid][k] for k in _ON_DISK} if uid in old else {}
        return row | earlier | verdict


_ON_DISK = (
    "path",
    "fingerprint",
    "archive_bytes",
    "image_count",
    "image_bytes",
    "sha256",
    "verified_by",
)


def _verdict(error: TciaError) -> Row:
    if isinstance(error, NotPublic):
        return {"status": "unavailable"}
    return {"status": "incomplete" if isinstance(error, BadArchive) else "failed"}


def _adopted(wanted: Wanted, path: Path) -> Row | None:
    """What is proven of a zip that has its name but no row: a run was killed in between."""
    if not path.is_file():
        return None
    try:
        proof = accept(path, wanted.expected)
    except BadArchive:
        return None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return _facts(proof, path.stat().st_size, sha256)


def _facts(proof: Proof, archive_bytes: int, sha256: str) -> Row:
    return {
        "archive_bytes": archive_bytes,
        "image_count": proof.image_count,
        "image_bytes": proof.image_bytes,
        "sha256": sha256,
        "verified_by": proof.verified_by,
    }


def _kept(wanted: Wanted, client: ArchiveClient, path: Path) -> Row:
    """Fetches the zip to a draft, proves it, gives it its name; each route has its chance."""
    problem: TciaError | None = None
    for endpoint in _routes(client):
        try:
            return _kept_by(endpoint, wanted, client, path)
        except NotPublic:
            raise
        except (BadArchive, RequestRefused, UnreadableReply, UnknownReply) as error:
            problem = error
    raise problem or BadArchive("no route to it", table=IMAGE_ARCHIVES.name)


def _routes(client: ArchiveClient) -> list[str]:
    """The endpoints that give a Series' zip, best proof first."""
    with_md5 = client.dialect.has("getImageWithMD5Hash")
    if dict(client.dialect.endpoint("getImage").always).get("IncludeMD5"):
        return ["getImage", "getImageWithMD5Hash"]
    return ["getImageWithMD5Hash", "getImage"] if with_md5 else ["getImage", "getImage"]


def _kept_by(endpoint: str, wanted: Wanted, client: ArchiveClient, path: Path) -> Row:
    with _draft(path) as draft:
        uid, most = wanted.series_instance_uid, _most_bytes(wanted)
        got = client.download(endpoint, draft, most_bytes=most, SeriesInstanceUID=uid)
        proof = accept(draft, wanted.expected)
        _publish(draft, path)
    return _facts(proof, got.size_bytes, got.sha256)


def _most_bytes(wanted: Wanted) -> int | None:
    """What a zip of this Series can be at most: a hostile one need not be fetched to its end."""
    if wanted.file_size is None or wanted.image_count is None:
        return None
    return wanted.file_size + wanted.image_count * _BYTES_BESIDE_AN_OBJECT + _BYTES_BESIDE_ALL


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file beside `path` that is gone afterwards, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _remove_drafts(some: Path) -> None:
    """Removes what killed runs left; to be called by whoever holds the Collection's lock."""
    for draft in some.parent.glob(".*.draft"):
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _Manifest:
    """The manifest of a Collection while a run adds to it; on disk at most seconds behind."""

    def __init__(self, warehouse: Warehouse, collection: str) -> None:
        self._warehouse, self._collection = warehouse, collection
        stored = (
            warehouse.read(IMAGE_ARCHIVES, [collection])
            if warehouse.has(IMAGE_ARCHIVES, collection)
            else empty(IMAGE_ARCHIVES)
        )
        self.old: dict[str, Row] = {row["SeriesInstanceUID"]: row for row in stored.to_pylist()}
        self._rows = dict(self.old)
        self._saved_at = time.monotonic()
        self.new_bytes = 0

    def put(self, row: Row) -> None:
        self._rows[row["SeriesInstanceUID"]] = row
        self.new_bytes += row.get("archive_bytes") or 0
        if time.monotonic() - self._saved_at > _SAVE_EVERY_S:
            self.save()

    def table(self) -> pa.Table:
        rows = pa.Table.from_pylist(list(self._rows.values()), schema=IMAGE_ARCHIVES.schema)
        return conform(IMAGE_ARCHIVES, rows)

    def save(self) -> None:
        self._warehouse.write(IMAGE_ARCHIVES, self.table(), self._collection)
        self._saved_at = time.monotonic()
