"""The IO manager, in an asset of somebody else."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa

from tcia_assets import catalog
from tcia_assets_tests.conftest import SMALL, Dagster


def test_a_downstream_asset_gets_a_partition_as_a_table(dagster: Dagster) -> None:
    definitions = dagster.definitions()
    got: list[pa.Table] = []
    partitions = (
        definitions.resolve_asset_graph().get(dg.AssetKey(["tcia", "series"])).partitions_def
    )

    @dg.asset(ins={"series": dg.AssetIn(key=["tcia", "series"])}, partitions_def=partitions)
    def theirs(series: pa.Table) -> None:
        got.append(series)

    dagster.start_refreshed()
    merged = dg.Definitions.merge(definitions, dg.Definitions(assets=[theirs]))
    job = merged.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=dagster.instance, partition_key=SMALL, asset_selection=[dg.AssetKey("theirs")]
    )

    assert result.success
    assert got[0].schema.equals(catalog.SERIES.schema)
    assert got[0].num_rows == 10
