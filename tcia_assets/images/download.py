"""Download the zip of a Series by the source's routes, and quarantine what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tcia_assets.errors import (
    BadArchive,
    NotPublic,
    RequestRefused,
    TciaError,
    TooLarge,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.images.claims import draft_path
from tcia_assets.images.series_task import SeriesTask, VerifiedZip, accept_zip, inspect_zip
from tcia_assets.images.single_images import complete_zip
from tcia_assets.store.files import publish_draft

# Errors, beside a bad zip, after which another route may succeed.
_TRY_NEXT_ROUTE = (RequestRefused, TooLarge, UnreadableReply, UnknownReply)


@dataclass(frozen=True)
class _RefusedZip:
    """A zip in quarantine: why it was refused, and how many of its images are good.

    `good_images` is -1 if nothing in the zip can be used.
    """

    error: BadArchive
    good_images: int


def download_zip(task: SeriesTask) -> VerifiedZip:
    """Download the zip of a Series, verify it and give it its final path.

    Each route of the source is tried until one returns an accepted zip. If all zips are refused,
    the best one is completed with single images where the source offers them.

    Raises:
        BadArchive: Every zip was refused; the best one is in quarantine.
        NotPublic: The source does not offer the images.
        RemoteError: The source failed.
    """
    draft = draft_path(task.path)
    try:
        try:
            verified = _try_routes(task, draft)
        except BadArchive as refusal:
            verified = complete_zip(task, draft, refusal)
        publish_draft(draft, task.path)
        task.quarantine.unlink(missing_ok=True)
        _reason_path(task).unlink(missing_ok=True)
        return verified
    finally:
        draft.unlink(missing_ok=True)


def _try_routes(task: SeriesTask, draft: Path) -> VerifiedZip:
    best: _RefusedZip | None = None
    problems: list[TciaError] = []
    routes = task.source.zip_routes
    # A single route is tried twice.
    for route in routes if len(routes) > 1 else routes * 2:
        try:
            return _download(task, route, draft)
        except BadArchive as error:
            best = _keep_better(task, best, draft, route, error)
        except _TRY_NEXT_ROUTE as error:
            if isinstance(error, NotPublic):
                raise
            problems.append(error)
    raise best.error if best else problems[-1]


def _download(task: SeriesTask, route: str, draft: Path) -> VerifiedZip:
    file = task.source.fetch_zip(
        route, task.uid, draft, max_bytes=task.max_bytes, on_bytes=task.on_bytes
    )
    proof = accept_zip(draft, task.pending.expected)
    return VerifiedZip(proof, file.size_bytes, file.sha256)


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
    task.quarantine.parent.mkdir(parents=True, exist_ok=True)
    reason = {
        "SeriesInstanceUID": task.uid,
        "endpoint": route,
        "source": task.source.name,
        "refused_at": datetime.now(UTC).isoformat(),
        "reason": error.problem,
    }
    _reason_path(task).write_text(json.dumps(reason, indent=2) + "\n", encoding="utf-8")
    draft.replace(task.quarantine)


def _reason_path(task: SeriesTask) -> Path:
    return task.quarantine.with_suffix(".json")
