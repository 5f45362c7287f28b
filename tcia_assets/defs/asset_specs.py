"""The asset of a table, as its declaration implies."""

from datetime import timedelta
from typing import Any

import dagster as dg

from tcia_assets.defs.names import Names
from tcia_assets.spec import Table

# The nightly schedule refreshes everything: 26 hours without are unusual, two days are wrong.
FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=50), warn_window=timedelta(hours=26)
)


def asset_spec(table: Table, names: Names, **options: Any) -> dg.AssetSpec:
    """Return the spec of a table's asset; options are those of AssetSpec."""
    updates = table.updates.format(prefix=names.name)
    return dg.AssetSpec(
        names.key(table),
        description=f"One row per {table.grain}.\n\n{updates}".strip(),
        group_name=names.group,
        owners=list(names.owners),
        kinds={"parquet", "duckdb"},
        code_version=table.version,
        partitions_def=names.partitions(table),
        metadata={
            "dagster/column_schema": _column_schema(table),
            "dagster/table_name": table.name,
            "key": ", ".join(table.key),
            "endpoint": table.endpoint or "made here",
        },
        **options,
    ).with_io_manager_key(names.io)


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                str(column.kind.arrow_type),
                description=f"{column.description} {column.tag}".strip(),
                constraints=dg.TableColumnConstraints(
                    nullable=not column.required, unique=table.key == (column.name,)
                ),
            )
            for column in table.columns
        ]
    )
