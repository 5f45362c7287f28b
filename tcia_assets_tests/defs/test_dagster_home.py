"""Where Dagster keeps the records of runs in this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_assets.defs.dagster_home import open_instance
from tcia_assets.errors import UsageError
from tcia_assets_tests import disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "8m") as disk:
        yield disk


def test_a_home_that_a_killed_command_has_half_made_is_made_anew(tmp_path: Path) -> None:
    half_made = tmp_path / ".dagster"
    half_made.mkdir()
    (half_made / "dagster.yaml").write_text("# and no databases\n")
    open_instance(tmp_path)

    assert not half_made.exists()
    assert {path.name for path in (tmp_path / "dagster").rglob("*.db")} == {
        "runs.db",
        "index.db",
        "schedules.db",
    }


def test_without_dagster_home_each_data_folder_has_records_of_its_own(tmp_path: Path) -> None:
    for name in ("first", "second"):
        open_instance(tmp_path / name)

        assert (tmp_path / name / "dagster" / "history" / "runs.db").is_file()
        assert "DAGSTER_HOME" not in os.environ


def test_a_data_folder_may_have_characters_of_urls(tmp_path: Path) -> None:
    made, *copies = names = ["da?ta", "100%", "50%25", "a#b"]
    open_instance(tmp_path / made).add_dynamic_partitions("tcia_collections", ["LCTSC"])
    assert (tmp_path / made / "dagster" / "history" / "runs.db").is_file()
    for name in copies:  # to make one takes Dagster longer
        shutil.copytree(tmp_path / made, tmp_path / name)

    for name in names:
        again = open_instance(tmp_path / name)
        assert list(again.get_dynamic_partitions("tcia_collections")) == ["LCTSC"], name
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_a_read_only_data_folder_is_named(small_disk: Path) -> None:
    open_instance(small_disk / "data")
    with disks.read_only(small_disk), pytest.raises(UsageError, match=r"data' is read-only"):
        open_instance(small_disk / "data")
    with disks.read_only(small_disk), pytest.raises(UsageError, match=r"Read-only file system"):
        open_instance(small_disk / "new")
