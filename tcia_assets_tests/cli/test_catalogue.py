"""`tcia-assets catalogue`: what it writes, says and refuses."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from tcia_assets_tests.cli.terminal import Terminal


def test_it_prints_the_page_to_open(fetched: Terminal, tmp_path: Path) -> None:
    result = fetched("catalogue")
    assert result.exit_code == 0, result.output
    opened = result.stdout.splitlines()[-1].removeprefix("Open ")
    index = tmp_path / "data" / "catalogue" / "index.html"
    assert urlsplit(opened).path == str(index) and index.is_file()
    assert "0 files written" in fetched("catalogue").stdout


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
