"""The digest of the code changes with each module that makes samples, and with no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tcia_assets import datasets
from tcia_assets.datasets.sample_code import code_digest


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    code_digest.cache_clear()  # the folder of another test had this path
    return Path(shutil.copytree(Path(datasets.__file__).parent, tmp_path / "datasets"))


def edited(folder: Path, name: str) -> str:
    """Return the digest after a line was added to a module."""
    code_digest.cache_clear()
    with (folder / name).open("a", encoding="utf-8") as module:
        module.write("# different\n")
    return code_digest(folder)


def test_the_digest_is_that_of_the_code_wherever_it_is(copy: Path) -> None:
    assert code_digest(copy) == code_digest()


@pytest.mark.parametrize("name", ["volume/suv.py", "sample_channels.py", "written_values.py"])
def test_a_change_of_what_makes_samples_changes_the_digest(copy: Path, name: str) -> None:
    assert edited(copy, name) != code_digest()


def test_a_change_of_other_modules_does_not(copy: Path) -> None:
    assert edited(copy, "card.py") == code_digest()
