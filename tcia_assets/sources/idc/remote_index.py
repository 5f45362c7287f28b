"""An index release behind a URL: its newest version, and a copy of its files.

A release is downloaded whole, proven, and then appears in the folder under its name. One that
cannot be used changes nothing: the copy that is there stays in use.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tcia_assets.catalog import IDC_ANALYSES, IDC_FILES, IDC_VERSIONS
from tcia_assets.errors import (
    ArchiveUnreachable,
    RemoteError,
    RequestRefused,
    StorageError,
    TciaError,
    TooLarge,
    UnreadableReply,
    UsageError,
)
from tcia_assets.progress import note, report
from tcia_assets.sources import Cost
from tcia_assets.sources.http.scratch import scratch_errors
from tcia_assets.sources.http.transport import Transport
from tcia_assets.sources.idc.index import Index
from tcia_assets.sources.idc.release import other_ways, release_in, unusable
from tcia_assets.spec import IndexFile
from tcia_assets.store import sql
from tcia_assets.store.files import publish_draft, storage_errors
from tcia_assets.store.locks import hold_lock
from tcia_assets.units import format_bytes

# The smallest of the files that are needed: its release is that of all of them.
_SMALLEST = IDC_ANALYSES
_SHA256 = re.compile(r"[0-9a-f]{64}(?![0-9a-f])", re.ASCII)
_LONGEST_SHA256_FILE = 1 << 12
_MOST_BYTES = 4 << 30
# How a public bucket answers for a file that it does not have.
_NONE = (403, 404)
# What another run may take to download a release.
_LOCKED_S = 1800.0
_ORIGIN = "origin.txt"


class RemoteIndex:
    """The index releases that appear at a URL, one after the other.

    Args:
        url: Below it are the files of the newest release.
        cache: The folder for the copies, which need not exist.
        transport: What sends the requests.
    """

    def __init__(self, url: str, cache: Path, transport: Transport) -> None:
        self._url, self._cache, self._transport = url, cache, transport

    def newest(self) -> str:
        """Return the version of the release at the URL, from its smallest file (30 kB).

        Raises:
            RemoteError: It cannot be downloaded.
            UsageError: It names no release.
        """
        with scratch_errors():
            scratch = tempfile.TemporaryDirectory(prefix="tcia-index-")
        with scratch as folder:
            path = Path(folder) / f"{_SMALLEST.name}.parquet"
            self._download(_SMALLEST, path)
            return release_in(path, self._url)

    def folder(self) -> Path:
        """Return a folder with the newest release that can be had, downloaded if need be.

        Where the newest cannot be had, it is the newest copy of the same URL, with a note.

        Raises:
            RemoteError: There is no copy, and the release cannot be downloaded.
            UsageError: There is no copy, and the release cannot be used.
            StorageError: There is no copy, and none can be written.
        """
        held = self._held()
        try:
            return self._copy(self.newest())
        except (RemoteError, UsageError, StorageError) as error:
            if not held:
                raise _with_ways(error) from None
            note(
                f"release {held[-1].name} of the index of the Imaging Data Commons stays in use, "
                f"because the newest one cannot be had: {error}"
            )
            return held[-1]

    def _held(self) -> list[Path]:
        """Return the copies of releases of this URL, the newest last."""
        found = [
            path.parent
            for path in self._cache.glob(f"[0-9]*/{_ORIGIN}")
            if path.read_text(encoding="utf-8") == self._url
        ]
        return sorted(found, key=lambda path: [int(n) for n in path.name.split(".")])

    def _copy(self, release: str) -> Path:
        """Return the folder with the copy of a release, which is made if need be."""
        path = self._cache / release
        if path in self._held():
            return path
        with hold_lock(self._cache / "lock", "the copy of the index", wait=_LOCKED_S):
            if path in self._held():
                return path
            self._remove_drafts()
            draft = self._cache / f".{release}.{secrets.token_hex(8)}.draft"
            try:
                with storage_errors(path):
                    draft.mkdir()
                self._fill(draft, release)
                with storage_errors(path):
                    if path.exists():  # the copy of a different URL
                        shutil.rmtree(path)
                    publish_draft(draft, path)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            self._remove_old(path)
            return path

    def _fill(self, folder: Path, release: str) -> None:
        """Download and prove the files of a release."""
        done = 0
        for number, file in enumerate(IDC_FILES):
            path = folder / f"{file.name}.parquet"

            def show(size: int, *, number: int = number, before: int = done) -> None:
                text = f"index {release}: {format_bytes(before + size)}"
                report(number, len(IDC_FILES), text)

            self._download(file, path, show, self._sha256_beside(file))
            done += path.stat().st_size
            found = release_in(path, self._url)
            if found != release:
                problem = f"{path.name} is of release {found}: it was replaced just now"
                raise unusable(self._url, release, problem)
        self._download_versions(folder)
        report(len(IDC_FILES), len(IDC_FILES), f"index {release}: {format_bytes(done)}")
        self._prove(folder)
        with storage_errors(folder):
            (folder / _ORIGIN).write_text(self._url, encoding="utf-8")

    def _download_versions(self, folder: Path) -> None:
        """Download the days of the versions, where the release has them: nothing depends on it."""
        try:
            self._download(IDC_VERSIONS, folder / f"{IDC_VERSIONS.name}.parquet")
        except RequestRefused as error:
            if error.status not in _NONE:
                raise

    def _prove(self, folder: Path) -> None:
        """Raise UsageError unless the rows of all tables can be made from the files."""
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            Index(folder, Path(scratch), is_whole=True, place=self._url).close()

    def _remove_drafts(self) -> None:
        """Remove what killed downloads have left; the caller has the lock that they had."""
        for draft in self._cache.glob(".*.draft"):
            shutil.rmtree(draft, ignore_errors=True)

    def _remove_old(self, newest: Path) -> None:
        """Remove all copies but the newest, and the one before: a run may be reading that."""
        others = [path.parent for path in self._cache.glob(f"[0-9]*/{_ORIGIN}")]
        others = sorted((p for p in others if p != newest), key=lambda p: p.stat().st_mtime)
        for path in others[:-1]:
            shutil.rmtree(path, ignore_errors=True)

    # --- Files ------------------------------------------------------------------------------------

    def _download(
        self,
        file: IndexFile,
        path: Path,
        on_bytes: Callable[[int], None] = lambda _: None,
        sha256: str = "",
    ) -> None:
        """Download a file whole.

        Args:
            file: The file.
            path: Where it goes.
            on_bytes: Called with the number of bytes so far.
            sha256: Its SHA-256; "" if that is not known: then it must be readable Parquet.
        """
        url = f"{self._url}/{file.name}.parquet"

        def attempt() -> None:
            found = self._save(url, path, on_bytes)
            if sha256 and found != sha256:
                raise UnreadableReply("it does not have the SHA-256 that is beside it", url=url)
            if not sha256 and (problem := _why_unreadable(path)):
                raise UnreadableReply(f"it cannot be read: {problem}", url=url)

        self._transport.retry(attempt)

    def _save(self, url: str, path: Path, on_bytes: Callable[[int], None]) -> str:
        """Write what a URL has to a file; returns its SHA-256."""
        digest, written = hashlib.sha256(), 0
        with (
            self._transport.send(
                "GET", url, {}, Cost(), max_bytes=_MOST_BYTES, is_file=True, kind="index"
            ) as chunks,
            storage_errors(path),
            path.open("wb") as file,
        ):
            for chunk in chunks:
                digest.update(chunk)
                written += file.write(chunk)
                if written > _MOST_BYTES:
                    raise TooLarge(f"it has more than {_MOST_BYTES} bytes", url=url)
                on_bytes(written)
        return digest.hexdigest()

    def _sha256_beside(self, file: IndexFile) -> str:
        """Return the SHA-256 that is published beside a file; "" if there is none."""
        url = f"{self._url}/{file.name}.parquet.sha256"

        def attempt() -> bytes:
            with self._transport.send(
                "GET", url, {}, Cost(), max_bytes=_LONGEST_SHA256_FILE, kind="sha256"
            ) as chunks:
                return b"".join(chunks)

        try:
            text = self._transport.retry(attempt).decode("ascii", "replace").strip().lower()
        except RequestRefused as error:
            if error.status in _NONE:
                return ""
            raise
        found = _SHA256.match(text)
        if found is None:
            raise UnreadableReply("it is no SHA-256", url=url, excerpt=text[:80])
        return found[0]


def _why_unreadable(path: Path) -> str:
    """Return why the rows of a Parquet file cannot all be read; "" if they can."""
    try:
        with sql.scratch() as connection:
            # Each value is read, and nothing is kept.
            rows = f"read_parquet({sql.literal(str(path))}) AS r"
            sql.fetch_table(connection, f"SELECT max(hash(r)) FROM {rows}")
    except sql.SqlError as error:
        return str(error).splitlines()[0]
    return ""


def _with_ways(error: TciaError) -> TciaError:
    """Return an error of the network with the ways to have an index without it."""
    if not isinstance(error, RemoteError):
        return error
    proxy = "check the network, or set HTTPS_PROXY if it needs a proxy; "
    if not isinstance(error, ArchiveUnreachable):
        proxy = ""
    problem = (
        f"{error.problem}; {proxy}the index of the Imaging Data Commons can be had otherwise: "
        f"{other_ways()}"
    )
    return type(error)(problem, url=error.url, status=error.status, excerpt=error.excerpt)
