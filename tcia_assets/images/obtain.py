"""One Series: its routes, its proof, its name.

What belongs here: what is tried in which order, and what becomes of what fails. What does not: how
many Series at once, and the manifest (`fetch.py`).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import (
    BadArchive,
    Busy,
    NotPublic,
    RemoteError,
    RequestRefused,
    Stopped,
    StorageError,
    TciaError,
    TooLarge,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.images.acceptance import (
    Expectation,
    Inspection,
    Member,
    Proof,
    accept,
    inspect,
    pack,
)
from tcia_assets.images.md5_hierarchy import hash_of
from tcia_assets.images.places import (
    claimed,
    draft_of,
    drafted_from,
    published_on,
    quarantine_path,
    singles_of,
    zip_path,
)
from tcia_assets.images.plan import Wanted
from tcia_assets.sources import Source
from tcia_assets.store.files import publish_draft, sha256_of

Row = dict[str, Any]

# Headers, directory entry and MD5 line of an object; LICENSE, and what deflate may add.
_BYTES_BESIDE_AN_OBJECT = 1 << 10
_BYTES_BESIDE_ALL = 1 << 20
# Objects asked for singly to complete a zip: that many in any case, of a large Series half, and
# never more than the last. An MD5 that the archive's database lacks ends each zip at that image, so
# that the rest can only be had singly, however often one asks; but each is a request of its own.
_FEW_SINGLE_IMAGES = 100
_SHARE_OF_SINGLE_IMAGES = 0.5
_MOST_SINGLE_IMAGES = 2_000
_LARGE_BYTES = 32 << 20
_CORES = os.cpu_count() or 1
# Proving is work of the processor: more at once than cores would only take memory.
_proving = threading.BoundedSemaphore(_CORES)
# What another route may still set right, beside a bad zip.
_ANOTHER_ROUTE = (RequestRefused, TooLarge, UnreadableReply, UnknownReply)
_ON_DISK = (
    "path",
    "archive_bytes",
    "image_count",
    "image_bytes",
    "sha256",
    "verified_by",
)


@dataclass(frozen=True)
class Obtained:
    """The manifest's row of a Series, and what stood in the way where it is not complete."""

    row: Row
    error: TciaError | None = None


@dataclass(frozen=True)
class _Kept:
    """What lies on disk under the Series' name."""

    proof: Proof
    archive_bytes: int
    sha256: str

    @property
    def facts(self) -> Row:
        return {
            "archive_bytes": self.archive_bytes,
            "image_count": self.proof.image_count,
            "image_bytes": self.proof.image_bytes,
            "sha256": self.sha256,
            "verified_by": self.proof.verified_by,
        }


def obtain(
    wanted: Wanted,
    collection: str,
    source: Source,
    root: Path,
    known: Row | None,
    on_bytes: Callable[[int], None],
    earlier: Sequence[str] = (),
) -> Obtained:
    """The Series is on disk, whole, or its row says why not; `known` is its row so far.

    `earlier` are Collections from which it came: where its zip lies there, it is not fetched again.

    Raises:
        Busy: another run is working on it.
        StorageError: the disk refuses.
        Stopped: the source was stopped meanwhile; that says nothing about the Series.
    """
    uid = wanted.series_instance_uid
    path = root / zip_path(collection, uid)
    row: Row = {
        "SeriesInstanceUID": uid,
        "Collection": collection,
        "fingerprint": wanted.fingerprint,
        "license_name": wanted.license_name,
        "DataDescriptionURI": wanted.description_uri,
        "source": source.name,
        "attempts": 0,
    }
    old: Row = {}
    try:
        with claimed(path):
            sha256 = sha256_of(path) if path.is_file() else ""
            # An earlier copy that is as it was proven stays, and the manifest goes on saying where.
            if known and known["sha256"] == sha256:
                old = {name: known[name] for name in _ON_DISK}
            series = _Series(
                wanted, source, path, root / quarantine_path(collection, uid), on_bytes
            )
            kept = (
                (series.adopted(sha256) if sha256 and not old else None)
                or series.brought([root / zip_path(name, uid) for name in earlier])
                or series.fetched()
            )
    except (Busy, StorageError, Stopped):
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    except TciaError as error:
        verdict = _verdict(error) | {"attempts": wanted.attempts + 1, "error": _words(error)}
        return Obtained(row | old | verdict | _now(), error)
    place = {"status": "complete", "path": zip_path(collection, uid)}
    return Obtained(row | place | kept.facts | _now())


def _now() -> Row:
    return {"fetched_at": datetime.now(UTC)}


def _verdict(error: TciaError) -> Row:
    if isinstance(error, NotPublic):
        return {"status": "unavailable"}
    is_another = isinstance(error, BadArchive | TooLarge)
    return {"status": "incomplete" if is_another else "failed"}


def _words(error: TciaError) -> str:
    """Without the table and the key, between which these words will stand."""
    return error.problem if isinstance(error, BadArchive) else str(error)


def _proven(path: Path, expected: Expectation) -> Proof:
    """As `accept`, with as many threads as are worth it."""
    with _proving:
        return accept(path, expected, workers=_threads(path))


def _inspected(path: Path, expected: Expectation) -> Inspection:
    """As `inspect`, likewise."""
    with _proving:
        return inspect(path, expected, workers=_threads(path))


def _threads(path: Path) -> int:
    """All cores for a large zip, and one each for small ones."""
    return _CORES if path.stat().st_size > _LARGE_BYTES else 1


@dataclass(frozen=True)
class _Refused:
    """The zip in quarantine: why it was refused, and how many good images single ones can join."""

    error: BadArchive
    good: int


@dataclass(frozen=True)
class _Series:
    """A Series that is here already, or is fetched, by each route until one gives it whole."""

    wanted: Wanted
    source: Source
    path: Path
    quarantine: Path
    on_bytes: Callable[[int], None]

    # --- What is here already -------------------------------------------------------------------

    def adopted(self, sha256: str) -> _Kept | None:
        """What is proven of a zip that has its name but no row: a run was killed in between.

        Which version it is only the archive can tell: another may have as many images, as large.
        """
        proof = self._sound(self.path)
        if proof is None or self._archives_hash() != _hash(proof):
            return None
        return _Kept(proof, self.path.stat().st_size, sha256)

    def brought(self, places: Sequence[Path]) -> _Kept | None:
        """What is proven of a zip that lay in another Collection: now it lies here."""
        for place in places:
            proof = self._sound(place) if place.is_file() else None
            if proof is None or not self._is_newest(proof, place):
                continue
            kept = _Kept(proof, place.stat().st_size, sha256_of(place))
            with drafted_from(place, self.path) as draft:
                publish_draft(draft, self.path)
            return kept
        return None

    def _sound(self, path: Path) -> Proof | None:
        """What a zip is proven to hold; None where it is to be fetched instead."""
        try:
            return _proven(path, self.wanted.expected)
        except BadArchive:
            return None

    def _is_newest(self, proof: Proof, path: Path) -> bool:
        """Whether the archive's hash says so or, where it tells none, the day of its submission."""
        if told := self._archives_hash():
            return told == _hash(proof)
        submitted = self.wanted.submitted_on
        return submitted is None or submitted < published_on(path)

    # --- What is fetched ------------------------------------------------------------------------

    def fetched(self) -> _Kept:
        """Raises what stood in the way on the route that came furthest."""
        draft = draft_of(self.path)
        try:
            return self._by_routes(draft)
        except BadArchive as problem:
            return self._completed(draft, problem)
        finally:
            draft.unlink(missing_ok=True)

    def _by_routes(self, draft: Path) -> _Kept:
        best: _Refused | None = None
        problems: list[TciaError] = []
        routes = self.source.zip_routes
        # Where there is only one, it has a second chance.
        for route in routes if len(routes) > 1 else routes * 2:
            try:
                return self._by(route, draft)
            except BadArchive as error:
                best = self._better(best, draft, route, error)
            except _ANOTHER_ROUTE as error:
                if isinstance(error, NotPublic):
                    raise
                problems.append(error)
        raise best.error if best else problems[-1]

    def _by(self, route: str, draft: Path) -> _Kept:
        got = self.source.fetch_zip(
            route,
            self.wanted.series_instance_uid,
            draft,
            max_bytes=_most_bytes(self.wanted),
            on_bytes=self.on_bytes,
        )
        proof = _proven(draft, self.wanted.expected)
        return self._publish(draft, _Kept(proof, got.size_bytes, got.sha256))

    def _publish(self, draft: Path, kept: _Kept) -> _Kept:
        publish_draft(draft, self.path)
        self.quarantine.unlink(missing_ok=True)
        self._reason.unlink(missing_ok=True)
        return kept

    # --- What fails -----------------------------------------------------------------------------

    @property
    def _reason(self) -> Path:
        return self.quarantine.with_suffix(".json")

    def _better(
        self, best: _Refused | None, draft: Path, route: str, error: BadArchive
    ) -> _Refused:
        """Which of the refused zips of this run is in quarantine now: the best, then the newest."""
        refused = _Refused(error, self._good(draft))
        if best and best.good > refused.good:
            return best
        self._refuse(draft, route, error)
        return refused

    def _good(self, draft: Path) -> int:
        """How many good images a zip has; less than none where nothing in it may be used."""
        try:
            return len(_inspected(draft, self.wanted.expected).members)
        except BadArchive:
            return -1

    def _refuse(self, draft: Path, route: str, error: BadArchive) -> None:
        """Moves a refused zip to where a person can look at it."""
        self.quarantine.parent.mkdir(parents=True, exist_ok=True)
        said = {
            "SeriesInstanceUID": self.wanted.series_instance_uid,
            "endpoint": route,
            "source": self.source.name,
            "refused_at": datetime.now(UTC).isoformat(),
            "reason": error.problem,
        }
        self._reason.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        draft.replace(self.quarantine)

    # --- A zip that lacks objects, completed one by one -------------------------------------------

    def _completed(self, draft: Path, problem: BadArchive) -> _Kept:
        """The refused zip with the objects that it lacks; raises `problem` where that fails too."""
        try:
            missing, good, uids = self._gap()
            with singles_of(self.path) as place:
                # Not by their names: those come from the network.
                paths = {uid: place / f"{n}.dcm" for n, uid in enumerate(missing)}
                for uid, path in paths.items():
                    self._single(uid, path)
                extra = {f"{uid}.dcm": path for uid, path in paths.items()}
                pack(self.quarantine, good, extra, draft)
            proof = _proven(draft, replace(self.wanted.expected, sop_instance_uids=uids))
            proof = replace(proof, verified_by=self._strength(proof))
        except _NoGap:
            raise problem from None
        except (RemoteError, BadArchive) as error:
            if error.problem == problem.problem:  # bad as a whole: nothing in it can be used
                raise problem from None
            words = f"{problem.problem}; nor could single images complete it: {error.problem}"
            raise self._bad(words) from error
        return self._publish(draft, _Kept(proof, draft.stat().st_size, sha256_of(draft)))

    def _gap(self) -> tuple[list[str], tuple[Member, ...], frozenset[str]]:
        """What the refused zip lacks, its good members, and all that the archive lists."""
        uids = self.source.object_uids(self.wanted.series_instance_uid)
        if uids is None:
            raise _NoGap
        expected = replace(self.wanted.expected, sop_instance_uids=uids)
        found = _inspected(self.quarantine, expected)
        if not 0 < len(found.missing) <= _most_singles(len(uids)):
            raise _NoGap
        return sorted(found.missing), found.members, uids

    def _single(self, sop_instance_uid: str, path: Path) -> None:
        self.source.fetch_object(
            self.wanted.series_instance_uid,
            sop_instance_uid,
            path,
            max_bytes=_most_bytes(self.wanted),
            on_bytes=self.on_bytes,
        )

    def _strength(self, proof: Proof) -> str:
        """The MD5 list of a completed zip is ours; the archive's own word is asked for.

        Its hash of a Series of which it has not all MD5s is never right (it strings "null" in).
        """
        if self._archives_hash() == _hash(proof):
            return "md5"
        return "count" if self.wanted.image_bytes is None else "count+size"

    def _archives_hash(self) -> str:
        """The archive's own hash of the Series; "" where it tells none: count and size do then."""
        if not self.source.hash_levels:
            return ""
        uid = self.wanted.series_instance_uid
        try:
            return self.source.md5_hash(SeriesInstanceUID=uid)
        except RemoteError:
            return ""

    def _bad(self, problem: str) -> BadArchive:
        uid = self.wanted.series_instance_uid
        return BadArchive(problem, table=IMAGE_ARCHIVES.name, key=uid)


class _NoGap(Exception):
    """There is nothing that single images could set right."""


def _hash(proof: Proof) -> str:
    """The hash that the archive has of a Series with these objects."""
    return hash_of(member.md5 for member in proof.members)


def _most_singles(image_count: int) -> int:
    """How many images of a Series may be asked for singly."""
    share = int(image_count * _SHARE_OF_SINGLE_IMAGES)
    return min(max(_FEW_SINGLE_IMAGES, share), _MOST_SINGLE_IMAGES)


def _most_bytes(wanted: Wanted) -> int | None:
    """What a zip of this Series can be at most: a hostile one need not be fetched to its end."""
    if wanted.image_bytes is None or wanted.image_count is None:
        return None
    return wanted.image_bytes + wanted.image_count * _BYTES_BESIDE_AN_OBJECT + _BYTES_BESIDE_ALL
