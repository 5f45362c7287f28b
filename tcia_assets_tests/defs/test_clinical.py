"""Clinical tables are an asset: by Collection, each failing alone, weekly for those named."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from tcia_assets.catalog import CLINICAL_TABLES
from tcia_assets.defs.clinical import weekly_tick
from tcia_assets.defs.events import failure_reasons
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import range_tags
from tcia_assets.defs.resource import TciaResource
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster

_SUNDAY = datetime(2026, 11, 29, 3, tzinfo=UTC)


@pytest.fixture
def mirror(dagster: Dagster, series_root: Path) -> Dagster:
    shutil.copytree(series_root, dagster.data_dir, dirs_exist_ok=True)
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL, "RIDER Lung CT"])
    return dagster


def _idc(mirror: Dagster) -> dict[str, object]:
    return {
        "idc_base_url": mirror.sandbox.idc_base_url,
        "idc_index": mirror.sandbox.idc_index_url,
    }


def test_a_run_stores_the_tables_of_a_collection_beside_metadata_of_nbia(mirror: Dagster) -> None:
    assert mirror.run("tcia_clinical", SMALL, **_idc(mirror)).success
    [event] = mirror.events("clinical_tables")
    assert (event.partition, event.metadata["rows"].value) == (SMALL, 5)
    assert mirror.warehouse.query("FROM clinical_lctsc_clinical").num_rows == 5


def test_a_failure_names_its_collection_and_keeps_what_was_stored(mirror: Dagster) -> None:
    assert mirror.run("tcia_clinical", SMALL, **_idc(mirror)).success
    mirror.sandbox.faults.add(Fault("access_denied", endpoint="clinical", times=0))
    failed = mirror.run("tcia_clinical", SMALL, raise_on_error=False, **_idc(mirror))
    [step] = failed.get_step_failure_events()
    assert f"clinical tables of '{SMALL}'" in next(failure_reasons([step]))
    assert mirror.warehouse.row_count(CLINICAL_TABLES, SMALL) == 1


@pytest.mark.parametrize(
    ("named", "requested", "reason"),
    [
        ([SMALL, "no such"], range_tags(SMALL, SMALL), ""),
        ([], None, "TCIA_IDC_CLINICAL names no Collection"),
        (["no such"], None, "none of no such is a known Collection"),
    ],
)
def test_the_schedule_requests_the_collections_that_a_setting_names(
    mirror: Dagster, named: list[str], requested: dict[str, str] | None, reason: str
) -> None:
    resource: TciaResource = mirror.resource(idc_clinical=named)
    tick = weekly_tick([SMALL, "RIDER Lung CT"], resource, Names(), _SUNDAY)
    if isinstance(tick, dg.SkipReason):
        assert (tick.skip_message, requested) == (reason, None)
    else:
        [request] = tick
        assert (requested or {}).items() <= request.tags.items()
