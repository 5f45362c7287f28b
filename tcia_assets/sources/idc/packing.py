"""Make the zip of a Series from its objects in a bucket."""

from __future__ import annotations

import hashlib
import io
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tcia_assets.errors import TooLarge, UnknownReply, UnreadableReply
from tcia_assets.formats.identity import identify_file
from tcia_assets.formats.series_zip import LICENSE, license_text, write_series_zip
from tcia_assets.sources import Cost, FetchedFile, Target
from tcia_assets.sources.idc.bucket import SeriesFolder
from tcia_assets.sources.idc.listing import StoredObject
from tcia_assets.store.files import sha256_of

# The objects of a Series that wait for a thread, at most. Enough for all threads, and so few that
# a Series of 100,000 takes little memory and does not delay others.
_MOST_PENDING = 256


@dataclass(frozen=True, slots=True)
class _Part:
    """An object that was received; `md5` is "" where only we know it."""

    sop_instance_uid: str
    name: str
    size_bytes: int
    md5: str


def list_series(folder: SeriesFolder, series: Mapping[str, Any], cost: Cost) -> list[StoredObject]:
    """List the objects of a Series, and compare them with its row in the index.

    Args:
        folder: Where they are.
        series: The row: ImageCount and FileSize.
        cost: Increased by what was sent and received.

    Raises:
        UnknownReply: They are not what the index says.
    """
    count, size = series["ImageCount"], series["FileSize"]
    if count is None or size is None:
        raise UnknownReply("the index does not say how many objects and bytes this Series has")
    found = folder.objects(count, cost)
    listed = sum(each.size_bytes for each in found)
    if (len(found), listed) != (count, size):
        raise UnknownReply(
            f"the bucket has {len(found)} objects of {listed} bytes, but the index says {count} "
            f"of {size}"
        )
    return found


def fetch_series(
    folder: SeriesFolder, series: Mapping[str, Any], pool: Executor, target: Target
) -> FetchedFile:
    """Download the objects of a Series and pack them in the order of their SOPInstanceUIDs.

    Args:
        folder: Where they are.
        series: Its row in the index.
        pool: The threads that download.
        target: Where the zip goes. Objects that are in its folder for parts are used again if they
            have the MD5 that the bucket lists.

    Raises:
        UnreadableReply: An object is not of this Series, or two are the same object.
    """
    started, cost = time.monotonic(), Cost()
    objects = list_series(folder, series, cost)
    _compare(series, target)
    with _folder_for_parts(target) as parts_dir:
        fetch = _Fetch(folder, parts_dir, series["SeriesInstanceUID"], target)
        parts = fetch.run(objects, pool)
        _pack(parts, parts_dir, series, target.path)
    return FetchedFile(
        target.path.stat().st_size,
        sha256_of(target.path),
        cost.requests + fetch.requests,
        time.monotonic() - started,
    )


def _compare(series: Mapping[str, Any], target: Target) -> None:
    """Raise UnknownReply if the caller expects another version of the Series."""
    pairs = [(target.image_count, series["ImageCount"]), (target.image_bytes, series["FileSize"])]
    if any(wanted not in {None, found} for wanted, found in pairs):
        raise UnknownReply(
            f"another version of this Series: {series['ImageCount']} objects of "
            f"{series['FileSize']} bytes, but {target.image_count} of {target.image_bytes} are "
            "expected"
        )
    if target.max_bytes is not None and series["FileSize"] > target.max_bytes:
        raise TooLarge(f"{series['FileSize']} bytes, but at most {target.max_bytes} were expected")


class _Fetch:
    def __init__(self, folder: SeriesFolder, parts_dir: Path, uid: str, target: Target) -> None:
        self._folder, self._dir, self._uid, self._target = folder, parts_dir, uid, target
        self._failure: BaseException | None = None
        self.requests = 0

    def run(self, objects: list[StoredObject], pool: Executor) -> list[_Part]:
        """Download what is not there, and return all parts by their SOPInstanceUIDs.

        After an error no further object is begun; those that are running are finished.
        """
        _remove_others(self._dir, {each.name for each in objects})
        parts: dict[str, _Part] = {}
        pending: deque[Future[tuple[_Part, int]]] = deque()
        try:
            for each in objects:
                if len(pending) == _MOST_PENDING:
                    self._add(parts, pending.popleft())
                pending.append(pool.submit(self._get, each))
            while pending:
                self._add(parts, pending.popleft())
        finally:
            for future in pending:
                if not future.cancel():
                    future.exception()
        return [parts[uid] for uid in sorted(parts)]

    def _add(self, parts: dict[str, _Part], future: Future[tuple[_Part, int]]) -> None:
        part, requests = future.result()
        self.requests += requests
        first = parts.setdefault(part.sop_instance_uid, part)
        if first is not part:
            raise UnreadableReply(
                f"{first.name} and {part.name} have the same SOPInstanceUID, "
                f"{part.sop_instance_uid}"
            )

    def _get(self, each: StoredObject) -> tuple[_Part, int]:
        if self._failure is not None:  # that of an object that was begun, and is waited for, before
            raise self._failure
        try:
            return self._received(each)
        except BaseException as error:
            self._failure = error
            raise

    def _received(self, each: StoredObject) -> tuple[_Part, int]:
        path, cost = self._dir / each.name, Cost()
        if not _is_there(path, each):
            self._folder.download(each, path, cost, self._target.on_bytes)
        try:
            found = identify_file(path)
        except ValueError as error:
            raise UnreadableReply(f"{each.name}: {error}") from None
        if found.series_instance_uid != self._uid:
            raise UnreadableReply(f"{each.name} belongs to Series {found.series_instance_uid}")
        part = _Part(found.sop_instance_uid, each.name, each.size_bytes, each.md5)
        return part, cost.requests


@contextmanager
def _folder_for_parts(target: Target) -> Iterator[Path]:
    """Provide the target's folder for parts, which stays, or a temporary one beside its path."""
    if target.parts is not None:
        target.parts.mkdir(exist_ok=True)
        yield target.parts
        return
    with TemporaryDirectory(dir=target.path.parent, prefix=f".{target.path.name}.") as folder:
        yield Path(folder)


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def _is_there(path: Path, each: StoredObject) -> bool:
    """Return whether an earlier run, which may have been killed, has received the object."""
    if not each.md5 or not path.is_file() or path.stat().st_size != each.size_bytes:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False))
    return digest.hexdigest() == each.md5


def _pack(parts: list[_Part], folder: Path, series: Mapping[str, Any], path: Path) -> None:
    # An MD5 that only we know proves nothing: the list has none then, as NBIA's have none.
    with write_series_zip(path) as new:
        # Nothing in it depends on the release, as the objects do not.
        text = license_text(
            series["SeriesInstanceUID"],
            series["Collection"],
            series["LicenseName"],
            series["LicenseURI"],
            series["DataDescriptionURI"],
        ).encode()
        new.add(LICENSE, io.BytesIO(text), len(text))
        for part in parts:
            with (folder / part.name).open("rb") as content:
                name = f"{part.sop_instance_uid}.dcm"
                new.add_image(name, content, part.size_bytes, part.md5)
