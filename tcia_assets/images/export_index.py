"""The record of what was exported into a folder, by which an export goes on where it stopped.

Each line of its file is about one Series. A Series has its folder before anything is written, so
that a killed export, or one of other Series, gives it to no other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tcia_assets.errors import UsageError
from tcia_assets.images.export_paths import unique_folders
from tcia_assets.store.files import storage_errors

FILE_NAME = ".tcia-export.jsonl"
LOCK_NAME = ".tcia-export.lock"


@dataclass(frozen=True)
class ExportedSeries:
    """A Series in an export.

    Attributes:
        series_instance_uid: Its UID.
        folder: Its folder, relative to that of the export; "" if its files are in that itself.
        sha256: SHA-256 of the zip that was exported; "" before that is done.
        files: Number of its files.
        bytes: Bytes of its files.
    """

    series_instance_uid: str
    folder: str
    sha256: str = ""
    files: int = 0
    bytes: int = 0


class ExportIndex:
    """The Series of an export, by UID.

    Raises:
        UsageError: The folder has other content, or its index was not written by an export.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._path = root, root / FILE_NAME
        self.series: dict[str, ExportedSeries] = {}
        if self._path.is_file():
            self._read()
        elif root.is_dir() and any(each.name != LOCK_NAME for each in root.iterdir()):
            raise UsageError(
                f"{str(root)!r} has other files, which an export could overwrite: choose a new "
                "folder, or one that an export made"
            )
        self._folders = {each.folder.casefold() for each in self.series.values()}

    def claim(self, series_instance_uid: str, folder: str) -> str:
        """Give a Series a folder that no other Series has, and return it.

        A Series that has one already keeps it.
        """
        known = self.series.get(series_instance_uid)
        if known and known.folder:
            return known.folder
        chosen = next(
            name
            for name in unique_folders(folder, series_instance_uid)
            if name.casefold() not in self._folders and not (self._root / name).exists()
        )
        self._folders.add(chosen.casefold())
        self.add(ExportedSeries(series_instance_uid, chosen))
        return chosen

    def add(self, exported: ExportedSeries) -> None:
        """Record a Series in place of what was recorded of it."""
        self.series[exported.series_instance_uid] = exported
        with storage_errors(self._path), self._path.open("ab") as file:
            # The line break comes first: the line before may have been cut off.
            file.write(b"\n" + json.dumps(asdict(exported)).encode())

    def _read(self) -> None:
        for line in self._path.read_bytes().split(b"\n"):
            try:
                exported = ExportedSeries(**json.loads(line)) if line else None
            except ValueError:
                continue  # cut off when its writer was killed
            except TypeError as error:
                raise UsageError(f"{self._path} is of another version: {error}") from None
            if exported:
                self.series[exported.series_instance_uid] = exported
