"""The data folder as a user names it: opened, or missing where it may be a mistake."""

from __future__ import annotations

from tcia_assets.errors import UsageError
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse


def open_warehouse(settings: Settings) -> Warehouse:
    """Return the warehouse in the data folder, which need not exist yet.

    Raises:
        UsageError: A file lies where the folder should be.
    """
    for place in (settings.root, *settings.root.parents):
        if place.exists():
            if not place.is_dir():
                raise UsageError(f"TCIA_DATA_DIR is {settings.data_dir!r}; {place} is not a folder")
            break
    return Warehouse.of(settings)


def missing_folder(warehouse: Warehouse) -> str:
    """Return the end of a message about an empty warehouse: its folder, if there is none."""
    if warehouse.root.exists():
        return ""
    return f"; there is no folder {warehouse.root}: is TCIA_DATA_DIR right?"


def check_folder(settings: Settings) -> str:
    """Return a note about a data folder without a warehouse, which may be a mistake; else "".

    Raises:
        UsageError: The folder was chosen, and does not exist.
    """
    root, chosen = settings.root, settings.data_dir
    advice = "run `tcia-assets refresh` first"
    if not root.exists() and chosen != Settings.model_fields["data_dir"].default:
        raise UsageError(
            f"there is no folder {root} (TCIA_DATA_DIR is {chosen!r}): correct it, or {advice}"
        )
    if (root / "warehouse").exists():
        return ""
    return f"there is no warehouse in {root}: set TCIA_DATA_DIR, or {advice}"
