"""`tcia-assets catalogue`: what it writes, says and refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest

from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.cli.terminal import Terminal


@pytest.mark.usefixtures("events_on_disk")
def test_it_prints_the_page_to_open(fetched: Terminal, tmp_path: Path) -> None:
    result = fetched("catalogue")
    assert result.exit_code == 0, result.output
    opened = result.stdout.splitlines()[-1].removeprefix("Open ")
    index = tmp_path / "data" / "catalogue" / "index.html"
    assert urlsplit(opened).path == str(index) and index.is_file()
    assert "0 files written" in fetched("catalogue").stdout
    # The second run wrote nothing.
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetKey(["tcia", "catalogue"])
        [record] = instance.fetch_materializations(key, limit=9).records
    event = record.asset_materialization
    assert event and event.metadata["page"].value == str(index)


def test_pictures_that_could_not_be_made_are_noted(
    sandbox: Sandbox, fetched_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(fetched_root, tmp_path / "data")
    terminal = Terminal(sandbox, tmp_path / "data")
    zips = sorted((tmp_path / "data" / "archives").rglob("*.zip"), key=lambda p: p.stat().st_size)
    zips[-1].write_bytes(b"damaged")
    result = terminal("catalogue", "--volumes", "0")
    assert result.exit_code == 0, result.output
    assert "Note: pictures of 1 Series could not be made" in result.stderr
    assert "run `tcia-assets verify`" in result.stderr


def test_a_folder_of_its_own_is_chosen_by_to(fetched: Terminal, tmp_path: Path) -> None:
    assert fetched("catalogue", "--to", str(tmp_path / "public")).exit_code == 0
    assert (tmp_path / "public" / "index.html").is_file()
    assert not (tmp_path / "data" / "catalogue").exists()


def test_a_folder_that_is_not_ours_is_refused(fetched: Terminal, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    result = fetched("catalogue", "--to", str(tmp_path / "mine"))
    assert result.exit_code == 2
    assert "is no catalogue of tcia_assets" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_without_a_data_folder_nothing_is_made(empty_terminal: Terminal, tmp_path: Path) -> None:
    result = empty_terminal("catalogue")
    assert result.exit_code == 2
    assert "nothing to show" in result.stderr
    assert not (tmp_path / "data").exists()
