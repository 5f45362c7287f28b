"""The folder of a catalogue: ours or refused, each file whole or not at all, and what is known.

catalogue.json      shows that the folder is ours
index.html, ...     the pages
.state/             what the pages were made from, so that only changed ones are written again
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcia_assets.errors import UsageError
from tcia_assets.store.files import make_folder, publish, publish_text, storage_errors
from tcia_assets.store.locks import hold_lock

MARKER = "catalogue.json"
DEFAULT = "catalogue"
"""The folder's name below the data folder, unless another one is chosen."""

_MADE_BY = {"made_by": "tcia_assets", "what": "catalogue", "format": 1}
_STATE, _LOCK = ".state", ".lock"
_LOCK_SECONDS = 600.0


@dataclass
class CatalogueFolder:
    """A folder that a catalogue is written to; `written` and `removed` are files of this run."""

    path: Path
    written: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    bytes_written: int = 0

    @contextmanager
    def opened(self, root: Path) -> Iterator[None]:
        """Make the folder ours, and hold its lock.

        Args:
            root: The data folder.

        Raises:
            UsageError: The folder is not ours, or lies where other things of the data folder are.
                Nothing in it was changed.
            StorageError: It cannot be written.
            Busy: Another run has been writing it for ten minutes.
        """
        self._check(root)
        make_folder(self.path)
        with hold_lock(self.path / _LOCK, f"the catalogue in {self.path}", wait=_LOCK_SECONDS):
            self.save_options(self.options())
            yield

    def _check(self, root: Path) -> None:
        place, root = self.path.resolve(), root.resolve()
        is_inside = root in place.parents and place != root / DEFAULT
        if place == root or is_inside:
            raise UsageError(
                f"{str(self.path)!r} lies in the data folder {root}, where only {DEFAULT!r} is for "
                "a catalogue: choose another folder"
            )
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{str(self.path)!r} is a file: choose a folder for the catalogue")
        if self.path.is_dir() and not self._is_ours() and any(self.path.iterdir()):
            raise UsageError(
                f"{str(self.path)!r} has files and is no catalogue of tcia_assets: choose an empty "
                "or a new folder; nothing was changed"
            )

    def _is_ours(self) -> bool:
        with suppress(OSError, ValueError):
            found = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
            return isinstance(found, dict) and found.get("made_by") == _MADE_BY["made_by"]
        # A run that was killed before it wrote the marker has left only these.
        names = [each.name for each in self.path.iterdir()]
        return bool(names) and all(n == _LOCK or n.startswith(f".{MARKER}.") for n in names)

    def has(self, name: str) -> bool:
        """Return whether a file is there."""
        return (self.path / name).is_file()

    def write(self, name: str, content: bytes | str) -> None:
        """Publish a file; one with the same content stays.

        Args:
            name: Its path in the folder, with slashes.
            content: Its bytes, or its text.
        """
        data = content.encode("utf-8", "replace") if isinstance(content, str) else content
        if publish(self.path / name, lambda draft: draft.write_bytes(data)):
            self.written.add(name)
            self.bytes_written += len(data)

    def remove(self, name: str) -> None:
        """Remove a file that an earlier run has written, if it is there."""
        path = self.path / name
        if ".." in path.parts:
            raise UsageError(f"{name!r} is not a file of the catalogue")
        with storage_errors(path):
            if path.is_file():
                path.unlink()
                self.removed.add(name)

    def options(self) -> dict[str, Any]:
        """Return the options that were chosen for this catalogue."""
        with suppress(OSError, ValueError):
            found = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
            return {n: v for n, v in found.get("options", {}).items() if isinstance(v, int)}
        return {}

    def save_options(self, options: dict[str, Any]) -> None:
        """Save the options for the next run."""
        text = json.dumps({**_MADE_BY, "options": options})
        publish_text(self.path / MARKER, f"{text}\n")

    # --- What is known of earlier runs ------------------------------------------------------------

    def states(self) -> list[str]:
        """Return the names of all states, sorted."""
        return sorted(path.stem for path in (self.path / _STATE).glob("*.json"))

    def state(self, name: str, *, shared: bool = False) -> dict[str, Any]:
        """Return what was saved under a name; nothing if that is missing or damaged.

        Args:
            name: That of a Collection's pages, or of pages of another kind.
            shared: Whether it is of another kind.
        """
        with suppress(OSError, ValueError):
            found = json.loads(self._state_file(name, shared=shared).read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def save(self, name: str, state: dict[str, Any], *, shared: bool = False) -> None:
        """Save what the next run has to know."""
        text = json.dumps(state, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
        publish_text(self._state_file(name, shared=shared), f"{text}\n")

    def _state_file(self, name: str, *, shared: bool) -> Path:
        return self.path / (f"{_STATE}/shared" if shared else _STATE) / f"{name}.json"

    def forget(self, name: str) -> None:
        """Remove a state."""
        (self.path / _STATE / f"{name}.json").unlink(missing_ok=True)
