"""The files of an exported Series are there whole, or the Series counts as not exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.images.export_files import Export, SeriesWriter, UnreadableZip
from tcia_assets.images.export_index import ExportIndex
from tcia_assets.images.export_paths import FolderTemplate
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL

TEMPLATE = FolderTemplate("{Collection}")


@pytest.fixture
def fetched(contours_root: Path) -> Warehouse:
    """Return a warehouse of contour Series of one object each, for tests that change nothing."""
    return Warehouse(contours_root)


def rows_of(warehouse: Warehouse) -> list[Mapping[str, Any]]:
    return warehouse.read(IMAGE_ARCHIVES, [SMALL]).to_pylist()


def writer(to: Path, *, flat: bool) -> SeriesWriter:
    to.mkdir(exist_ok=True)
    return SeriesWriter(Export(to, TEMPLATE, flat=flat), ExportIndex(to))


@pytest.mark.parametrize("flat", [False, True])
def test_a_series_is_there_while_all_its_files_are(
    fetched: Warehouse, tmp_path: Path, *, flat: bool
) -> None:
    first, second, third, *_ = rows_of(fetched)
    made = writer(tmp_path / "out", flat=flat)
    for row in (first, second, third):
        written = made.write(row, fetched.archives)
        assert written.files == 1 and bool(written.folder) != flat
    lost, cut, _ = sorted((tmp_path / "out").rglob("*.dcm"), key=lambda path: path.stat().st_mtime)
    if flat:
        assert lost.name.startswith(f"{first['SeriesInstanceUID']}_")
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-10])
    again = writer(tmp_path / "out", flat=flat)
    assert [again.has(row) for row in (first, second, third)] == [False, False, True]
    assert not again.has({**third, "sha256": "that of another zip"})
    again.write(first, fetched.archives)
    assert writer(tmp_path / "out", flat=flat).has(first)


def test_a_zip_that_is_not_the_one_in_the_manifest_leaves_nothing(
    fetched: Warehouse, tmp_path: Path
) -> None:
    row, *_ = rows_of(fetched)
    with pytest.raises(UnreadableZip, match="cannot be read"):
        writer(tmp_path, flat=False).write({**row, "archive_bytes": 1}, fetched.archives)
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() or path.suffix == ".dcm"]
