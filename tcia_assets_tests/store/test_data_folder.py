"""A data folder need not exist, and a message names one that does not; a file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.errors import UsageError
from tcia_assets.settings import Settings
from tcia_assets.store.data_folder import missing_folder, open_warehouse


def test_a_folder_that_does_not_exist_is_opened_and_named(tmp_path: Path) -> None:
    warehouse = open_warehouse(Settings(data_dir=str(tmp_path / "new")))
    assert f"there is no folder {tmp_path / 'new'}" in missing_folder(warehouse)
    assert not (tmp_path / "new").exists()
    assert missing_folder(open_warehouse(Settings(data_dir=str(tmp_path)))) == ""


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/data"):
        with pytest.raises(UsageError, match="file is not a folder"):
            open_warehouse(Settings(data_dir=str(tmp_path / place)))
