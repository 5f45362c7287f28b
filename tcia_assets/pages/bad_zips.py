"""Zips of Series that are missing or damaged: found by a list of their folders, or when opened."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace

from tcia_assets.errors import TciaError
from tcia_assets.images.zip_files import name_at
from tcia_assets.pages.series import SeriesFacts
from tcia_assets.pages.series_page import Shown
from tcia_assets.store.warehouse import Warehouse

MISSING_ZIP, DAMAGED_ZIP = "its zip is missing", "its zip is damaged"
SHORT_PROBLEMS = {MISSING_ZIP: "zip missing", DAMAGED_ZIP: "zip damaged"}
"""What a list of Series shows of a bad zip, by the reason why nothing was made of it."""


def find_bad_zips(found: Mapping[str, SeriesFacts], warehouse: Warehouse) -> dict[str, str]:
    """Return which zips are missing or have another size than in the manifest.

    Args:
        found: Series on disk, by UID.
        warehouse: Where their zips are; the folders are listed, and no zip is opened.

    Returns:
        `MISSING_ZIP` or `DAMAGED_ZIP` by UID; empty also if the store cannot be listed: then
        opening a zip fails, and shows why.
    """
    zips = {uid: name_at(facts.zip.path) for uid, facts in found.items()}
    folders = sorted({name.rpartition("/")[0] for name in zips.values()})
    try:
        stored = {file.name: file for f in folders for file in warehouse.archives.list(f)}
    except (TciaError, OSError):
        return {}
    sizes = {uid: stored[name].size_bytes for uid, name in zips.items() if name in stored}
    missing = dict.fromkeys(zips.keys() - sizes.keys(), MISSING_ZIP)
    damaged = (u for u, size in sizes.items() if size != found[u].archive["archive_bytes"])
    return missing | dict.fromkeys(damaged, DAMAGED_ZIP)


def advise_repair(facts: SeriesFacts, shown: Shown) -> Shown:
    """Return what is shown of a Series with a bad zip, with the command that replaces the zip."""
    collection = shlex.quote(facts.archive["Collection"])
    if facts.archive["status"] != "complete":  # `verify` has marked it
        text, command = "The next fetch replaces it:", "fetch"
    else:
        text, command = "So that the next fetch replaces it:", "verify"
    advice = f"tcia-assets {command} {collection}"
    return replace(shown, why=f"{shown.why} {text}", advice=advice)
