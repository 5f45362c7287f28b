"""The asset `catalogue`: pages as an asset of their own, after each refresh and fetch."""

from __future__ import annotations

import dagster as dg
import pytest

from tcia_assets.defs.plugin import build_definitions
from tcia_assets_tests.conftest import SMALL, Dagster

KEY = dg.AssetKey(["tcia", "catalogue"])


def test_the_job_writes_the_pages_and_records_where_they_are(dagster: Dagster) -> None:
    dagster.start_refreshed()
    assert dagster.run("tcia_catalogue").success
    [event] = dagster.events("catalogue")
    facts = {name: value.value for name, value in event.metadata.items()}
    index = dagster.data_dir / "catalogue" / "index.html"
    assert facts["page"] == str(index) and index.is_file()
    assert facts["pages"] == len(list(index.parent.rglob("*.html")))
    files = [path for path in index.parent.rglob("*") if path.is_file()]
    assert facts["bytes"] == sum(path.stat().st_size for path in files)


# Only the function that evaluates conditions in tests is in beta.
@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_a_refresh_asks_for_it_once_and_is_not_part_of_it(dagster: Dagster) -> None:
    dagster.start_refreshed()
    definitions = dagster.definitions()
    first = dg.evaluate_automation_conditions(definitions, dagster.instance)
    dagster.run("tcia_refresh", SMALL, tables=["patients"])
    assert not dagster.events("catalogue")
    after = dg.evaluate_automation_conditions(definitions, dagster.instance, cursor=first.cursor)
    assert after.get_num_requested(KEY) == 1
    again = dg.evaluate_automation_conditions(definitions, dagster.instance, cursor=after.cursor)
    assert again.get_num_requested(KEY) == 0


def test_its_sensor_is_off_until_switched_on() -> None:
    definitions = build_definitions(datasets="")
    [sensor] = [s for s in definitions.sensors or [] if s.name == "tcia_catalogue_updates"]
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
