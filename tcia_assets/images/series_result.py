"""Fetch one Series, or use a zip on disk, and describe the outcome as a row of the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tcia_assets.errors import (
    BadArchive,
    Busy,
    NotPublic,
    Stopped,
    StorageError,
    TciaError,
    TooLarge,
)
from tcia_assets.images.acceptance.rules import Proof
from tcia_assets.images.download import download_zip
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.series_task import (
    SeriesTask,
    VerifiedZip,
    accept_zip,
    compare_with_source,
    proof_hash,
)
from tcia_assets.images.zip_files import claim, publish_copy, zip_name
from tcia_assets.sources.names import family_of
from tcia_assets.store.archives import ChangedFile

_ABOUT_THE_ZIP = (
    "path",
    "archive_bytes",
    "image_count",
    "image_bytes",
    "sha256",
    "verified_by",
    "source",
)


@dataclass(frozen=True)
class SeriesResult:
    """The manifest row of a Series, and the error if it is not complete."""

    row: ManifestRow
    error: TciaError | None = None


def fetch_series(
    task: SeriesTask, known: ManifestRow | None, earlier_collections: Sequence[str] = ()
) -> SeriesResult:
    """Make the verified zip of a Series available at its path.

    Args:
        task: The Series.
        known: Its row in the manifest so far.
        earlier_collections: Collections that the Series has left; a current zip there is used in
            place of a download.

    Returns:
        The new row. An error that concerns only this Series is in the result, not raised.

    Raises:
        Busy: Another run is working on the Series.
        StorageError: The file cannot be written.
        Stopped: The source was stopped; that means nothing for the Series.
    """
    row = _blank_row(task)
    try:
        with claim(task.path):
            sha256 = _stored_sha256(task)
            task = replace(task, stored_sha256=sha256)
            is_known = known is not None and known.sha256 == sha256
            if known is not None and is_known:
                # The earlier verified zip stays, and the row keeps its description.
                row = replace(row, **{name: getattr(known, name) for name in _ABOUT_THE_ZIP})
            verified = (
                (_adopt_unlisted(task, sha256) if sha256 and not is_known else None)
                or (_keep(task, known) if known is not None and is_known else None)
                or _take_from_earlier_collection(task, earlier_collections)
                or download_zip(task)
            )
    except (Busy, StorageError, Stopped):
        raise
    except OSError as error:
        problem = f"{task.path} cannot be written: {error.strerror or error}"
        raise StorageError(problem) from error
    except TciaError as error:
        row = replace(row, source=row.source or task.by_source()[-1].source.name)
        return SeriesResult(_failed(row, task.pending.attempts + 1, error), error)
    return SeriesResult(verified.describe_in(row, datetime.now(UTC)))


def _blank_row(task: SeriesTask) -> ManifestRow:
    pending = task.pending
    return ManifestRow.from_record(
        {
            "SeriesInstanceUID": task.uid,
            "Collection": task.collection,
            "fingerprint": pending.fingerprint,
            "crdc_series_uuid": pending.crdc_series_uuid,
            "license_name": pending.license_name,
            "DataDescriptionURI": pending.description_uri,
            "source": "",
            "attempts": 0,
        }
    )


def _failed(row: ManifestRow, attempts: int, error: TciaError) -> ManifestRow:
    # Without the table and the key, which the row has already.
    message = error.problem if isinstance(error, BadArchive) else str(error)
    return replace(
        row, status=_status(error), attempts=attempts, error=message, fetched_at=datetime.now(UTC)
    )


def _status(error: TciaError) -> str:
    if isinstance(error, NotPublic):
        return "unavailable"
    return "incomplete" if isinstance(error, BadArchive | TooLarge) else "failed"


# --- Zips on disk ---------------------------------------------------------------------------------


def _stored_sha256(task: SeriesTask) -> str:
    """Return the SHA-256 of the zip that the store has of a Series; "" if it has none."""
    try:
        return task.archives.head(task.name).sha256 or task.archives.sha256(task.name)
    except FileNotFoundError:
        return ""


def _adopt_unlisted(task: SeriesTask, sha256: str) -> VerifiedZip | None:
    """Accept the zip in the store that has no row: a run was killed in between.

    Only the source's hash can show which version it is: another version may have as many images of
    the same size.
    """
    found = _stored_zip(task, task.name, sha256)
    if found is None:
        return None
    for each in task.by_source():
        if each.source_hash() == proof_hash(found.proof):
            proof = replace(found.proof, verified_by="md5")
            return replace(found, proof=proof, source=each.source.name)
    return None


def _keep(task: SeriesTask, known: ManifestRow) -> VerifiedZip | None:
    """Keep the zip if another kind of source sent it, and the one in use has the same objects."""
    if family_of(known.source) == family_of(task.source.name):
        return None
    found = _stored_zip(task, task.name, known.sha256 or "")
    if found is None or task.source_hash() != proof_hash(found.proof):
        return None
    proof = replace(found.proof, verified_by="md5")
    return replace(found, proof=proof, source=known.source)


def _take_from_earlier_collection(
    task: SeriesTask, collections: Sequence[str]
) -> VerifiedZip | None:
    """Use the zip from a Collection that the Series has left, if it is good and current."""
    for collection in collections:
        name = zip_name(collection, task.uid)
        with suppress(FileNotFoundError):
            stored = task.archives.head(name)
            sha256 = stored.sha256 or task.archives.sha256(name)
            found = _stored_zip(task, name, sha256)
            if found is None or not _is_current(task, found.proof, stored.published_at):
                continue
            publish_copy(task.archives, name, task.name, sha256, task.stored_sha256)
            return replace(found, proof=compare_with_source(task, found.proof))
    return None


def _stored_zip(task: SeriesTask, name: str, sha256: str) -> VerifiedZip | None:
    """Return a stored zip if it is accepted as that of the Series; None if it is not."""
    try:
        with task.archives.local(name, sha256) as path:
            return VerifiedZip.at(path, accept_zip(path, task.pending.expected), sha256)
    except (BadArchive, ChangedFile):
        return None


def _is_current(task: SeriesTask, proof: Proof, published_at: datetime) -> bool:
    """Compare with the source's hash or, if there is none, with the day of the last submission."""
    for each in task.by_source():
        if source_hash := each.source_hash():
            return source_hash == proof_hash(proof)
    submitted = task.pending.submitted_on
    return submitted is None or submitted < published_at.date()
