"""The file that declares a dataset is found by its name, or named itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.cli.declaration_file import find_declaration
from tcia_assets.errors import UnknownName, UsageError


def test_a_declaration_is_found_by_name_or_path(tmp_path: Path) -> None:
    (tmp_path / "lung.yaml").touch()
    assert find_declaration("lung", tmp_path) == tmp_path / "lung.yaml"
    elsewhere = tmp_path / "other" / "x.yaml"
    assert find_declaration(str(elsewhere), tmp_path) == elsewhere
    with pytest.raises(UnknownName, match=r"'lnug'.*did you mean 'lung'"):
        find_declaration("lnug", tmp_path)
    with pytest.raises(UsageError, match="TCIA_DATASETS_DIR"):
        find_declaration("lung", tmp_path / "none")
