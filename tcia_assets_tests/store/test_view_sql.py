"""The SQL of the views creates each of them alone, on each version of DuckDB."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.store.view_sql import ViewSql, escape_glob
from tcia_assets.store.views import Views
from tcia_assets.store.warehouse import Warehouse

pytestmark = pytest.mark.duckdb


def test_none_needs_another_one(warehouse: Warehouse) -> None:
    warehouse.ensure_views()
    for name, create in ViewSql(warehouse.root, {}).creates.items():
        with Views(warehouse.root).in_memory(create) as connection:
            called = f"{name}(now())" if create.startswith("CREATE MACRO") else f'"{name}"'
            assert connection.execute(f"FROM {called}").fetchall() == []


def test_the_stamp_tells_roots_apart() -> None:
    stamps = {ViewSql(Path(root), {}).stamp for root in ("/a", "/b", "/a")}
    assert len(stamps) == 2


def test_a_pattern_in_a_path_is_none() -> None:
    assert escape_glob(Path("/we[ir]d*?")) == "/we[[]ir]d[*][?]"
