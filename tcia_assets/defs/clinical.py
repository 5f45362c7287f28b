"""The clinical tables as an asset, with a schedule for the Collections of TCIA_IDC_CLINICAL."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from tcia_assets.catalog import CLINICAL_TABLES
from tcia_assets.defs import checks
from tcia_assets.defs.asset_specs import table_assets
from tcia_assets.defs.events import PartitionEvent, Results, record_partitions
from tcia_assets.defs.jobs import clinical_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import range_tags, ranges
from tcia_assets.defs.resource import RunResource, TciaResource, resource_of
from tcia_assets.defs.run_process import tag_with_process
from tcia_assets.metadata.clinical import store_clinical
from tcia_assets.progress import report
from tcia_assets.sources import Source, open_source

_CRON = "0 3 * * 0"
_DESCRIPTION = (
    "Requests, every Sunday at 3, the clinical tables of the Collections in TCIA_IDC_CLINICAL from "
    "the Imaging Data Commons."
)


def asset(names: Names) -> dg.AssetsDefinition:
    """Return the asset `clinical_tables`."""
    table = CLINICAL_TABLES

    @table_assets(names, table.name, [table])
    def clinical_tables(context: dg.AssetExecutionContext) -> Results:
        """Store the clinical tables of the run's Collections; each fails alone."""
        tag_with_process(context)
        tcia, at = resource_of(context, names), datetime.now(UTC)
        good: list[PartitionEvent] = []
        bad: list[tuple[str, Exception]] = []
        with _idc(tcia) as source:
            for number, key in enumerate(context.partition_keys, start=1):
                try:
                    stored = store_clinical(key, source, tcia.warehouse, at)
                    facts: dict[str, Any] = {
                        "dagster/partition_row_count": stored.num_rows,
                        "rows": sum(stored["rows"].to_pylist()),
                        "tables": ", ".join(stored["table_name"].to_pylist()) or "none",
                    }
                    good.append(PartitionEvent(table, key, facts))
                # Any error is this Collection's alone; `record_partitions` raises all of them.
                except Exception as error:  # noqa: BLE001
                    bad.append((f"clinical tables of {key!r}", error))
                report(number, len(context.partition_keys), key)
        tcia.warehouse.ensure_views()
        found = checks.results(context, table, names, tcia.warehouse)
        yield from record_partitions(context, names, tcia.warehouse, good, bad, found)

    return clinical_tables


@contextmanager
def _idc(tcia: RunResource) -> Iterator[Source]:
    """Yield the run's own source if it has clinical tables, else the Imaging Data Commons."""
    if tcia.settings.source == "idc":
        yield tcia.source_of_metadata
        return
    with open_source(tcia.settings.replace(source="idc")) as source:
        yield source


def schedule(names: Names) -> dg.ScheduleDefinition:
    """Return the weekly schedule, which is off until switched on."""

    @dg.schedule(
        name=f"{clinical_job(names)}_weekly",
        job_name=clinical_job(names),
        cron_schedule=_CRON,
        description=_DESCRIPTION,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        required_resource_keys={names.resource},
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        tcia: TciaResource = getattr(context.resources, names.resource)
        order = context.instance.get_dynamic_partitions(str(names.collections.name))
        return weekly_tick(order, tcia, names, context.scheduled_execution_time)

    return weekly


def weekly_tick(
    order: Sequence[str], tcia: TciaResource, names: Names, now: datetime
) -> list[dg.RunRequest] | dg.SkipReason:
    """Return the runs that the schedule requests now, or why there are none.

    Args:
        order: The known Collections, in Dagster's order.
        tcia: The settings.
        names: The names of the assets.
        now: The time of the tick.
    """
    chosen = tcia.settings.idc_clinical
    if not chosen:
        return dg.SkipReason("TCIA_IDC_CLINICAL names no Collection")
    if not (known := [key for key in chosen if key in order]):
        return dg.SkipReason(f"none of {', '.join(chosen)} is a known Collection")
    return [
        dg.RunRequest(
            run_key=f"{clinical_job(names)}:{now.date()}:{keys[0]}",
            tags=range_tags(keys[0], keys[-1]),
        )
        for keys in ranges(known, order)
    ]
