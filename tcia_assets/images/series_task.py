"""One Series to fetch: what is expected of its zip, where it comes from and where it goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from tcia_assets.errors import RemoteError
from tcia_assets.formats.md5_list import combined_md5
from tcia_assets.images.acceptance.rules import Expectation, Inspection, Proof, accept, inspect
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.outages import Outages
from tcia_assets.images.pending import PendingSeries
from tcia_assets.images.zip_files import (
    collection_folder,
    parts_path,
    quarantine_path,
    zip_name,
    zip_path,
)
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, Target
from tcia_assets.store.archives import Archives
from tcia_assets.store.cores import count_cores
from tcia_assets.store.files import sha256_of

CORES = count_cores()
# A zip that is larger is verified by several threads.
_LARGE_BYTES = 32 << 20
# Verification is limited by the CPU: more zips at the same time than cores would only take memory.
_verification_slots = threading.BoundedSemaphore(CORES)

# Per object: its member headers, directory entry and line of the MD5 list. Per zip: LICENSE, and
# what deflate may add.
_OVERHEAD_PER_OBJECT = 1 << 10
_OVERHEAD_PER_ZIP = 1 << 20
# Where the source does not return the size: an element of DICOM has 4 GiB at most.
_LONGEST_OBJECT = 1 << 32
_LONGEST_ZIP = 1 << 38


@dataclass(frozen=True)
class VerifiedZip:
    """A zip that was accepted, with its size and SHA-256.

    `source` is the name of the source that sent it; "" if that is not known here.
    """

    proof: Proof
    archive_bytes: int
    sha256: str
    source: str = ""

    @classmethod
    def at(cls, path: Path, proof: Proof, sha256: str = "", source: str = "") -> VerifiedZip:
        """Describe an accepted file; its SHA-256 is computed unless it is given."""
        return cls(proof, path.stat().st_size, sha256 or sha256_of(path), source)

    def describe_in(self, row: ManifestRow, fetched_at: datetime) -> ManifestRow:
        """Return the manifest row of the Series, complete with this zip in the store."""
        return replace(
            row,
            status="complete",
            path=zip_path(row.collection, row.series_instance_uid),
            archive_bytes=self.archive_bytes,
            image_count=self.proof.image_count,
            image_bytes=self.proof.image_bytes,
            sha256=self.sha256,
            verified_by=self.proof.verified_by,
            source=self.source or row.source,
            fetched_at=fetched_at,
        )


@dataclass(frozen=True)
class SeriesTask:
    """One Series to fetch, by the holder of the claim on its zip.

    Attributes:
        pending: The Series and what is expected of its zip.
        collection: Its Collection.
        source: Where it is fetched from.
        root: The data root.
        archives: The store of zips.
        on_bytes: Called with the size of each chunk received; see `Target`.
        fallbacks: Further sources, each for the case that those before it fail.
        outages: Which of these are down; shared by all Series of a fetch.
        stored_sha256: SHA-256 of the zip that the store has already; "" if it has none.
    """

    pending: PendingSeries
    collection: str
    source: Source
    root: Path
    archives: Archives
    on_bytes: Callable[[int], None]
    fallbacks: tuple[Source, ...] = ()
    outages: Outages = field(default_factory=Outages)
    stored_sha256: str = ""

    @property
    def uid(self) -> str:
        """The SeriesInstanceUID."""
        return self.pending.series_instance_uid

    @property
    def name(self) -> str:
        """The name of the zip in the store."""
        return zip_name(self.collection, self.uid)

    @property
    def path(self) -> Path:
        """The zip in the work folder: drafts and the claim lie beside it."""
        folder = self.archives.work_folder(collection_folder(self.collection))
        return folder / f"{self.uid}.zip"

    @property
    def quarantine(self) -> Path:
        """The path for a refused zip."""
        return self.root / quarantine_path(self.collection, self.uid)

    @property
    def max_bytes(self) -> int:
        """The most bytes that its zip can have."""
        size, count = self.pending.image_bytes, self.pending.image_count
        if count is None:
            return _LONGEST_ZIP
        if size is None:
            size = min(count * _LONGEST_OBJECT, _LONGEST_ZIP)
        return size + count * _OVERHEAD_PER_OBJECT + _OVERHEAD_PER_ZIP

    def by_source(self) -> list[SeriesTask]:
        """Return this task for each of its sources alone, in the order in which they are tried."""
        return [replace(self, source=s, fallbacks=()) for s in (self.source, *self.fallbacks)]

    def target(self, path: Path) -> Target:
        """Return the target of a download of one object of this Series to a path."""
        return Target(path, self.max_bytes, self.on_bytes)

    def zip_target(self, path: Path) -> Target:
        """Return the target of a download of the whole Series to a path."""
        return replace(
            self.target(path),
            parts=parts_path(self.path),
            image_count=self.pending.image_count,
            image_bytes=self.pending.image_bytes,
        )

    def source_hash(self) -> str:
        """Return the source's MD5 over the Series; "" if it provides none.

        A failure counts as "no hash": the proof is then weaker.
        """
        if not self.source.hash_levels:
            return ""
        try:
            return self.source.md5_hash(SeriesInstanceUID=self.uid)
        except RemoteError:
            return ""


def series_at_once(settings: Settings) -> int:
    """Return how many Series are fetched at the same time, at most.

    As many as connections, and one more for each core: these verify zips meanwhile, so that no
    connection is idle.
    """
    return settings.image_connections + CORES


def compare_with_source(task: SeriesTask, proof: Proof) -> Proof:
    """Return the proof as one by MD5 if the source's hash of the Series is that of these objects.

    NBIA's hash of a Series for which it lacks an MD5 is never right: it contains the text "null".
    """
    if proof.verified_by == "md5" or task.source_hash() != proof_hash(proof):
        return proof
    return replace(proof, verified_by="md5")


def proof_hash(proof: Proof) -> str:
    """Return the MD5 that a source has of a Series with exactly these objects."""
    return combined_md5(member.md5 for member in proof.members)


def accept_zip(path: Path, expected: Expectation) -> Proof:
    """Accept or refuse a zip as `acceptance.accept` does, with a suitable number of threads."""
    with _verification_slots:
        return accept(path, expected, workers=_threads(path))


def inspect_zip(path: Path, expected: Expectation) -> Inspection:
    """Inspect a zip as `acceptance.inspect` does, with a suitable number of threads."""
    with _verification_slots:
        return inspect(path, expected, workers=_threads(path))


def _threads(path: Path) -> int:
    return CORES if path.stat().st_size > _LARGE_BYTES else 1
