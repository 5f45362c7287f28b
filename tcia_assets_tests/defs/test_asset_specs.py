"""The spec of a table's asset."""

from __future__ import annotations

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.catalog import IMAGE_TABLES, INDEXED_ZIPS, SOURCE_EQUALITY, TABLES, ZIP_READS
from tcia_assets.defs.asset_specs import asset_spec
from tcia_assets.defs.names import Names
from tcia_assets.spec import Table

NAMES = Names.chosen("other", "group", ["team:imaging"])


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_spec_follows_from_the_declaration(table: Table) -> None:
    spec = asset_spec(table, NAMES)
    schema = spec.metadata["dagster/column_schema"]

    assert spec.key == NAMES.key(table)
    is_image = table in IMAGE_TABLES or table in (INDEXED_ZIPS, SOURCE_EQUALITY, ZIP_READS)
    stage = "images" if is_image else "metadata"
    assert (spec.group_name, spec.owners) == (f"group_{stage}", ["team:imaging"])
    assert spec.partitions_def == NAMES.partitions(table)
    assert [column.name for column in schema.columns] == [c.name for c in table.columns]
    assert [not column.constraints.nullable for column in schema.columns] == [
        column.required for column in table.columns
    ]
    assert spec.description and "{" not in spec.description


def test_an_asset_depends_on_the_table_that_it_is_made_from() -> None:
    def upstream(table: Table) -> list[dg.AssetKey]:
        return [dep.asset_key for dep in asset_spec(table, NAMES).deps]

    assert upstream(catalog.COLLECTIONS) == upstream(catalog.SHARED_LISTS) == []
    assert upstream(catalog.SERIES) == [NAMES.key(catalog.COLLECTIONS)]
    assert upstream(catalog.SERIES_SIZES) == [NAMES.key(catalog.SERIES)]
    assert upstream(catalog.TARGETS) == [NAMES.key(catalog.IMAGES)]
