"""Whole objects on this machine: right bytes only, within the limit, shared by processes."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcia_assets.errors import StorageError
from tcia_assets.store.archives import ChangedFile
from tcia_assets.store.archives.cache import FileCache
from tcia_assets_tests.disks import small_disk
from tcia_assets_tests.repository import ROOT

KB = 1000
USE = """
import sys
from pathlib import Path
from tcia_assets.store.archives.cache import FileCache

def never():
    raise AssertionError

with FileCache(Path(sys.argv[1]), 1000).use(sys.argv[2], never) as path:
    print("ready", flush=True)
    sys.stdin.readline()
    assert path.is_file()
"""


class Store:
    """Counts how often each content is read from it."""

    def __init__(self) -> None:
        self.read = 0

    def use(self, cache: FileCache, content: bytes) -> str:
        """Read a content through a cache; returns its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        with cache.use(sha256, lambda: self.opened(content)) as path:
            assert path.read_bytes() == content
        return sha256

    def opened(self, content: bytes) -> io.BytesIO:
        self.read += 1
        return io.BytesIO(content)


@pytest.fixture
def store() -> Store:
    return Store()


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("??/*"))


def test_a_file_is_copied_once_and_kept(tmp_path: Path, store: Store) -> None:
    cache = FileCache(tmp_path, 10 * KB)
    for _ in range(3):
        sha256 = store.use(cache, b"a" * KB)
    assert store.read == 1
    assert stored(tmp_path) == [sha256]


def test_what_was_used_longest_ago_goes_first(tmp_path: Path, store: Store) -> None:
    cache = FileCache(tmp_path, 3 * KB)
    first, second, third = (store.use(cache, letter * KB) for letter in (b"a", b"b", b"c"))
    store.use(cache, b"a" * KB)
    fourth = store.use(cache, b"d" * KB)
    assert stored(tmp_path) == sorted([first, third, fourth])
    assert second not in stored(tmp_path)


def test_a_file_that_rotted_here_is_copied_again(tmp_path: Path, store: Store) -> None:
    cache = FileCache(tmp_path, 10 * KB)
    sha256 = store.use(cache, b"a" * KB)
    (tmp_path / sha256[:2] / sha256).write_bytes(b"b" * KB)
    store.use(cache, b"a" * KB)
    assert store.read == 2


def test_a_source_with_other_bytes_is_an_error_and_is_not_kept(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 10 * KB)
    sha256 = hashlib.sha256(b"expected").hexdigest()
    with pytest.raises(ChangedFile), cache.use(sha256, lambda: io.BytesIO(b"other")):
        pass
    assert stored(tmp_path) == []


def test_a_file_larger_than_the_limit_is_there_while_it_is_used(
    tmp_path: Path, store: Store
) -> None:
    cache = FileCache(tmp_path, 0)
    store.use(cache, b"a" * KB)
    assert stored(tmp_path) == []
    draft = tmp_path / "draft"
    draft.write_bytes(b"a")
    cache.add(draft, hashlib.sha256(b"a").hexdigest())
    assert stored(tmp_path) == [] and not draft.exists()


def test_a_file_that_is_added_is_not_copied(tmp_path: Path, store: Store) -> None:
    cache, draft = FileCache(tmp_path / "cache", 10 * KB), tmp_path / "draft"
    draft.write_bytes(b"a" * KB)
    os.utime(draft, (0, 1_700_000_000))
    sha256 = hashlib.sha256(b"a" * KB).hexdigest()
    cache.add(draft, sha256)
    store.use(cache, b"a" * KB)
    assert store.read == 0 and not draft.exists()
    path = tmp_path / "cache" / sha256[:2] / sha256
    assert path.stat().st_mtime == 1_700_000_000, "when the zip was published"


def test_a_file_that_is_still_to_be_read_stays_longer_than_those_that_were(
    tmp_path: Path, store: Store
) -> None:
    cache, draft = FileCache(tmp_path / "cache", 2 * KB), tmp_path / "draft"
    draft.write_bytes(b"a" * KB)
    added = hashlib.sha256(b"a" * KB).hexdigest()
    cache.add(draft, added)
    for letter in (b"b", b"c"):
        used = store.use(cache, letter * KB)
    assert stored(tmp_path / "cache") == sorted([added, used])
    store.use(cache, b"a" * KB)
    store.use(cache, b"c" * KB)
    store.use(cache, b"d" * KB)
    assert added not in stored(tmp_path / "cache")


def test_a_file_that_another_process_uses_is_not_removed(tmp_path: Path, store: Store) -> None:
    cache = FileCache(tmp_path, KB)
    used = store.use(cache, b"a" * KB)
    command = [sys.executable, "-c", USE, str(tmp_path), used]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        store.use(cache, b"b" * KB)
        assert used in stored(tmp_path)
        process.communicate("\n", timeout=30)
    assert process.returncode == 0
    store.use(cache, b"c" * KB)
    assert used not in stored(tmp_path)


def test_drafts_of_killed_processes_are_removed(tmp_path: Path, store: Store) -> None:
    (tmp_path / "ab").mkdir()
    for dead in (tmp_path / ".1.draft", tmp_path / "ab" / ".abc.1.draft"):
        dead.write_bytes(b"half")
    store.use(FileCache(tmp_path, 10 * KB), b"a" * KB)
    assert list(tmp_path.rglob(".*")) == []


def test_a_copy_is_read_anew_and_removed(tmp_path: Path, store: Store) -> None:
    cache = FileCache(tmp_path, 10 * KB)
    store.use(cache, b"a" * KB)
    with cache.copy(lambda: store.opened(b"a" * KB)) as path:
        assert path.read_bytes() == b"a" * KB
    assert store.read == 2
    assert list(tmp_path.rglob(".*")) == []


def test_a_full_disk_is_an_error_that_names_the_path(tmp_path: Path, store: Store) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        cache = FileCache(disk / "cache", 10 << 20)
        with pytest.raises(StorageError, match="No space left"):
            store.use(cache, b"a" * (2 << 20))
        with (
            pytest.raises(StorageError, match="No space left"),
            cache.copy(lambda: store.opened(b"a" * (2 << 20))),
        ):
            pass
        assert [path for path in disk.rglob("*") if path.is_file()] == []
