"""Kinds of work that no command does alone; years.py runs each in a process of its own."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import dagster as dg
from years import LARGEST

from tcia_assets import TciaResource, build_definitions
from tcia_assets.catalog import IMAGES, SERIES, ZIP_READS
from tcia_assets.defs import checks, sensors
from tcia_assets.defs.names import Names
from tcia_assets.images.verify import verify_parts
from tcia_assets.images.zip_parts import due_parts
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse


def _warehouse() -> Warehouse:
    return Warehouse(Settings.from_env().root)


def keys_unique() -> None:
    check = next(each for each in checks.checks_of(IMAGES) if each.name == "keys_unique")
    if _warehouse().query(check.sql).num_rows:
        raise SystemExit("the mirror has repeated keys")


def verify_due() -> None:
    warehouse = _warehouse()
    warehouse.path(ZIP_READS, LARGEST).unlink(missing_ok=True)  # else nothing is due any more today
    if verify_parts(due_parts(warehouse, [LARGEST], 90, datetime.now(UTC)), warehouse).damaged:
        raise SystemExit("the mirror has damaged zips")


def tick() -> None:
    build_definitions()  # a code location has built them too
    context = dg.build_init_resource_context()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        TciaResource().yield_for_execution(context) as tcia,
    ):
        instance.add_dynamic_partitions("tcia_collections", tcia.warehouse.keys(SERIES))
        outcome = sensors.tick(instance, tcia, Names())
    if not isinstance(outcome, dg.SkipReason):
        raise SystemExit(f"the tick found {outcome}")


if __name__ == "__main__":
    {"keys_unique": keys_unique, "verify_due": verify_due, "tick": tick}[sys.argv[1]]()
