"""Zips as objects of an S3 store: each put by one conditional request, with its checksum."""

from __future__ import annotations

import errno
import hashlib
import io
import mmap
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from tcia_assets.errors import StorageError
from tcia_assets.store.archives import ChangedFile, StoredFile
from tcia_assets.store.archives.cache import FileCache
from tcia_assets.store.archives.range_reader import RangeReader
from tcia_assets.store.archives.requests import (
    CONFLICTS,
    NO_STORE,
    REFUSALS,
    connect,
    obstore,
    s3_errors,
    writer_timeout,
)
from tcia_assets.store.files import publish_text

# S3 takes no larger object in one request.
MAX_PUT_BYTES = 5 << 30
PART_BYTES = 64 << 20
RANGE_BYTES = 8 << 20
# After this time, an answer "not there" is believed only once the bucket has answered again.
_BELIEVED_S = 60.0
_ATTEMPTS = 3


class BucketArchives:
    """The implementation of `Archives` for `s3://bucket/prefix`.

    Args:
        bucket: The bucket.
        prefix: Below which all names are; "" for the bucket itself.
        work: The folder of this machine for drafts, claims and journals.
        cache: Whole objects on this machine.
        retry_s: Seconds during which a request that fails is repeated; some minutes by default.

    Raises:
        UsageError: The environment has an endpoint that cannot be used.
    """

    def __init__(
        self, bucket: str, prefix: str, work: Path, cache: FileCache, retry_s: float | None = None
    ) -> None:
        self._bucket, self._prefix, self._work, self._cache = bucket, prefix, work, cache
        self._retry_s = retry_s
        self._answered_at = float("-inf")
        self._is_store = False

    def __reduce__(self) -> tuple[type[BucketArchives], tuple[object, ...]]:
        """Pickle the places only: connections do not survive in another process."""
        places = (self._bucket, self._prefix, self._work, self._cache)
        return BucketArchives, (*places, self._retry_s)

    @cached_property
    def _store(self) -> Any:
        return connect(self._bucket, self._prefix, retry_s=self._retry_s)

    @cached_property
    def _writers(self) -> dict[float, Any]:
        return {}

    @property
    def is_shared(self) -> bool:
        return True

    def address(self, name: str) -> str:
        return "/".join(filter(None, ("s3:/", self._bucket, self._prefix, name)))

    def probe(self) -> float:
        name = f".probe-{secrets.token_hex(8)}"
        with s3_errors(self.address(name)):
            self._list_first()
            obstore.put(self._store, name, b"probe", mode="create")
            stored_at = self.head(name).published_at
            obstore.delete(self._store, name)
        return (datetime.now(UTC) - stored_at).total_seconds()

    # --- Writing ----------------------------------------------------------------------------------

    def put(self, draft: Path, name: str, sha256: str, *, replaces: str = "") -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._put(draft, name, sha256, replaces)
                break
            except (FileExistsError, StorageError) as error:
                # It may be there by the request itself, whose answer was lost.
                if self._recorded_sha256(name) == sha256:
                    break
                if isinstance(error, FileExistsError) or attempt == _ATTEMPTS:
                    raise
        self._cache.add(draft, sha256)

    def _put(self, draft: Path, name: str, sha256: str, replaces: str) -> None:
        stat = draft.stat()
        is_large = stat.st_size > MAX_PUT_BYTES
        e_tag = self._e_tag(name, replaces) if replaces or is_large else ""
        options: Any = {
            "attributes": {
                "Content-Type": "application/zip",
                "sha256": sha256,
                "mtime": f"{stat.st_mtime:.6f}",  # as rclone does
            },
        }
        writer = self._writer(stat.st_size)
        with self._conflicts(name), self._refusals(name), draft.open("rb") as file:
            if is_large:
                obstore.put(writer, name, file, chunk_size=PART_BYTES, **options)
                self._compare(name, sha256, stat.st_size)
                return
            options |= {"mode": {"e_tag": e_tag} if e_tag else "create", "use_multipart": False}
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                obstore.put(writer, name, content, **options)

    def _e_tag(self, name: str, sha256: str) -> str:
        """Return the ETag of the object with this SHA-256; "" if none is meant to be there.

        Raises:
            FileExistsError: There is another one.
        """
        try:
            found = self._head(name)
        except FileNotFoundError:
            return ""
        if (found.attributes.get("sha256") or self.sha256(name)) != sha256:
            raise self._conflict(name)
        return str(found.meta["e_tag"])

    @contextmanager
    def _conflicts(self, name: str) -> Iterator[None]:
        try:
            yield
        except CONFLICTS:
            raise self._conflict(name) from None

    @contextmanager
    def _refusals(self, name: str) -> Iterator[None]:
        """Raise StorageError for what the store refuses to do; where that is not there, too."""
        with s3_errors(self.address(name)):
            try:
                yield
            except FileNotFoundError:
                self._list_first()  # says whether the bucket is there
                raise self._no_store(name) from None

    def _no_store(self, name: str) -> StorageError:
        return StorageError(f"{self.address(name)}: {NO_STORE}; nothing is lost")

    def _conflict(self, name: str) -> FileExistsError:
        return FileExistsError(f"{self.address(name)} was put by another machine meanwhile")

    def _compare(self, name: str, sha256: str, size: int) -> None:
        """Raise StorageError unless the object is what was sent in several requests."""
        stored = self.head(name)
        if (stored.sha256, stored.size_bytes) != (sha256, size):
            raise StorageError(f"{self.address(name)}: what was stored is not what was sent")

    def _writer(self, size: int) -> Any:
        timeout = writer_timeout(size)
        if timeout not in self._writers:
            self._writers[timeout] = connect(
                self._bucket, self._prefix, timeout_s=timeout, retry_s=self._retry_s
            )
        return self._writers[timeout]

    def _recorded_sha256(self, name: str) -> str:
        try:
            return self.head(name).sha256
        except FileNotFoundError:
            return ""

    def put_text(self, name: str, text: str | Iterable[bytes]) -> bool:
        if not isinstance(text, str):
            text = b"".join(text).decode()
        # What was put last from here is in the work folder: no request is needed to compare.
        copy = self._work / name
        if copy.is_file() and copy.read_bytes() == text.encode():
            return False
        if not text and not copy.exists():
            return False
        with self._refusals(name):
            if text:
                obstore.put(self._store, name, text.encode())
            else:
                obstore.delete(self._store, name)
        if text:
            return publish_text(copy, text)
        copy.unlink()
        return True

    def forget_changed_texts(self, names: Sequence[str]) -> Sequence[str]:
        copies = {name: self._work / name for name in names}
        changed = [n for n, copy in copies.items() if copy.is_file() and not self._has(n, copy)]
        for name in changed:
            copies[name].unlink(missing_ok=True)
        return changed

    def _has(self, name: str, copy: Path) -> bool:
        """Return whether an object has the bytes of a file; as a rule its ETag shows that."""
        content = copy.read_bytes()
        try:
            meta = self._head(name).meta
            e_tag = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if (meta["size"], (meta["e_tag"] or "").strip('"')) == (len(content), e_tag):
                return True
            with s3_errors(self.address(name)):
                return bool(obstore.get(self._store, name).bytes() == content)
        except FileNotFoundError:
            return False

    def delete(self, name: str) -> None:
        with self._refusals(name):
            obstore.delete(self._store, name)

    # --- Reading ----------------------------------------------------------------------------------

    def head(self, name: str) -> StoredFile:
        found = self._head(name)
        seconds = found.attributes.get("mtime")
        modified = found.meta["last_modified"]
        at = datetime.fromtimestamp(float(seconds), UTC) if seconds else modified
        return StoredFile(name, found.meta["size"], at, found.attributes.get("sha256", ""))

    def open(self, name: str) -> BinaryIO:
        found = self._head(name)
        size, e_tag = found.meta["size"], found.meta["e_tag"]
        reader = RangeReader(lambda start, end: self._read_range(name, start, end, e_tag), size)
        return cast("BinaryIO", io.BufferedReader(reader, RANGE_BYTES))

    def list(self, folder: str) -> Sequence[StoredFile]:
        found = []
        with s3_errors(self.address(folder)):
            for page in obstore.list(self._store, folder, chunk_size=1000):
                found += [_listed(each) for each in page]
        if not found:
            self._demand_store(folder)
        return sorted(
            (each for each in found if each.name.rpartition("/")[0] == folder),
            key=lambda each: each.name,
        )

    def folders(self, folder: str = "") -> Sequence[str]:
        with s3_errors(self.address(folder)):
            found = obstore.list_with_delimiter(self._store, folder or None)["common_prefixes"]
        if not found:
            self._demand_store(folder)
        return sorted(name.rpartition("/")[2] for name in found)

    def work_folder(self, folder: str) -> Path:
        return self._work / folder

    def local(self, name: str, sha256: str) -> AbstractContextManager[Path]:
        return self._cache.use(sha256, lambda: self.open(name))

    def copy(self, name: str) -> AbstractContextManager[Path]:
        return self._cache.copy(lambda: self.open(name))

    def sha256(self, name: str) -> str:
        with self.open(name) as file:
            return hashlib.file_digest(cast("Any", file), "sha256").hexdigest()

    def _read_range(self, name: str, start: int, end: int, e_tag: str) -> memoryview:
        """Return some bytes of an object.

        Raises:
            ChangedFile: It was replaced since the reader was opened.
        """
        options: Any = {"range": (start, end), "if_match": e_tag}
        with s3_errors(self.address(name)):
            try:
                return memoryview(obstore.get(self._store, name, options=options).bytes())
            except CONFLICTS:
                problem = "it was replaced while it was read"
                raise ChangedFile(errno.EIO, problem) from None

    def _head(self, name: str) -> Any:
        found = self._answer_to_head(name)
        self._demand_store(name, may_refuse=True)
        return found

    def _answer_to_head(self, name: str) -> Any:
        with s3_errors(self.address(name)):
            try:
                found = obstore.get(self._store, name, options={"head": True})
            except FileNotFoundError:
                # So does a bucket answer that is not there itself.
                if time.monotonic() - self._answered_at > _BELIEVED_S:
                    self._list_first()
                raise FileNotFoundError(f"{self.address(name)} is not there") from None
            except REFUSALS:
                self._list_first()  # the answer to a HEAD has no reason
                raise
        if found.meta["e_tag"] is None:
            raise self._no_store(name)
        self._answered_at = time.monotonic()
        return found

    def _demand_store(self, name: str, *, may_refuse: bool = False) -> None:
        """Raise StorageError unless the server is an S3 store; the first time, by one request.

        One that answers each request with the same page has an empty list too, and each zip with
        wrong bytes. A store that has just returned an object may refuse to say what is absent: to
        an account that may read, but not list.
        """
        if not self._is_store:
            expected = (FileNotFoundError, *(REFUSALS if may_refuse else ()))
            with s3_errors(self.address(name)), suppress(*expected):
                obstore.get(self._store, f".absent-{secrets.token_hex(8)}", options={"head": True})
                raise self._no_store(name)
            self._is_store = True

    def _list_first(self) -> None:
        next(iter(obstore.list(self._store, chunk_size=1)), None)
        self._answered_at = time.monotonic()


def _listed(each: Any) -> StoredFile:
    return StoredFile(each["path"], each["size"], each["last_modified"])
