"""`tcia-assets export`: what it writes, says and refuses."""

from __future__ import annotations

from pathlib import Path

from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.conftest import SMALL


def test_all_series_on_disk_are_exported(fetched: Terminal, tmp_path: Path) -> None:
    result = fetched("export", "--to", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert f"5 Series exported to {tmp_path / 'out'}: 5 files" in result.stdout
    assert "not complete" not in result.stderr
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 5
    again = fetched("export", "--to", str(tmp_path / "out"))
    assert "0 Series exported" in again.stdout and "5 were there already" in again.stdout


def test_the_selection_and_the_template_are_those_of_the_options(
    fetched: Terminal, tmp_path: Path
) -> None:
    uid = fetched.uids[0]
    result = fetched(
        *("export", SMALL, "--modality", "RTSTRUCT", "--series", uid),
        *("--to", str(tmp_path / "out"), "--template", "{Modality}/{SeriesInstanceUID}"),
    )
    assert result.exit_code == 0, result.output
    assert [path.parent for path in (tmp_path / "out").rglob("*.dcm")] == [
        tmp_path / "out" / "RTSTRUCT" / uid
    ]


def test_selected_series_that_are_not_on_disk_are_counted(
    fetched: Terminal, tmp_path: Path
) -> None:
    result = fetched("export", SMALL, "--to", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "5 selected Series are not complete on disk" in result.stderr


def test_a_damaged_zip_is_a_failure(fetched: Terminal, tmp_path: Path) -> None:
    fetched.zip(fetched.uids[0]).unlink()
    result = fetched("export", "--to", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert f"failed: {SMALL}: {fetched.uids[0]}: its zip cannot be read" in result.stderr
    assert "4 Series exported" in result.stdout


def test_a_template_that_cannot_be_used_is_refused(fetched: Terminal, tmp_path: Path) -> None:
    result = fetched("export", "--to", str(tmp_path / "out"), "--template", "{Patient}")
    assert result.exit_code == 2
    assert "'Patient'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_denied_licence_is_not_exported(fetched: Terminal, tmp_path: Path) -> None:
    result = fetched("export", "--to", str(tmp_path / "out"), "--deny-license", "CC BY")
    assert result.exit_code == 2
    assert "no Series is selected" in result.stderr
