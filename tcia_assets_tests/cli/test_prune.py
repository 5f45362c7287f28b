"""`tcia-assets prune`: what it lists, what it removes, and that other commands agree afterwards."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tcia_assets.datasets.cohort import PAIRS, SERIES, Cohort, WarehouseSnapshot
from tcia_assets.images.zip_files import quarantine_path
from tcia_assets.units import format_bytes
from tcia_assets_tests.cli.terminal import CONTOURS, Terminal, line_of, words
from tcia_assets_tests.conftest import SMALL


def frozen_cohort(uid: str) -> Cohort:
    """A cohort of one image."""
    row = {"SeriesInstanceUID": uid, "role": "image", "state": "complete"}
    return Cohort(
        name="lung_ct",
        query={},
        snapshot=WarehouseSnapshot(0, "", None),
        series=pa.Table.from_pylist([row], schema=SERIES),
        pairs=PAIRS.empty_table(),
    )


def quarantine(terminal: Terminal) -> None:
    path = terminal.root / quarantine_path(SMALL, "1.2.3")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"refused")


def test_without_options_all_is_listed_and_nothing_removed(fetched: Terminal) -> None:
    quarantine(fetched)
    uids = fetched.uids
    fetched.environment["TCIA_IMAGE_SELECTION"] = f"series: [{uids[0]}]"
    size = sum(fetched.zip(uid).stat().st_size for uid in uids[1:])
    result = fetched("prune")

    assert result.exit_code == 0, result.output
    assert words(line_of(result, "quarantine")) == ["quarantine", SMALL, "1", "7", "B"]
    assert line_of(result, "zips").split(maxsplit=3)[1:] == [SMALL, "4", f"{format_bytes(size)}"]
    assert words(line_of(result, "total"))[1] == "5"
    assert "nothing was removed" in result.stderr
    assert set(fetched.statuses) == set(uids) and all(fetched.zip(uid).exists() for uid in uids)


@pytest.mark.slow
def test_after_removing_zips_all_commands_agree(fetched: Terminal) -> None:
    uids = fetched.uids
    result = fetched("prune", "--unselected", "--selection", f"series: [{uids[0]}]", "--yes")

    assert result.exit_code == 0, result.output
    assert "4 files removed" in result.stdout
    assert list(fetched.statuses) == uids[:1]
    assert words(line_of(fetched("status"), SMALL))[1:8] == ["10", "-", "1", "0", "0", "0", "0"]
    verified = fetched("verify", "--deep")
    assert verified.exit_code == 0 and f"{SMALL}: 1 zip of" in verified.stdout
    assert "not in the manifest" not in verified.stdout
    assert fetched(*CONTOURS).exit_code == 0
    assert set(fetched.statuses.values()) == {"complete"} and set(fetched.statuses) == set(uids)


def test_only_what_is_named_is_removed(fetched: Terminal) -> None:
    quarantine(fetched)
    fetched.environment["TCIA_IMAGE_SELECTION"] = "where: 'false'"
    result = fetched("prune", "--quarantine", "--yes")

    assert result.exit_code == 0 and "1 file removed" in result.stdout
    assert not (fetched.root / "quarantine" / SMALL).exists()
    assert len(fetched.statuses) == 5
    assert "there is nothing to remove" in fetched("prune", "--quarantine").stdout


def test_without_a_selection_no_zip_is_unselected(fetched: Terminal) -> None:
    listed, chosen = fetched("prune"), fetched("prune", "--unselected", "--yes")

    assert listed.exit_code == 0 and "there is nothing to remove" in listed.stdout
    assert chosen.exit_code == 2 and "TCIA_IMAGE_SELECTION or --selection" in chosen.stderr
    assert len(fetched.statuses) == 5


def test_yes_alone_removes_nothing(fetched: Terminal) -> None:
    result = fetched("prune", "--yes")

    assert result.exit_code == 2 and "--yes needs one of --keep-versions N" in result.stderr


def test_a_missing_folder_is_named_and_not_made(empty_terminal: Terminal) -> None:
    result = empty_terminal("prune", "--quarantine", "--yes")

    assert result.exit_code == 0 and "there is no folder" in result.stderr
    assert not empty_terminal.root.exists()


def test_what_datasets_need_is_said_and_removed_only_on_request(fetched: Terminal) -> None:
    lock = fetched.root / "datasets" / "lung_ct" / "cohort.lock.json"
    lock.parent.mkdir(parents=True)
    content = frozen_cohort(fetched.uids[1]).text
    lock.write_text(content)
    chosen = ("--unselected", "--selection", f"series: [{fetched.uids[0]}]")
    kept, among = fetched("prune", *chosen), fetched("prune", *chosen, "--include-needed")

    assert words(line_of(kept, "zips"))[2] == "3" and words(line_of(among, "zips"))[2] == "4"
    assert "1 unselected zips of" in kept.stderr and "need them (lung_ct)" in kept.stderr
    assert "are among them although datasets need them" in among.stderr
