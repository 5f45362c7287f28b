"""Run SQL that a declaration holds."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from tcia_assets.datasets.declaration import Declaration
from tcia_assets.errors import UsageError
from tcia_assets.store.warehouse import Warehouse


def run_declared(
    declaration: Declaration,
    key: str,
    warehouse: Warehouse,
    statement: str,
    tables: Mapping[str, pa.Table],
) -> pa.Table:
    """Run a statement that holds SQL of the declaration.

    Args:
        declaration: Of the dataset.
        key: Where the SQL is, such as `cohort.where`.
        warehouse: The warehouse.
        statement: The whole statement.
        tables: Tables that it names beside those of the warehouse.

    Raises:
        BadDeclaration: DuckDB refuses it; names the line of the key.
    """
    try:
        return warehouse.query(statement, tables=tables)
    except UsageError as error:
        raise declaration.error_at(key, f"the query fails: {error}") from None
