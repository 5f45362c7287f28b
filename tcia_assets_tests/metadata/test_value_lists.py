"""The values of a Collection are compared with its stored Series."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import BODY_PART_VALUES, MODALITY_VALUES, SERIES, VALUE_TABLES
from tcia_assets.errors import ForeignRows, UnknownReply
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for
from tcia_assets_tests.metadata.mirror import SandboxMirror, day

JSON = "application/json"
ALL_TABLES = pytest.mark.parametrize("table", VALUE_TABLES, ids=lambda table: table.name)


def refresh_values(mirror: SandboxMirror, table: Table) -> list[str | None]:
    refresh(table, SMALL, mirror.source, mirror.warehouse, day(1), ProbeBudget(0))
    return mirror.warehouse.read(table, [SMALL])[table.key[1]].to_pylist()


def without_values(mirror: SandboxMirror, column: str) -> None:
    """Take a column's values from the stored Series."""
    rows = mirror.warehouse.read(SERIES, [SMALL])
    place = rows.schema.get_field_index(column)
    rows = rows.set_column(place, rows.schema.field(place), pa.nulls(len(rows), pa.string()))
    mirror.warehouse.write(SERIES, rows, SMALL)


@ALL_TABLES
def test_values_of_other_collections_are_refused(mirror: SandboxMirror, table: Table) -> None:
    mirror.start()
    stored = refresh_values(mirror, table)
    mirror.sandbox.faults.add(Fault("ignored_filter", table.endpoint))
    with pytest.raises(ForeignRows, match="none of its 10 stored Series, such as '"):
        refresh_values(mirror, table)

    assert mirror.warehouse.read(table, [SMALL])[table.key[1]].to_pylist() == stored
    assert refresh_values(mirror, table) == stored


def test_values_in_another_case_or_with_blanks_are_the_same(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """In nbia-v1; `test_refresh` compares what other dialects give of these Collections."""
    with open_source(settings_for(sandbox, tmp_path, "nbia-v1"), pacing=IMPATIENT) as source:
        warehouse = Warehouse(tmp_path)
        for each in (SERIES, *VALUE_TABLES):
            for key in ("RIDER Lung CT", "VICTRE", SMALL):
                refresh(each, key, source, warehouse, day(1), ProbeBudget(0))


def test_before_the_series_are_stored_any_values_are_accepted(mirror: SandboxMirror) -> None:
    mirror.sandbox.faults.add(Fault("ignored_filter", MODALITY_VALUES.endpoint))
    assert len(refresh_values(mirror, MODALITY_VALUES)) > 2


def test_no_reply_means_no_values_where_no_series_has_one(mirror: SandboxMirror) -> None:
    mirror.start()
    without_values(mirror, "BodyPartExamined")
    mirror.sandbox.faults.add(Fault("empty", BODY_PART_VALUES.endpoint, times=0))

    assert refresh_values(mirror, BODY_PART_VALUES) == []
    assert mirror.warehouse.has(BODY_PART_VALUES, SMALL)


def test_no_reply_is_a_failure_where_series_have_a_value(mirror: SandboxMirror) -> None:
    mirror.start()
    stored = refresh_values(mirror, BODY_PART_VALUES)
    mirror.sandbox.faults.add(Fault("empty", BODY_PART_VALUES.endpoint, times=0))
    with pytest.raises(UnknownReply):
        refresh_values(mirror, BODY_PART_VALUES)

    assert mirror.warehouse.read(BODY_PART_VALUES, [SMALL]).num_rows == len(stored) > 0


def test_a_reply_of_nulls_is_a_failure_where_series_have_a_value(mirror: SandboxMirror) -> None:
    mirror.start()
    stored = refresh_values(mirror, MODALITY_VALUES)
    nulls = '[{"Modality":null}]'
    mirror.sandbox.faults.add(
        Fault("status", "getModalityValues", status=200, body=nulls, content_type=JSON)
    )
    with pytest.raises(UnknownReply, match="no row has a value"):
        refresh_values(mirror, MODALITY_VALUES)

    assert mirror.warehouse.read(MODALITY_VALUES, [SMALL]).num_rows == len(stored) == 2


def test_no_reply_is_a_failure_where_no_series_are_stored(mirror: SandboxMirror) -> None:
    mirror.sandbox.faults.add(Fault("empty", BODY_PART_VALUES.endpoint, times=0))
    with pytest.raises(UnknownReply):
        refresh_values(mirror, BODY_PART_VALUES)
    assert not mirror.warehouse.has(BODY_PART_VALUES, SMALL)
