"""Complete a refused zip that lacks objects, by downloading these one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tcia_assets.errors import BadArchive, RemoteError
from tcia_assets.images.acceptance.completion import pack
from tcia_assets.images.acceptance.rules import Member, Proof
from tcia_assets.images.claims import single_images_dir
from tcia_assets.images.series_task import (
    SeriesTask,
    VerifiedZip,
    accept_zip,
    inspect_zip,
    proof_hash,
)

# NBIA ends each zip of a Series at the first image without an MD5 in its database; what follows can
# only be downloaded singly, at one request an image. So many of a Series are: 100 in any case, up
# to half of a larger Series, and never more than 2,000.
_ALWAYS_ALLOWED = 100
_MAX_SHARE = 0.5
_MAX_SINGLE_IMAGES = 2_000


class _CannotComplete(Exception):
    """Single images cannot make the zip good."""


def complete_zip(task: SeriesTask, draft: Path, refusal: BadArchive) -> VerifiedZip:
    """Add to the zip in quarantine the objects that it lacks.

    Args:
        task: The Series; its refused zip is in quarantine.
        draft: The path for the completed zip.
        refusal: The error for the refused zip.

    Raises:
        BadArchive: `refusal`, or a longer one that also says why it could not be completed.
    """
    try:
        missing, good, uids = _find_missing(task)
        with single_images_dir(task.path) as folder:
            # The file names are ours: the UIDs come from the network.
            paths = {uid: folder / f"{n}.dcm" for n, uid in enumerate(missing)}
            for uid, path in paths.items():
                task.source.fetch_object(
                    task.uid, uid, path, max_bytes=task.max_bytes, on_bytes=task.on_bytes
                )
            pack(task.quarantine, good, {f"{uid}.dcm": path for uid, path in paths.items()}, draft)
        proof = accept_zip(draft, replace(task.pending.expected, sop_instance_uids=uids))
    except _CannotComplete:
        raise refusal from None
    except (RemoteError, BadArchive) as error:
        if error.problem == refusal.problem:  # the zip is bad as a whole: nothing in it can be used
            raise refusal from None
        problem = f"{refusal.problem}; nor could single images complete it: {error.problem}"
        raise task.bad_zip(problem) from error
    return VerifiedZip.at(draft, replace(proof, verified_by=_strength(task, proof)))


def _find_missing(task: SeriesTask) -> tuple[list[str], tuple[Member, ...], frozenset[str]]:
    """Return the UIDs that the refused zip lacks, its good members, and all UIDs of the Series."""
    uids = task.source.object_uids(task.uid)
    if uids is None:
        raise _CannotComplete
    expected = replace(task.pending.expected, sop_instance_uids=uids)
    found = inspect_zip(task.quarantine, expected)
    if not 0 < len(found.missing) <= _max_single_images(len(uids)):
        raise _CannotComplete
    return sorted(found.missing), found.members, uids


def _max_single_images(image_count: int) -> int:
    share = int(image_count * _MAX_SHARE)
    return min(max(_ALWAYS_ALLOWED, share), _MAX_SINGLE_IMAGES)


def _strength(task: SeriesTask, proof: Proof) -> str:
    """Return what verifies a completed zip; its MD5 list is ours, so it needs the source's hash.

    NBIA's hash of a Series for which it lacks an MD5 is never right: it contains the text "null".
    """
    if task.source_hash() == proof_hash(proof):
        return "md5"
    return "count" if task.pending.image_bytes is None else "count+size"
