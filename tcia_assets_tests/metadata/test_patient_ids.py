"""A PatientID that the source does not list comes from `studies`, `images` or the row before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import IMAGES, SERIES, SERIES_CHANGES, STUDIES
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.patient_ids import fill_patient_ids
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.spec import Table
from tcia_assets.store.conform import align, conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for
from tcia_assets_tests.metadata.mirror import Mirror, day

KEY = "a"


def series(*patients: str | None) -> pa.Table:
    """Series 1.1, 1.2, ... of Studies 2.1, 2.2, ..."""
    rows = [
        {"SeriesInstanceUID": f"1.{n}", "StudyInstanceUID": f"2.{n}", "PatientID": patient}
        for n, patient in enumerate(patients, start=1)
    ]
    return align(SERIES, pa.Table.from_pylist(rows), Collection=KEY)


def store(warehouse: Warehouse, table: Table, *rows: dict[str, Any]) -> None:
    warehouse.write(table, conform(table, pa.Table.from_pylist(list(rows)), Collection=KEY), KEY)


def filled(warehouse: Warehouse, rows: pa.Table, before: pa.Table | None = None) -> list[Any]:
    before = SERIES.schema.empty_table() if before is None else before
    return fill_patient_ids(rows, before, KEY, warehouse)["PatientID"].to_pylist()


def test_a_patient_id_that_the_source_sent_stays(warehouse: Warehouse) -> None:
    store(warehouse, STUDIES, {"StudyInstanceUID": "2.1", "PatientID": "other"})
    assert filled(warehouse, series("sent")) == ["sent"]


def test_studies_come_first_then_images_then_the_row_before(warehouse: Warehouse) -> None:
    store(warehouse, STUDIES, {"StudyInstanceUID": "2.1", "PatientID": "study"})
    store(
        warehouse,
        IMAGES,
        *(
            {"SOPInstanceUID": f"3.{n}", "SeriesInstanceUID": f"1.{n}", "PatientID": "image"}
            for n in (1, 2)
        ),
    )
    found = filled(warehouse, series(None, None, None, None), series("old", "old", "old"))
    assert found == ["study", "image", "old", None]


def test_headers_that_contradict_each_other_are_not_used(warehouse: Warehouse) -> None:
    store(
        warehouse,
        IMAGES,
        {"SOPInstanceUID": "3.1", "SeriesInstanceUID": "1.1", "PatientID": "one"},
        {"SOPInstanceUID": "3.2", "SeriesInstanceUID": "1.1", "PatientID": "two"},
        {"SOPInstanceUID": "3.3", "SeriesInstanceUID": "1.2", "PatientID": "one"},
        {"SOPInstanceUID": "3.4", "SeriesInstanceUID": "1.2"},
    )
    assert filled(warehouse, series(None, None)) == [None, "one"]


def test_without_other_tables_nothing_is_filled(warehouse: Warehouse) -> None:
    assert filled(warehouse, series(None)) == [None]


@pytest.fixture
def bindaas(sandbox: Sandbox, tmp_path: Path) -> Iterator[Mirror]:
    with open_source(settings_for(sandbox, tmp_path, "bindaas-v4"), pacing=IMPATIENT) as source:
        yield Mirror(source, Warehouse(tmp_path))


def patients(mirror: Mirror) -> list[str | None]:
    return mirror.warehouse.read(SERIES, [SMALL])["PatientID"].to_pylist()


def test_learning_the_patient_is_a_change_but_no_new_version(bindaas: Mirror) -> None:
    bindaas.refresh(day(1), SMALL)
    before = bindaas.warehouse.read(SERIES, [SMALL])
    assert patients(bindaas) == [None] * 10
    refresh(STUDIES, SMALL, bindaas.source, bindaas.warehouse, day(2), ProbeBudget(0))
    bindaas.refresh(day(2), SMALL)

    after = bindaas.warehouse.read(SERIES, [SMALL])
    assert None not in patients(bindaas)
    for name in ("fingerprint", "changed_at"):
        assert after[name] == before[name]
    events = bindaas.warehouse.read(SERIES_CHANGES, [SMALL]).to_pylist()
    changed = [each["changed_columns"] for each in events if each["event"] == "changed"]
    assert changed == [["PatientID"]] * 10


def test_a_known_patient_stays_when_its_study_is_not_listed(bindaas: Mirror) -> None:
    refresh(STUDIES, SMALL, bindaas.source, bindaas.warehouse, day(1), ProbeBudget(0))
    bindaas.refresh(day(1), SMALL)
    known = patients(bindaas)
    bindaas.warehouse.path(STUDIES, SMALL).unlink()
    [done] = bindaas.refresh(day(2), SMALL)

    assert patients(bindaas) == known and None not in known
    assert not done.written.changed
