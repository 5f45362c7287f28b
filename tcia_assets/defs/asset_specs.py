"""The asset of a table, as its declaration implies, and the step that makes some of them."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs import checks
from tcia_assets.defs.names import Names
from tcia_assets.spec import Table

BY_COLLECTION = tuple(t for t in catalog.TABLES if t.partitioned_by == "Collection" and t.endpoint)


def table_assets(
    names: Names,
    op: str,
    tables: Sequence[Table],
    more_checks: Sequence[dg.AssetCheckSpec] = (),
    stage: str = "metadata",
    **options: Any,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Return the decorator of a step that makes the assets of tables, and evaluates their checks.

    Args:
        names: The names of the assets.
        op: The name of the step, without the prefix.
        tables: The tables.
        more_checks: Checks of the assets in addition to those of the tables.
        stage: The stage whose pool the step is in.
        **options: Further arguments of `dg.multi_asset`.
    """
    table_checks = [spec for table in tables for spec in checks.specs(table, names)]
    return dg.multi_asset(
        name=names.of(op),
        specs=[asset_spec(table, names) for table in tables],
        check_specs=[*table_checks, *more_checks],
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={names.resource},
        can_subset=True,  # else each check must have a result in each run
        **names.step_options(stage),
        **options,
    )


def asset_spec(table: Table, names: Names) -> dg.AssetSpec:
    """Return the spec of a table's asset."""
    updates = table.updates.format(prefix=names.name)
    source = table.made_from or ("collections" if table in BY_COLLECTION else "")
    return dg.AssetSpec(
        names.key(table),
        deps=[names.key(catalog.table(source))] if source else [],
        description=f"One row per {table.grain}.\n\n{updates}".strip(),
        group_name=names.group_of(_stage(table)),
        owners=list(names.owners),
        kinds={"parquet", "duckdb"},
        code_version=table.version,
        skippable=True,  # a partition that did not change has no event
        partitions_def=names.partitions(table),
        metadata={
            "dagster/column_schema": _column_schema(table),
            "dagster/table_name": table.name,
            "key": ", ".join(table.key),
            "endpoint": table.endpoint or "made here",
        },
    ).with_io_manager_key(names.io)


def _stage(table: Table) -> str:
    """Return the stage of a table: what follows from zips, and how they are proven, or metadata."""
    of_images = {each.name for each in catalog.IMAGE_TABLES}
    return "images" if {table.name, table.made_from} & of_images else "metadata"


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
