"""`tcia-assets migrate`."""

from __future__ import annotations

import pyarrow.parquet as pq

from tcia_assets import catalog
from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.store.tables import drop_columns


def test_a_dry_run_counts_and_a_run_renames(terminal: Terminal) -> None:
    new = terminal.warehouse.path(catalog.SERIES, SMALL).parent
    old = new.rename(new.with_name(f"Collection={SMALL}"))
    assert terminal("migrate", "--dry-run").stdout == "1 folder to rename\n"
    assert old.is_dir()
    assert terminal("migrate").stdout == "1 folder renamed\n"
    assert new.is_dir() and not old.exists()
    assert terminal("migrate").stdout == "0 folders renamed\n"


def test_partitions_with_the_columns_of_an_earlier_version_are_rewritten(
    terminal: Terminal,
) -> None:
    path = terminal.warehouse.path(catalog.SERIES, SMALL)
    rows = terminal.warehouse.read(catalog.SERIES, [SMALL])
    drop_columns(terminal.warehouse.files(catalog.SERIES, SMALL), "crdc_series_uuid")

    said = "0 folders to rename\n1 partition with other columns to rewrite\n"
    assert terminal("migrate", "--dry-run").stdout == said
    assert "crdc_series_uuid" not in pq.read_schema(path).names
    said = "0 folders renamed\n1 partition with other columns rewritten\n"
    assert terminal("migrate").stdout == said
    assert pq.read_schema(path).equals(catalog.SERIES.schema)
    assert terminal.warehouse.read(catalog.SERIES, [SMALL]).equals(rows)
    assert terminal("migrate").stdout == "0 folders renamed\n"
