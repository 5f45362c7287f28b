"""The IO manager that loads partitions of our tables for your own assets, as `pa.Table`.

Our own assets do not use it to write: a partition must be on disk as soon as it is complete, not
when the step ends.
"""

import dagster as dg
import pyarrow as pa

from tcia_assets.catalog import TABLES
from tcia_assets.defs.names import Names
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.store.warehouse import Warehouse


class TciaIOManager(dg.IOManager):
    """Loads a partition, several partitions, or a whole table of the warehouse; stores nothing."""

    def __init__(self, names: Names, warehouse: Warehouse) -> None:
        self._names, self._warehouse = names, warehouse

    def load_input(self, context: dg.InputContext) -> pa.Table:
        """Return the rows of the partitions that the downstream asset depends on."""
        table = self._names.table(context.asset_key)
        if table is None:
            raise UnknownName("table", context.asset_key.to_user_string(), (t.name for t in TABLES))
        is_partitioned = table.partitioned_by and context.has_asset_partitions
        keys = context.asset_partition_keys if is_partitioned else None
        return self._warehouse.read(table, keys)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Raise UsageError, since this IO manager only reads."""
        raise UsageError(
            f"{context.asset_key.to_user_string()} cannot be stored by {self._names.io!r}, which "
            f"only reads the tables of this plugin (got a {type(obj).__name__})"
        )


def io_manager(names: Names) -> dg.IOManagerDefinition:
    """Return the IO manager over the warehouse of the resource with these names."""

    @dg.io_manager(required_resource_keys={names.resource}, description=TciaIOManager.__doc__)
    def tcia_io(context: dg.InitResourceContext) -> TciaIOManager:
        return TciaIOManager(names, getattr(context.resources, names.resource).warehouse)

    return tcia_io
