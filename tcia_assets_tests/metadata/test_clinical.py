"""The clinical tables of a Collection are stored with keys to join by, and described."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tcia_assets.catalog import CLINICAL_TABLES
from tcia_assets.errors import NotPublic, UnknownReply
from tcia_assets.metadata.clinical import store_clinical
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source, open_source
from tcia_assets.store.clinical import write_clinical
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, idc_settings_for, settings_for

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def idc(sandbox: Sandbox, idc_index: Path, tmp_path: Path) -> Iterator[Source]:
    with open_source(idc_settings_for(sandbox, tmp_path, idc_index), pacing=IMPATIENT) as source:
        yield source


def test_rows_are_joined_by_patient(idc: Source, warehouse: Warehouse) -> None:
    [row] = store_clinical(SMALL, idc, warehouse, NOW).to_pylist()
    assert row["title"] == "Clinical data of LCTSC"
    assert row["columns"][:2] == ["Collection", "PatientID"]
    labels = dict(zip(row["columns"], row["labels"], strict=True))
    assert labels["stage"] == "Stage of the tumour"
    found = warehouse.query("SELECT Collection, PatientID, stage FROM clinical_lctsc_clinical")
    assert found.num_rows == row["rows"] == 5
    assert set(found["Collection"].to_pylist()) == {SMALL}
    assert warehouse.read(CLINICAL_TABLES, [SMALL]).to_pylist() == [row]


def test_a_table_that_is_gone_is_removed_and_a_failure_keeps_what_there_is(
    idc: Source, warehouse: Warehouse, sandbox: Sandbox
) -> None:
    stored = store_clinical(SMALL, idc, warehouse, NOW)
    sandbox.faults.add(Fault("access_denied", endpoint="clinical", times=0))
    with pytest.raises(NotPublic):
        store_clinical(SMALL, idc, warehouse, NOW)
    assert warehouse.read(CLINICAL_TABLES, [SMALL]).equals(stored)
    sandbox.faults.clear()
    old = stored.set_column(1, "table_name", [["lctsc_old"]])
    write_clinical(warehouse.root, "lctsc_old", old)
    with warehouse.update(CLINICAL_TABLES, SMALL) as partition:
        partition.rows = old
    store_clinical(SMALL, idc, warehouse, NOW)
    assert not list(warehouse.root.glob("warehouse/clinical/lctsc_old/*.parquet"))


def test_nbia_has_no_clinical_tables(sandbox: Sandbox, warehouse: Warehouse) -> None:
    with (
        open_source(settings_for(sandbox, warehouse.root)) as nbia,
        pytest.raises(UnknownReply, match="TCIA_SOURCE=idc"),
    ):
        store_clinical(SMALL, nbia, warehouse, NOW)
