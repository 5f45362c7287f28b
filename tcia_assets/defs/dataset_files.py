"""The files that declare datasets: where they are, and what their assets are called.

A file is read when a run starts. One that is broken fails only its own runs, and its assets'
descriptions say so.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from tcia_assets.defs.names import Names
from tcia_assets.errors import TciaError, UsageError
from tcia_assets.settings import Settings

if TYPE_CHECKING:
    from tcia_assets.datasets.declaration import Declaration


@dataclass(frozen=True)
class DatasetFile:
    """A file that declares a dataset, and the name of its assets."""

    path: Path
    name: str
    names: Names

    def key(self, part: str) -> dg.AssetKey:
        """Return the key of one of its assets: "cohort", "samples" or "dataset"."""
        return self.names.key(f"{self.name}_{part}")

    def op(self, part: str) -> str:
        """Return the name of the op of one of its assets."""
        return self.names.of(f"{self.name}_{part}")

    @property
    def title(self) -> str:
        """The dataset's title, or what is wrong with the file."""
        try:
            return self.load().title
        except TciaError as error:
            return f"{self.path.name} cannot be used: {error}"

    def load(self) -> "Declaration":
        """Read the declaration.

        Raises:
            BadDeclaration: The file cannot be used.
            MissingExtra: numpy or another library for datasets is not installed.
        """
        # Imported here, because it needs numpy, an optional dependency.
        from tcia_assets.datasets.declaration import load_declaration  # noqa: PLC0415

        return load_declaration(self.path)


def datasets_folder(chosen: str | Path | None) -> Path | None:
    """Return the folder of declarations: `chosen`, else TCIA_DATASETS_DIR, else `datasets`.

    Returns:
        The folder; None if `chosen` is "", or if nothing is chosen and there is no `datasets`.

    Raises:
        UsageError: A folder is named that does not exist.
    """
    if chosen is not None and not str(chosen):
        return None
    default: str = Settings.model_fields["datasets_dir"].default
    # Only this setting is read here: the others may be missing until a run starts.
    named = str(chosen or os.environ.get("TCIA_DATASETS_DIR", "").strip() or default)
    folder = Path(named).absolute()
    if folder.is_dir():
        return folder
    if named == default:
        return None
    raise UsageError(f"there is no folder {named!r} of datasets (TCIA_DATASETS_DIR)")


def dataset_files(names: Names, folder: Path | None) -> list[DatasetFile]:
    """Return the files of a folder, each with a unique name that Dagster accepts."""
    found: dict[str, DatasetFile] = {}
    paths = sorted(folder.glob("*.yaml")) if folder else []
    # Files whose name must be changed come last, so that they do not take another's name.
    for path in sorted(paths, key=lambda path: (_dagster_name(path.stem) != path.stem, path.stem)):
        name = _dagster_name(path.stem)
        while name in found:
            name += "_"
        found[name] = DatasetFile(path, name, names)
    return list(found.values())


def _dagster_name(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", stem)
