"""A data folder of the version before: it is read as it is, and goes on with what it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets import catalog
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.store.tables import drop_columns

# What the first edition did not have: files beside the tables, tables, and columns.
_LATER_FILES = (".digests", ".marks", ".clean", ".recorded", "VERSION")
_LATER_TABLES = (catalog.INDEXED_ZIPS, catalog.ZIP_READS, catalog.SERIES_CHANGES, catalog.SNAPSHOTS)
_LATER_COLUMNS = {
    catalog.SERIES: ("SOPClassUID", "crdc_series_uuid", "files_md5", "listed_since", "moved_to"),
    catalog.IMAGE_ARCHIVES: ("DataDescriptionURI", "crdc_series_uuid"),
    catalog.IMAGES: ("KVP", "ImageType", "header_version"),
}


def make_as_before(root: Path, terminal: Terminal) -> None:
    """Let a data folder be as the first edition has left it."""
    for table, names in _LATER_COLUMNS.items():
        drop_columns(terminal.warehouse.files(table, SMALL), *names)
    for table in _LATER_TABLES:
        shutil.rmtree(root / "warehouse" / table.name, ignore_errors=True)
    for folder in (root / "warehouse").glob(f"*/{SMALL}"):
        folder.rename(folder.with_name(f"Collection={SMALL}"))
    for name in _LATER_FILES:
        path = root / "warehouse" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in ("SHA256SUMS", "CITATION.cff", "CITATIONS.bib"):
        (root / "archives" / SMALL / name).unlink(missing_ok=True)


def stored(terminal: Terminal) -> dict[str, pa.Table]:
    """Return the rows of images; of zips, without what only a later fetch records."""
    tables = (catalog.IMAGE_ARCHIVES, catalog.IMAGES, catalog.REFERENCES, catalog.TARGETS)
    rows = {table.name: terminal.warehouse.read(table, [SMALL]) for table in tables}
    rows["image_archives"] = rows["image_archives"].drop_columns(["DataDescriptionURI"])
    return rows


@pytest.mark.slow
def test_a_folder_of_the_first_edition_is_read_and_nothing_is_fetched_again(
    sandbox: Sandbox, fetched_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(fetched_root, tmp_path / "data", ignore=shutil.ignore_patterns("*.duckdb"))
    terminal = Terminal(sandbox, tmp_path / "data")
    before = stored(terminal)
    make_as_before(terminal.root, terminal)

    status = terminal("status")
    assert status.exit_code == 0 and "10 of LCTSC" in status.stdout
    for command in (("refresh", SMALL), ("fetch", SMALL), ("verify", "--deep"), ("migrate",)):
        done = terminal(*command)
        assert done.exit_code == 0, done.output
    assert not sandbox.requests["getImageWithMD5Hash"] and not terminal.sent_image_requests
    assert stored(terminal) == before
    assert "Unindexed:" not in terminal("status").stdout
