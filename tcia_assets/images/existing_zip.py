"""Use a zip that is on disk already, in place of a download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance.rules import Proof
from tcia_assets.images.claims import draft_from
from tcia_assets.images.paths import published_date
from tcia_assets.images.series_task import SeriesTask, VerifiedZip, accept_zip, proof_hash
from tcia_assets.store.files import publish_draft


def adopt_unlisted(task: SeriesTask, sha256: str) -> VerifiedZip | None:
    """Accept the zip at the final path that has no row: a run was killed in between.

    Only the source's hash can show which version it is: another version may have as many images of
    the same size.

    Args:
        task: The Series.
        sha256: SHA-256 of the zip.
    """
    proof = _proof_or_none(task, task.path)
    if proof is None or task.source_hash() != proof_hash(proof):
        return None
    return VerifiedZip.at(task.path, proof, sha256)


def take_from_earlier_collection(task: SeriesTask, paths: Sequence[Path]) -> VerifiedZip | None:
    """Link or copy the zip from a Collection that the Series has left, if it is good and current.

    Args:
        task: The Series.
        paths: Where the zip may be, in other Collections.
    """
    for path in paths:
        proof = _proof_or_none(task, path) if path.is_file() else None
        if proof is None or not _is_current(task, proof, path):
            continue
        taken = VerifiedZip.at(path, proof)
        with draft_from(path, task.path) as draft:
            publish_draft(draft, task.path)
        return taken
    return None


def _proof_or_none(task: SeriesTask, path: Path) -> Proof | None:
    try:
        return accept_zip(path, task.pending.expected)
    except BadArchive:
        return None


def _is_current(task: SeriesTask, proof: Proof, path: Path) -> bool:
    """Compare with the source's hash or, if there is none, with the day of the last submission."""
    if source_hash := task.source_hash():
        return source_hash == proof_hash(proof)
    submitted = task.pending.submitted_on
    return submitted is None or submitted < published_date(path)
