"""Zips in a folder of this machine, or of a file system that it mounts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tcia_assets.errors import StorageError
from tcia_assets.store.archives import RUNS, StoredFile
from tcia_assets.store.files import publish, publish_draft, sha256_of


class FolderArchives:
    """The implementation of `Archives` for a folder.

    Drafts of zips lie beside what they become, those of texts in `RUNS` if a run has made it.

    Args:
        root: The folder; it need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def is_shared(self) -> bool:
        return False

    def address(self, name: str) -> str:
        return str(self.root / name)

    def probe(self) -> float:
        place = next(each for each in (self.root, *self.root.parents) if each.exists())
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise StorageError(f"{place} cannot be written to")
        return 0.0

    def put(self, draft: Path, name: str, sha256: str, *, replaces: str = "") -> None:
        # Not stored beside a file: the manifest has it. The claim keeps others from this name.
        del sha256, replaces
        publish_draft(draft, self.root / name)

    def put_text(self, name: str, text: str | Iterable[bytes]) -> bool:
        path = self.root / name
        if text:
            # Beside 200,000 zips, a list of them for each text would take most of a fetch.
            runs = path.parent / RUNS
            pieces = (text.encode(),) if isinstance(text, str) else text
            drafts = runs if runs.is_dir() else None
            return publish(path, lambda draft: _write(draft, pieces), drafts=drafts)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"{path} cannot be removed: {reason}") from error
        return True

    def forget_changed_texts(self, names: Sequence[str]) -> Sequence[str]:
        del names  # `put_text` compares with the file itself
        return []

    def head(self, name: str) -> StoredFile:
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there")
        return self._describe(path)

    def open(self, name: str) -> BinaryIO:
        return (self.root / name).open("rb")

    def list(self, folder: str) -> Sequence[StoredFile]:
        # Also what is not a file: to read it raises an OSError.
        return [self._describe(path) for path in sorted((self.root / folder).glob("[!.]*"))]

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def folders(self, folder: str = "") -> Sequence[str]:
        found = (self.root / folder).glob("*/")
        return sorted(path.name for path in found if any(path.glob("[!.]*")))

    def work_folder(self, folder: str) -> Path:
        return self.root / folder

    @contextmanager
    def local(self, name: str, sha256: str) -> Iterator[Path]:
        del sha256  # who reads the zip for a purpose that depends on it compares it
        yield self.root / name

    @contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        yield self.root / name

    def sha256(self, name: str) -> str:
        return sha256_of(self.root / name)

    def _describe(self, path: Path) -> StoredFile:
        stat = path.stat() if path.exists() else path.lstat()  # the latter of a dead link
        published_at = datetime.fromtimestamp(stat.st_mtime, UTC)
        return StoredFile(path.relative_to(self.root).as_posix(), stat.st_size, published_at)


def _write(draft: Path, pieces: Iterable[bytes]) -> None:
    with draft.open("wb") as file:
        file.writelines(pieces)
