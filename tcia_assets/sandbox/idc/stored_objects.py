"""What the buckets have, of a Series or else: keys, sizes, MD5s and bytes."""

from __future__ import annotations

import hashlib
import threading
import uuid
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.idc import clinical
from tcia_assets.sandbox.idc.releases import Releases, StoredSeries

_KEPT_SERIES = 32
_KEPT_BYTES = 32 << 20


@dataclass(frozen=True)
class StoredObject:
    """An object: its key in its bucket, and its number in its Series."""

    key: str
    index: int


class StoredObjects:
    """The objects of a Series, sorted by key; safe to use from many threads.

    Args:
        series: The version of the Series.
        bodies: Bytes of objects that were made before.

    Attributes:
        series: The same.
    """

    def __init__(self, series: StoredSeries, bodies: Bodies) -> None:
        self.series, self._bodies = series, bodies
        self._files = phantom.SeriesFiles(series.row, series.source, series.revision)
        namespace = uuid.UUID(series.crdc_series_uuid)
        folder = series.crdc_series_uuid
        self._all = sorted(
            (
                StoredObject(f"{folder}/{uuid.uuid5(namespace, uid)}.dcm", index)
                for index, uid in enumerate(self._files.uids)
            ),
            key=lambda each: each.key,
        )
        self._by_key = {each.key: each for each in self._all}
        self._md5s: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._all)

    def after(self, key: str = "") -> Iterator[StoredObject]:
        """Yield the objects behind a key."""
        start = bisect_right(self._all, key, key=lambda each: each.key)
        return (self._all[at] for at in range(start, len(self._all)))

    def find(self, key: str) -> StoredObject | None:
        """Return the object of a key, or None."""
        return self._by_key.get(key)

    def uid(self, stored: StoredObject) -> str:
        """Return its SOPInstanceUID."""
        return self._files.uids[stored.index]

    @property
    def bucket(self) -> str:
        """The bucket that has them."""
        return self.series.bucket

    def size(self, _stored: StoredObject) -> int:
        """Return how many bytes it has."""
        return phantom.object_bytes(self.series.row["Modality"])

    def values(self, stored: StoredObject | None) -> dict[str, str]:
        """Return what a request for it is about; of None, for its Series."""
        about = {
            "SeriesInstanceUID": self.series.uid,
            "Collection": str(self.series.row["Collection"]),
        }
        return about | ({"SOPInstanceUID": self.uid(stored)} if stored else {})

    def body(self, stored: StoredObject) -> bytes:
        """Return its file."""
        return self._bodies.get(stored.key, lambda: self._files.file(stored.index))

    def md5(self, stored: StoredObject) -> str:
        """Return its MD5."""
        if stored.index not in self._md5s:
            body = self.body(stored)
            self._md5s[stored.index] = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return self._md5s[stored.index]

    def etag(self, stored: StoredObject) -> str:
        """Return its ETag without quotes: the MD5, or one of an upload in parts."""
        md5 = self.md5(stored)
        if not self.series.is_in_parts:
            return md5
        return hashlib.md5(bytes.fromhex(md5), usedforsecurity=False).hexdigest() + "-1"


class StoredFiles:
    """Files that are no DICOM objects, in a bucket of their own.

    Args:
        bucket: The bucket.
        files: The bytes of each, by key.
    """

    def __init__(self, bucket: str, files: dict[str, bytes]) -> None:
        self.bucket, self._files = bucket, files
        self._all = [StoredObject(key, index) for index, key in enumerate(sorted(files))]

    def after(self, key: str = "") -> Iterator[StoredObject]:
        """Yield the files behind a key."""
        return (each for each in self._all if each.key > key)

    def find(self, key: str) -> StoredObject | None:
        """Return the file of a key, or None."""
        return next((each for each in self._all if each.key == key), None)

    def size(self, stored: StoredObject) -> int:
        """Return how many bytes it has."""
        return len(self._files[stored.key])

    def values(self, _stored: StoredObject | None) -> dict[str, str]:
        """Return what a request for it is about: nothing that faults can name."""
        return {}

    def body(self, stored: StoredObject) -> bytes:
        """Return its bytes."""
        return self._files[stored.key]

    def etag(self, stored: StoredObject) -> str:
        """Return its MD5."""
        return hashlib.md5(self.body(stored), usedforsecurity=False).hexdigest()


class Bodies:
    """The bytes of the objects that were made last; clients list objects, then get them."""

    def __init__(self, limit: int = _KEPT_BYTES) -> None:
        self._limit, self._held = limit, 0
        self._lock = threading.Lock()
        self._bodies: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Return the bytes of a key, made now if they are not held."""
        with self._lock:
            if key in self._bodies:
                self._bodies.move_to_end(key)
                return self._bodies[key]
        body = make()
        with self._lock:
            if key not in self._bodies:
                self._bodies[key] = body
                self._held += len(body)
            while self._held > self._limit:
                _, dropped = self._bodies.popitem(last=False)
                self._held -= len(dropped)
        return body


class Store:
    """All objects of the buckets."""

    def __init__(self, releases: Releases) -> None:
        self.releases, self._bodies = releases, Bodies()
        self._state = releases.state
        self._exports: StoredFiles | None = None
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, StoredObjects] = OrderedDict()

    def folder(self, name: str) -> StoredObjects | StoredFiles | None:
        """Return what a folder has; None if it does not exist, or no more.

        Args:
            name: The uuid of a version of a Series, or the folder of exports.
        """
        with self._lock:
            self._forget_old()
            if name == clinical.FOLDER:
                self._exports = self._exports or self._exported()
                return self._exports
            return self._series(name)

    def series(self, crdc_series_uuid: str) -> StoredObjects | None:
        """Return the objects of a version of a Series; None if there is none, or no more."""
        with self._lock:
            self._forget_old()
            return self._series(crdc_series_uuid)

    def _forget_old(self) -> None:
        if self._state != self.releases.state:
            self._opened.clear()  # after a reset a uuid may be that of other content
            self._exports, self._bodies, self._state = None, Bodies(), self.releases.state

    def _series(self, crdc_series_uuid: str) -> StoredObjects | None:
        opened = self._opened.pop(crdc_series_uuid, None)
        if opened is None:
            series = self.releases.find(crdc_series_uuid)
            opened = StoredObjects(series, self._bodies) if series else None
        if opened is not None:
            self._opened[crdc_series_uuid] = opened
        while len(self._opened) > _KEPT_SERIES:
            self._opened.popitem(last=False)
        return opened

    def _exported(self) -> StoredFiles:
        files: dict[str, bytes] = {}
        for release in self.releases.releases:
            files |= clinical.files(self.releases, int(release.partition(".")[0]))
        return StoredFiles(clinical.BUCKET, files)

    def objects(
        self, bucket: str, prefix: str, after: str = ""
    ) -> Iterator[tuple[StoredObjects | StoredFiles, StoredObject]]:
        """Yield the objects of a bucket with this prefix and behind a key, sorted by key."""
        first, _, _ = prefix.partition("/")
        start = after.partition("/")[0]
        folders = [clinical.FOLDER]
        if bucket != clinical.BUCKET:
            folders = self.releases.uuids(bucket, first, start)
        for name in folders:
            folder = self.folder(name)
            if folder is not None:
                found = (each for each in folder.after(after) if each.key.startswith(prefix))
                yield from ((folder, each) for each in found)
