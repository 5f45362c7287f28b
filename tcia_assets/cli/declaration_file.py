"""Find the file that declares a dataset."""

from __future__ import annotations

from pathlib import Path

from tcia_assets.errors import UnknownName, UsageError


def find_declaration(name: str, folder: Path) -> Path:
    """Return the declaration with this path, or of this name in the folder.

    Raises:
        UsageError: There is no such folder.
        UnknownName: The folder has no such declaration.
    """
    if name.endswith(".yaml"):
        return Path(name).absolute()
    if not folder.is_dir():
        raise UsageError(f"there is no folder {str(folder)!r} (TCIA_DATASETS_DIR)")
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UnknownName(f"dataset in {folder}", name, known)
    return (folder / f"{name}.yaml").absolute()
