"""The events of a run, with and without failures."""

from __future__ import annotations

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs.events import INTERRUPTED, failure_reasons
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import BY_COLLECTION, SMALL, Dagster
from tcia_assets_tests.defs.metadata_runs import (
    refresh_all,
)


def test_a_run_records_one_event_for_each_partition(
    dagster: Dagster,
) -> None:
    keys = refresh_all(dagster, collections=[SMALL, "VICTRE"])

    for table in BY_COLLECTION:
        events = dagster.events(table.name)
        assert sorted(str(e.partition) for e in events) == sorted(keys)
        for event in events:
            stored = dagster.warehouse.read(table, [str(event.partition)]).num_rows
            facts = {name: value.value for name, value in event.metadata.items()}
            assert facts["dagster/partition_row_count"] == stored
            assert facts["unclaimed_wire_fields"] == "none"
            if table is not catalog.SERIES_SIZES:  # whose questions were bounded
                assert facts["requests"] >= 1 and facts["received_bytes"] > 0


@pytest.mark.parametrize("kind", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_a_step_that_ctrl_c_ended_was_interrupted(kind: type[BaseException]) -> None:
    @dg.op
    def interrupted() -> None:
        raise ValueError from kind()

    @dg.job
    def interrupted_job() -> None:
        interrupted()

    result = interrupted_job.execute_in_process(raise_on_error=False)

    assert list(failure_reasons(result.filter_events(lambda e: e.is_step_failure))) == [INTERRUPTED]


def test_a_failing_collection_fails_alone_and_the_others_are_recorded(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    bad = keys[3]
    stored = dagster.warehouse.path(catalog.SERIES, bad)
    before = stored.read_bytes()
    dagster.sandbox.archive.revise(collection=bad, count=1)
    dagster.sandbox.faults.add(Fault("html", "getSeries", times=0, collection=bad))
    tables = [catalog.SERIES, catalog.PATIENTS]
    names = [table.name for table in tables]
    result = dagster.run("tcia_refresh", keys[0], keys[-1], tables=names, raise_on_error=False)

    assert not result.success
    assert stored.read_bytes() == before
    for table in tables:
        lasting = [str(e.partition) for e in dagster.events(table.name)]
        expected = [k for k in keys if (table, k) != (catalog.SERIES, bad)]
        assert sorted(lasting) == sorted(expected)
    [failure] = [e for e in result.all_events if e.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data.description)
    assert f"series of {bad!r}" in said and "<html>" in said
