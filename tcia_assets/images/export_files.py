"""The files of an exported Series: written from its zip, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcia_assets.images.acceptance.rules import NON_IMAGE_MEMBERS
from tcia_assets.images.export_index import ExportedSeries, ExportIndex
from tcia_assets.images.export_paths import DEFAULT_TEMPLATE, FolderTemplate, file_names
from tcia_assets.images.headers.series_zips import READ_ERRORS, error_text
from tcia_assets.images.zip_files import name_at, open_zip
from tcia_assets.store.archives import Archives
from tcia_assets.store.files import storage_errors

_PIECE_BYTES = 1 << 20
# It is in no UID, so that a file's name begins with the UID of one Series only.
_FLAT_SEPARATOR = "_"


@dataclass(frozen=True)
class Export:
    """Where and how to export.

    Attributes:
        to: The folder; made if it is not there.
        template: The folder of each Series in it.
        flat: Whether all files lie in the folder itself, named after Series and object.
    """

    to: Path
    template: FolderTemplate = FolderTemplate(DEFAULT_TEMPLATE)  # noqa: RUF009 - frozen
    flat: bool = False


class UnreadableZip(Exception):
    """A zip that is gone, damaged, or not the one in the manifest."""


class SeriesWriter:
    """Writes the files of one Series after the other.

    Args:
        export: Where and how.
        index: What was exported there before; each Series that is written is added.
    """

    def __init__(self, export: Export, index: ExportIndex) -> None:
        self._export, self._index = export, index
        self._flat_files = _flat_files(export.to) if export.flat and export.to.is_dir() else {}

    def has(self, row: Mapping[str, Any]) -> bool:
        """Return whether all files of the Series are there, from the zip as it is now."""
        known = self._index.series.get(row["SeriesInstanceUID"])
        if known is None or known.sha256 != row["sha256"]:
            return False
        sizes = [size for _, size in self._files_of(known)]
        return (len(sizes), sum(sizes)) == (known.files, known.bytes)

    def write(self, row: Mapping[str, Any], archives: Archives) -> ExportedSeries:
        """Write the files of a Series.

        Raises:
            UnreadableZip: Its zip cannot be read.
            StorageError: A file cannot be written.
        """
        uid, to = row["SeriesInstanceUID"], self._export.to
        draft = to / f".{uid}.draft"
        with storage_errors(to / uid):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                files, size = _extract(row, archives, draft)
                folder = "" if self._export.flat else self._publish_folder(row, draft)
                if self._export.flat:
                    self._publish_files(uid, draft)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        exported = ExportedSeries(uid, folder, row["sha256"], files, size)
        self._index.add(exported)
        return exported

    def _publish_folder(self, row: Mapping[str, Any], draft: Path) -> str:
        folder = self._index.claim(row["SeriesInstanceUID"], self._export.template.folder(row))
        place = self._export.to / folder
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        draft.replace(place)
        return folder

    def _publish_files(self, uid: str, draft: Path) -> None:
        for path, _ in self._flat_files.pop(uid, []):
            path.unlink(missing_ok=True)
        for file in draft.iterdir():
            file.replace(self._export.to / f"{uid}{_FLAT_SEPARATOR}{file.name}")

    def _files_of(self, known: ExportedSeries) -> list[tuple[Path, int]]:
        if not known.folder:
            return self._flat_files.get(known.series_instance_uid, [])
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return list(_files_in(self._export.to / known.folder))
        return []


def _flat_files(folder: Path) -> dict[str, list[tuple[Path, int]]]:
    """Return the files of a flat export with their sizes, by SeriesInstanceUID."""
    files: dict[str, list[tuple[Path, int]]] = {}
    for path, size in _files_in(folder):
        files.setdefault(path.name.partition(_FLAT_SEPARATOR)[0], []).append((path, size))
    return files


def _files_in(folder: Path) -> Iterator[tuple[Path, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield Path(entry.path), entry.stat(follow_symlinks=False).st_size


def _extract(row: Mapping[str, Any], archives: Archives, folder: Path) -> tuple[int, int]:
    """Write the objects in a zip into a folder; returns their number and bytes."""
    files = size = 0
    with _open(row, archives) as zip_file:
        members = [m.filename for m in zip_file.infolist() if _is_object(m)]
        for member, name in file_names(members):
            with (folder / name).open("xb") as file:
                for piece in _read_pieces(zip_file, member):
                    file.write(piece)
                    size += len(piece)
            files += 1
    return files, size


def _is_object(member: zipfile.ZipInfo) -> bool:
    return member.filename not in NON_IMAGE_MEMBERS and not member.is_dir()


@contextlib.contextmanager
def _open(row: Mapping[str, Any], archives: Archives) -> Iterator[zipfile.ZipFile]:
    with contextlib.ExitStack() as stack:
        with _zip_errors():
            opened = open_zip(archives, name_at(row["path"]), row["sha256"], row["archive_bytes"])
            zip_file = stack.enter_context(opened)
        yield zip_file


def _read_pieces(zip_file: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    with _zip_errors(), zip_file.open(member) as stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece


@contextlib.contextmanager
def _zip_errors() -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        raise UnreadableZip(f"its zip cannot be read: {error_text(error)}; see `verify`") from error
