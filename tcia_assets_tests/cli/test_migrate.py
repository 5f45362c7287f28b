"""`tcia-assets migrate`."""

from __future__ import annotations

from tcia_assets import catalog
from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.conftest import SMALL


def test_a_dry_run_counts_and_a_run_renames(terminal: Terminal) -> None:
    new = terminal.warehouse.path(catalog.SERIES, SMALL).parent
    old = new.rename(new.with_name(f"Collection={SMALL}"))
    assert terminal("migrate", "--dry-run").stdout == "1 folder to rename\n"
    assert old.is_dir()
    assert terminal("migrate").stdout == "1 folder renamed\n"
    assert new.is_dir() and not old.exists()
    assert terminal("migrate").stdout == "0 folders renamed\n"
