"""Where an index release is: the installed package, a folder, or a URL."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tcia_assets.errors import UsageError
from tcia_assets.settings import Settings

_PACKAGE = "idc_index_data"
_WAYS = (
    "install it (pip install 'tcia_assets[idc]'), or set TCIA_IDC_INDEX to a folder with its "
    "Parquet files, or to a URL below which they are"
)


def index_folder(settings: Settings) -> Path:
    """Return the folder that has the index release of the settings.

    Raises:
        UsageError: There is none; the text has the ways to have one.
    """
    if settings.idc_index:
        folder = Path(settings.idc_index)
        if not folder.is_dir():
            raise UsageError(
                f"TCIA_IDC_INDEX is {settings.idc_index!r}, which is no folder; {_WAYS}"
            )
        return folder
    # Not imported: it would read its files.
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise UsageError(f"there is no index of the Imaging Data Commons: {_WAYS}")
    return Path(found.origin).parent
