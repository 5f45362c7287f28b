"""Download the zip of a Series by the routes of its sources, and quarantine what is refused.

A refused zip that lacks objects is completed with these, downloaded one by one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import (
    ArchiveBroken,
    BadArchive,
    Busy,
    DataError,
    NotPublic,
    RemoteError,
    RequestRefused,
    TciaError,
    TooLarge,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.images.acceptance.completion import pack
from tcia_assets.images.acceptance.rules import Member
from tcia_assets.images.series_task import (
    SeriesTask,
    VerifiedZip,
    accept_zip,
    compare_with_source,
    inspect_zip,
    proof_hash,
)
from tcia_assets.images.zip_files import (
    draft_path,
    parts_path,
    second_draft_path,
    single_images_dir,
)
from tcia_assets.sources import Source
from tcia_assets.store.archives import ChangedFile
from tcia_assets.store.files import move_file, publish_text

# How often a zip is put where other machines put another one at the same time.
_MAX_CONFLICTS = 3
# Errors, beside a bad zip, after which another route may succeed.
_TRY_NEXT_ROUTE = (RequestRefused, TooLarge, UnreadableReply, UnknownReply)

# NBIA ends each zip of a Series at the first image without an MD5 in its database; what follows can
# only be downloaded singly, at one request an image. So many of a Series are: 100 in any case, up
# to half of a larger Series, and never more than 2,000.
_ALWAYS_ALLOWED = 100
_MAX_SHARE = 0.5
_MAX_SINGLE_IMAGES = 2_000


@dataclass(frozen=True)
class _RefusedZip:
    """A zip in quarantine: why it was refused, and how many of its images are good.

    `good_images` is -1 if nothing in the zip can be used.
    """

    error: BadArchive
    good_images: int


def download_zip(task: SeriesTask) -> VerifiedZip:
    """Download the zip of a Series, verify it and give it its final path.

    Each route of a source is tried until one returns an accepted zip. If all zips are refused,
    the best one is completed with single images where the source offers them. Where one source
    fails, the next one is tried; one that is down is left out for some minutes.

    Raises:
        BadArchive: Every zip was refused; the best one is in quarantine.
        NotPublic: The source does not offer the images.
        RemoteError: The source failed.
    """
    draft = draft_path(task.path)
    errors: list[tuple[Source, BadArchive | RemoteError]] = []
    tasks = task.by_source()
    try:
        for each in tasks:
            outage = None if each is tasks[-1] else task.outages.error_of(each.source)
            if outage is not None:
                errors.append((each.source, outage))
                continue
            try:
                verified = _download_from(each, draft)
            except (BadArchive, RemoteError) as error:
                task.outages.note(each.source, error)
                errors.append((each.source, error))
                continue
            task.outages.note(each.source, None)
            verified = _publish(task, draft, verified)
            task.quarantine.unlink(missing_ok=True)
            _reason_path(task).unlink(missing_ok=True)
            shutil.rmtree(parts_path(task.path), ignore_errors=True)
            return verified
        raise _join_errors(errors)
    finally:
        draft.unlink(missing_ok=True)


def _publish(task: SeriesTask, draft: Path, verified: VerifiedZip) -> VerifiedZip:
    """Put the draft into the store; return what the store has then.

    If another machine has put a zip with the same objects meanwhile, that one stays.
    """
    replaces = task.stored_sha256
    for _ in range(_MAX_CONFLICTS):
        try:
            task.archives.put(draft, task.name, verified.sha256, replaces=replaces)
        except FileExistsError:
            stored = task.archives.head(task.name)
            replaces = stored.sha256 or task.archives.sha256(task.name)
            if _has_same_objects(task, replaces, verified):
                return replace(verified, archive_bytes=stored.size_bytes, sha256=replaces)
        else:
            return verified
    raise Busy(f"{task.archives.address(task.name)}: other machines put it again and again")


def _has_same_objects(task: SeriesTask, sha256: str, verified: VerifiedZip) -> bool:
    try:
        with task.archives.local(task.name, sha256) as path:
            proof = accept_zip(path, task.pending.expected)
    except (BadArchive, ChangedFile):
        return False
    return proof_hash(proof) == proof_hash(verified.proof)


def _join_errors(errors: Sequence[tuple[Source, BadArchive | RemoteError]]) -> TciaError:
    """Return the error of a Series that no source provides, with the reason of each.

    If one of them was only down, that error: it means nothing for the Series.
    """
    down = (error for _, error in errors if isinstance(error, ArchiveBroken))
    chosen = next(down, errors[0][1])
    if len(errors) == 1:
        return chosen
    problem = "; ".join(f"{source.name}: {error.problem}" for source, error in errors)
    if isinstance(chosen, BadArchive):
        return BadArchive(problem, table=chosen.table, key=chosen.key)
    return type(chosen)(problem, url=chosen.url, status=chosen.status, excerpt=chosen.excerpt)


def _download_from(task: SeriesTask, draft: Path) -> VerifiedZip:
    """Write `draft`: the zip of a Series from the task's first source."""
    try:
        verified = _try_routes(task, draft)
    except BadArchive as refusal:
        verified = _complete_zip(task, draft, refusal)
    return replace(verified, source=task.source.name)


def _try_routes(task: SeriesTask, draft: Path) -> VerifiedZip:
    best: _RefusedZip | None = None
    problems: list[TciaError] = []
    routes = task.source.zip_routes
    # A single route is tried twice.
    routes = routes if len(routes) > 1 else routes * 2
    for number, route in enumerate(routes, start=1):
        try:
            verified = _download(task, route, draft)
        except BadArchive as error:
            best = _keep_better(task, best, draft, route, error)
        except _TRY_NEXT_ROUTE as error:
            if isinstance(error, NotPublic):
                raise
            problems.append(error)
        except ArchiveBroken as error:
            # With another status the archive itself is down, and the other routes with it.
            if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            problems.append(error)
        else:
            return _find_stronger(task, draft, verified, routes[number:])
    raise best.error if best else problems[-1]


def _download(task: SeriesTask, route: str, draft: Path) -> VerifiedZip:
    file = task.source.fetch_zip(route, task.uid, task.zip_target(draft))
    proof = compare_with_source(task, accept_zip(draft, task.pending.expected))
    return VerifiedZip(proof, file.size_bytes, file.sha256)


def _find_stronger(
    task: SeriesTask, draft: Path, verified: VerifiedZip, routes: Sequence[str]
) -> VerifiedZip:
    """Write `draft`: an accepted zip that MD5s prove, if a further route provides one.

    NBIA writes the MD5 list last, so a zip of an MD5 route without it was not finished. It is kept
    as it is if nothing better is found, because it has what the source lists.
    """
    if verified.proof.verified_by == "md5":
        return verified
    second = second_draft_path(task.path)
    try:
        for route in (route for route in routes if route in task.source.md5_routes):
            try:
                found = _download(task, route, second)
            except (BadArchive, RemoteError):
                continue
            if found.proof.verified_by == "md5":
                second.replace(draft)
                return found
    finally:
        second.unlink(missing_ok=True)
    return verified


def _keep_better(
    task: SeriesTask, best: _RefusedZip | None, draft: Path, route: str, error: BadArchive
) -> _RefusedZip:
    """Quarantine a refused zip unless an earlier one of this run has more good images."""
    refused = _RefusedZip(error, _count_good_images(task, draft))
    if best and best.good_images > refused.good_images:
        return best
    _quarantine(task, draft, route, error)
    return refused


def _count_good_images(task: SeriesTask, draft: Path) -> int:
    try:
        return len(inspect_zip(draft, task.pending.expected).members)
    except BadArchive:
        return -1


def _quarantine(task: SeriesTask, draft: Path, route: str, error: BadArchive) -> None:
    """Move a refused zip to quarantine, with a file that has the reason."""
    reason = {
        "SeriesInstanceUID": task.uid,
        "endpoint": route,
        "source": task.source.name,
        "refused_at": datetime.now(UTC).isoformat(),
        "reason": error.problem,
    }
    move_file(draft, task.quarantine)
    publish_text(_reason_path(task), json.dumps(reason, indent=2) + "\n")


def _reason_path(task: SeriesTask) -> Path:
    return task.quarantine.with_suffix(".json")


# --- Single images --------------------------------------------------------------------------------


def _complete_zip(task: SeriesTask, draft: Path, refusal: BadArchive) -> VerifiedZip:
    """Write `draft`: the zip in quarantine, and the objects that it lacks.

    Raises:
        BadArchive: `refusal`, or a longer one with the reason why it could not be completed.
    """
    try:
        missing, good, uids = _find_missing(task, refusal)
        with single_images_dir(task.path) as folder:
            # The file names are ours: the UIDs come from the network.
            paths = {uid: folder / f"{n}.dcm" for n, uid in enumerate(missing)}
            for uid, path in paths.items():
                task.source.fetch_object(task.uid, uid, task.target(path))
            pack(task.quarantine, good, {f"{uid}.dcm": path for uid, path in paths.items()}, draft)
        proof = accept_zip(draft, replace(task.pending.expected, sop_instance_uids=uids))
        # Its MD5 list is ours.
        proof = compare_with_source(task, replace(proof, verified_by=_strength_without_md5s(task)))
    except (RemoteError, DataError) as error:
        if error.problem == refusal.problem:  # single images cannot make the zip good
            raise refusal from None
        problem = f"{refusal.problem}; nor could single images complete it: {error.problem}"
        raise BadArchive(problem, table=IMAGE_ARCHIVES.name, key=task.uid) from error
    return VerifiedZip.at(draft, proof)


def _find_missing(
    task: SeriesTask, refusal: BadArchive
) -> tuple[list[str], tuple[Member, ...], frozenset[str]]:
    """Return the UIDs that the refused zip lacks, its good members, and all UIDs of the Series.

    Raises:
        BadArchive: Single images cannot make the zip good: `refusal`, or nothing in it can be used.
    """
    uids = task.source.object_uids(task.uid)
    if uids is None:
        raise refusal
    expected = replace(task.pending.expected, sop_instance_uids=uids)
    found = inspect_zip(task.quarantine, expected)
    if not 0 < len(found.missing) <= _max_single_images(len(uids)):
        raise refusal
    return sorted(found.missing), found.members, uids


def _max_single_images(image_count: int) -> int:
    share = int(image_count * _MAX_SHARE)
    return min(max(_ALWAYS_ALLOWED, share), _MAX_SINGLE_IMAGES)


def _strength_without_md5s(task: SeriesTask) -> str:
    return "count" if task.pending.image_bytes is None else "count+size"
