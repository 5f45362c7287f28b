"""Hands partitions of our tables to other people's assets as `pa.Table`.

Our own assets write through `Warehouse.write` and return nothing: a partition must be on disk as
soon as it is there, not when the step ends.
"""

import dagster as dg
import pyarrow as pa

from tcia_assets.catalog import TABLES
from tcia_assets.defs.names import Names
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.store.warehouse import Warehouse


class TciaIOManager(dg.IOManager):
    """Loads a partition, several, or a whole table of the warehouse; stores nothing."""

    def __init__(self, names: Names, warehouse: Warehouse) -> None:
        self._names, self._warehouse = names, warehouse

    def load_input(self, context: dg.InputContext) -> pa.Table:
        """The rows that the downstream asset's partitions map to, in the table's schema."""
        table = self._names.table(context.asset_key)
        if table is None:
            raise UnknownName("table", context.asset_key.to_user_string(), (t.name for t in TABLES))
        keys = (
            context.asset_partition_keys
            if table.partitioned_by and context.has_asset_partitions
            else None
        )
        return self._warehouse.read(table, keys)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Refuses: this IO manager is for reading the archive's tables."""
        raise UsageError(
            f"{context.asset_key.to_user_string()} cannot be stored by {self._names.io!r}, which "
            f"reads the archive's tables and stores nothing (got a {type(obj).__name__})"
        )


def io_manager(names: Names) -> dg.IOManagerDefinition:
    """The IO manager of one archive, over the warehouse of its resource."""

    @dg.io_manager(required_resource_keys={names.resource}, description=TciaIOManager.__doc__)
    def tcia_io(context: dg.InitResourceContext) -> TciaIOManager:
        return TciaIOManager(names, getattr(context.resources, names.resource).warehouse)

    return tcia_io
