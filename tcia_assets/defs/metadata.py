"""The metadata tables as assets."""

from itertools import chain
from typing import Any

import dagster as dg
from pydantic import Field

from tcia_assets import catalog
from tcia_assets.defs import checks
from tcia_assets.defs.asset_specs import BY_COLLECTION, asset_spec, table_assets
from tcia_assets.defs.events import Results, record_partitions
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import add_partitions
from tcia_assets.defs.refresh_run import refresh_event, refresh_one, refresh_partitions
from tcia_assets.defs.resource import resource_of
from tcia_assets.defs.run_process import tag_with_process
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.partition_keys import allowed_collections, mirrored_collections
from tcia_assets.units import counted


class MetadataConfig(dg.Config):
    """Configuration of a run that refreshes metadata."""

    max_size_requests: int = 500
    """The number of Series to request the size of, at most; later runs request the others."""

    max_probe_requests: int = 200
    """The number of long-missing Series to request one by one, before they count as withdrawn."""

    accept_schema: list[str] = Field(default=[])
    """Collections whose columns may lose all their values, or have many that cannot be read."""


class SharedListsConfig(dg.Config):
    """Configuration of a run that refreshes shared lists."""

    accept_schema: list[str] = Field(default=[])
    """Lists whose columns may lose all their values, or have many that cannot be read."""


def assets(names: Names) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return the assets of the metadata tables.

    The history is written together with `series`, what cannot be read with each table, which zips
    are indexed with `images`, comparisons and imports by a command. So their assets have no runs or
    events of their own; they are declared so that they are shown, and that other assets can depend
    on them.
    """
    records = (
        *(catalog.SERIES_CHANGES, catalog.SNAPSHOTS, catalog.UNREADABLE_VALUES),
        *(catalog.INDEXED_ZIPS, catalog.ZIP_READS, catalog.SOURCE_EQUALITY, catalog.IMPORTS),
    )
    specs = [asset_spec(table, names) for table in records]
    return [_collections(names), _by_collection(names), _shared_lists(names), *specs]


def _collections(names: Names) -> dg.AssetsDefinition:
    table = catalog.COLLECTIONS

    @table_assets(names, table.name, [table])
    def collections(context: dg.AssetExecutionContext) -> Results:
        """List the Collections and make each a partition."""
        tag_with_process(context)
        tcia = resource_of(context, names)
        done = refresh_one(tcia, table)
        listed = tcia.warehouse.read(table)["Collection"].to_pylist()
        stored = tcia.warehouse.keys(catalog.SERIES)
        imported = tcia.warehouse.keys(catalog.IMPORTS)
        partitions = mirrored_collections(listed, tcia.settings, tcia.warehouse)
        facts: dict[str, Any] = {
            "partitions": len(partitions),
            "added": add_partitions(context.instance, names.collections, partitions),
            "unfit_names": sorted(set(listed) - set(allowed_collections(listed, ()))),
            "gone": sorted(set(stored) - set(listed) - set(imported)),
        }
        if unnamed := done.facts["unnamed"]:
            context.log.warning(
                f"left out of the source's list: {counted(int(unnamed), 'row')} without a name"
            )
        good = [refresh_event(done, facts)]
        found = chain(
            checks.results(context, table, names, tcia.warehouse),
            checks.rows_kept(context, table, names, [done]),
        )
        yield from record_partitions(context, names, tcia.warehouse, good, [], found)

    return collections


def _by_collection(names: Names) -> dg.AssetsDefinition:
    @table_assets(names, "metadata", BY_COLLECTION)
    def metadata(context: dg.AssetExecutionContext, config: MetadataConfig) -> Results:
        """Refresh the selected tables of the run's Collections."""
        tables = [t for t in BY_COLLECTION if names.key(t) in context.selected_asset_keys]
        budget = ProbeBudget(config.max_size_requests, config.max_probe_requests)
        yield from refresh_partitions(
            context, names, tables, context.partition_keys, budget, config.accept_schema
        )

    return metadata


def _shared_lists(names: Names) -> dg.AssetsDefinition:
    table = catalog.SHARED_LISTS

    @table_assets(names, table.name, [table])
    def shared_lists(context: dg.AssetExecutionContext, config: SharedListsConfig) -> Results:
        """Refresh the run's shared lists."""
        keys, budget = context.partition_keys, ProbeBudget(0)
        yield from refresh_partitions(context, names, [table], keys, budget, config.accept_schema)

    return shared_lists
