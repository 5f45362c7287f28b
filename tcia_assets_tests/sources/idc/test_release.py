"""Where an index release is found, and what is refused as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.errors import UsageError
from tcia_assets.sources.idc.release import release_of
from tcia_assets_tests.sources.idc.index_files import write_index


def test_the_release_is_what_the_file_says(tmp_path: Path) -> None:
    assert release_of(write_index(tmp_path, release="24.1.0")) == "24.1.0"


def test_files_that_name_no_release_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say which release it is of"):
        release_of(write_index(tmp_path, release=""))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (write_index(tmp_path) / "idc_index.parquet").write_bytes(b"<html>")
    with pytest.raises(UsageError, match="cannot be used"):
        release_of(tmp_path)
