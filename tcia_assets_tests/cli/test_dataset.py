"""`tcia-assets dataset`: what is printed, and how it ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tcia_assets import load_dataset
from tcia_assets.datasets.versions import Version
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.cli.terminal import CommandLine
from tcia_assets_tests.datasets.warehouse_edits import set_column
from tcia_assets_tests.repository import ROOT

EXAMPLE = ROOT / "datasets" / "lung_ct.yaml"


class DatasetTerminal(CommandLine):
    """The command group `dataset` over a warehouse with the images of the small Collection."""

    def __init__(self, warehouse: Warehouse, folder: Path) -> None:
        self.warehouse, self.folder = warehouse, folder
        environment = {"TCIA_DATA_DIR": str(warehouse.root), "TCIA_DATASETS_DIR": str(folder)}
        super().__init__(environment, ("dataset",))

    @property
    def versions(self) -> list[str]:
        found = (self.warehouse.root / "datasets" / "lung_ct").glob("*/dataset.lock.json")
        return sorted({path.parent.name for path in found} - {"latest"})


@pytest.fixture
def terminal(stocked_warehouse: Warehouse, tmp_path: Path) -> DatasetTerminal:
    folder = tmp_path / "declared"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder / "lung_ct.yaml")
    return DatasetTerminal(stocked_warehouse, folder)


@pytest.fixture
def built_terminal(version: Version, tmp_path: Path) -> DatasetTerminal:
    """The command group over a data folder with a version of the example and nothing else."""
    folder = tmp_path / "declared"
    folder.mkdir()
    return DatasetTerminal(Warehouse(version.folder.parents[2]), folder)


def test_a_dataset_is_built_listed_verified_and_compared(terminal: DatasetTerminal) -> None:
    none = terminal("list")
    assert none.exit_code == 0 and "there is no dataset yet" in none.output

    built = terminal("build", "lung_ct")
    assert built.exit_code == 0, built.output
    (first,) = terminal.versions
    assert f"lung_ct {first}: 5 samples, 0 dropped" in built.output
    folder = terminal.warehouse.root / "datasets" / "lung_ct"
    # Whoever tries the example has somebody to train, to validate and to test with.
    assert all(load_dataset(folder, part) for part in ("train", "val", "test"))

    # The archive changes: the frozen cohort stays what is built, and the change is told.
    rows = terminal.warehouse.query(
        "SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'CT' ORDER BY uid"
    )
    uid = rows["uid"][0].as_py()
    set_column(terminal.warehouse, "Modality", "MR", uid)
    again = terminal("build", "lung_ct")
    assert again.exit_code == 0
    assert "The cohort query now returns different Series" in again.output
    assert f"- Series {uid}" in again.output
    assert terminal.versions == [first]
    locked = terminal("build", "lung_ct", "--locked")
    assert locked.exit_code == 0 and "returns different Series" not in locked.output

    updated = terminal("build", "lung_ct", "--update")
    assert updated.exit_code == 0, updated.output
    assert "4 samples, 0 dropped" in updated.output
    (second,) = set(terminal.versions) - {first}

    listed = terminal("list").output.splitlines()
    assert [first in line for line in listed].index(True) < [
        second in line for line in listed
    ].index(True)
    assert [line.rstrip().endswith("yes") for line in listed if second in line] == [True]

    told = terminal("diff", f"lung_ct/{first[:5]}", "lung_ct")
    assert told.exit_code == 0 and f"- Series {uid}" in told.output

    verified = terminal("verify", "lung_ct", first[:6])
    assert verified.exit_code == 0 and "0 problems" in verified.output
    image = next((terminal.warehouse.root / "datasets" / "lung_ct" / first / "images").iterdir())
    image.write_bytes(b"")
    damaged = terminal("verify", "lung_ct", first)
    assert damaged.exit_code == 1 and f"images/{image.name}: its size is 0 bytes" in damaged.output


@pytest.mark.slow
def test_a_lock_file_that_is_kept_elsewhere_builds_the_same(
    terminal: DatasetTerminal, tmp_path: Path
) -> None:
    assert terminal("build", "lung_ct").exit_code == 0
    place = terminal.warehouse.root / "datasets" / "lung_ct"
    kept = shutil.copy(place / "cohort.lock.json", tmp_path / "lung_ct.lock.json")
    built = terminal.versions
    shutil.rmtree(place)
    done = terminal("build", str(terminal.folder / "lung_ct.yaml"), "--lock", str(kept))
    assert done.exit_code == 0, done.output
    assert terminal.versions == built
    assert (place / "cohort.lock.json").read_bytes() == Path(kept).read_bytes()


def test_the_last_line_says_why_samples_were_dropped(terminal: DatasetTerminal) -> None:
    text = EXAMPLE.read_text()
    only = "  kind: RTSTRUCT\n", "  kind: RTSTRUCT\n  where: PatientID = 'LCTSC-Test-S1-201'\n"
    (terminal.folder / "lung_ct.yaml").write_text(text.replace(*only))
    built = terminal("build", "lung_ct")
    assert built.exit_code == 0, built.output
    assert "1 sample, 4 dropped" in built.output
    last = built.output.splitlines()[-1]
    assert last.startswith("Note: 4 samples dropped: 4 without_target; ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["build", "lungct"], 2, "did you mean 'lung_ct'?"),
        (["build", "nowhere/lung_ct.yaml"], 2, "the file cannot be read: No such file"),
        (["build", "lung_ct", "--update", "--locked"], 2, "it excludes --locked and --lock"),
        (["build", "lung_ct", "--locked"], 1, "no such lock file; freeze the cohort"),
        (["verify", "lung_ct"], 2, "no built dataset 'lung_ct'"),
        (["diff", "lung_ct", "lung_ct"], 2, "no built dataset"),
    ],
)
def test_what_cannot_be_done_is_said_on_a_line(
    terminal: DatasetTerminal, arguments: list[str], code: int, said: str
) -> None:
    result = terminal(*arguments)
    assert result.exit_code == code, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_declaration_that_is_wrong_is_refused_before_anything_runs(
    terminal: DatasetTerminal,
) -> None:
    text = EXAMPLE.read_text().replace("  salt: ", "  salzt: ")
    (terminal.folder / "lung_ct.yaml").write_text(text)
    result = terminal("build", "lung_ct")
    assert result.exit_code == 2
    assert "lung_ct.yaml, line 25, split.salzt: no key 'salzt'" in result.output
    written = (terminal.warehouse.root / "datasets" / "lung_ct").iterdir()
    assert [path.name for path in written] == [".samples"]
