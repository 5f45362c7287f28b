"""The asset `mirror`: one event for each refresh and each fetch."""

from __future__ import annotations

import dagster as dg
import pytest

from tcia_assets.defs.plugin import build_definitions
from tcia_assets.images.fetch_session import FetchSession, use_session
from tcia_assets.images.series_counts import count_series
from tcia_assets.metadata.selection_parser import selection_from_fields
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.image_runs import SELECTED, run_fetch, zips

MIRROR = dg.AssetKey(["tcia", "mirror"])


def facts_of(event: dg.AssetMaterialization) -> dict[str, object]:
    return {name: value.value for name, value in event.metadata.items()}


def test_a_refresh_and_a_fetch_record_the_totals_of_the_mirror_once_each(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    dagster.sandbox.archive.revise(collection=SMALL, count=1)
    dagster.run("tcia_refresh", SMALL, tables=["series", "patients"])
    session = FetchSession(selection_from_fields(SELECTED))
    with use_session(session):
        run_fetch(dagster)
    # Who has started it need not count again.
    assert session.counts == count_series(dagster.warehouse, session.selection)
    refreshed, fetched = map(facts_of, dagster.events("mirror"))

    known = dagster.warehouse.query("SELECT count(*) AS n FROM series")["n"][0].as_py()
    assert len(keys) > 1 and refreshed["known"] == fetched["known"] == known
    assert (refreshed["new"], refreshed["changed"], refreshed["complete"]) == (0, 1, 0)
    assert int(str(refreshed["requests"])) >= 2 and int(str(refreshed["received_bytes"])) > 0
    assert fetched["complete"] == fetched["fetched"] == len(zips(dagster)) > 0
    assert fetched["bytes_on_disk"] == sum(path.stat().st_size for path in zips(dagster))
    assert "selected" not in fetched, "TCIA_IMAGE_SELECTION is not set"
    for facts in (refreshed, fetched):
        assert facts["failed"] == facts["missing"] == facts["withdrawn"] == 0
        assert float(str(facts["duration_s"])) > 0
        assert 0 <= float(str(facts["oldest_comparison_hours"])) < 24


def test_a_run_in_which_a_collection_failed_is_recorded_too(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    dagster.sandbox.faults.add(Fault("html", "getPatient", times=0, collection=SMALL))
    dagster.run("tcia_refresh", keys[0], keys[-1], tables=["patients"], raise_on_error=False)

    [event] = dagster.events("mirror")
    assert facts_of(event)["failed_partitions"] == 1


@pytest.mark.parametrize("wanted", ["Modality = 'RTSTRUCT'", "no_such_column = 1"])
def test_a_selection_that_cannot_be_used_fails_no_refresh(dagster: Dagster, wanted: str) -> None:
    dagster.start_refreshed()
    selection = f'{{"where": "{wanted}"}}'
    dagster.run("tcia_refresh", SMALL, tables=["patients"], image_selection=selection)

    facts = facts_of(dagster.events("mirror")[-1])
    assert ("selected" in facts) != ("selection_error" in facts)
    assert ("selection_error" in facts) == ("no_such_column" in wanted)


def test_mirror_is_shown_and_in_no_job() -> None:
    def owned(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(owners=["team:imaging"])

    definitions = build_definitions(datasets="", get_asset_spec=owned)
    graph = definitions.resolve_asset_graph()

    assert graph.get(MIRROR).owners == ["team:imaging"]
    assert graph.get(MIRROR).group_name == "tcia_metadata"
    assert "Plots" in str(graph.get(MIRROR).description)
    for job in definitions.resolve_all_job_defs():
        assert MIRROR not in job.asset_layer.executable_asset_keys, job.name
