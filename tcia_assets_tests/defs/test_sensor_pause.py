"""The pause of the sensor: how long, and how the cursor holds it."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from tcia_assets.defs.sensor_pause import Pause
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import Dagster
from tcia_assets_tests.defs.sensor_ticks import (
    INTERVAL,
    NOON,
    caught_up,
    tick_at,
)


def test_a_pause_is_as_long_as_the_source_requests_within_an_hour(
    dagster: Dagster,
) -> None:
    caught_up(dagster)
    for asks, minutes in (("1800", 30), ("86400", 60)):
        dagster.sandbox.faults.add(Fault("status", status=503, retry_after=asks))
        pause = Pause.from_cursor(tick_at(dagster, None, NOON).cursor)
        assert pause is not None
        assert pause.is_active(NOON + dt.timedelta(minutes=minutes - 1), INTERVAL)
        assert not pause.is_active(NOON + dt.timedelta(minutes=minutes), INTERVAL)
        assert not pause.is_active(NOON - dt.timedelta(days=1), INTERVAL), "the clock was set back"


_NAIVE = '{"failures": 1, "since": "2026-11-24", "until": "2026-11-24", "why": ""}'


@pytest.mark.parametrize("cursor", [None, "", "{}", "2020-01-05", "[1]", '{"failures": 1}', _NAIVE])
def test_any_other_cursor_is_no_pause(cursor: str | None) -> None:
    assert Pause.from_cursor(cursor) is None


def test_the_sensor_keeps_its_pause_in_the_cursor(dagster: Dagster) -> None:
    caught_up(dagster)
    dagster.sandbox.faults.add(Fault("status", status=503))
    found = dagster.definitions().sensors or []
    [sensor] = [sensor for sensor in found if sensor.name == "tcia_new_series"]
    cursor = None
    for said in ("status 503", "status 503", "compared 8 Collections"):
        with dg.build_sensor_context(
            instance=dagster.instance, resources={"tcia": dagster.resource()}, cursor=cursor
        ) as context:
            answer = sensor.evaluate_tick(context)
        assert said in str(answer.skip_message)
        # The second time the pause was not over. A person who wants an answer deletes the cursor.
        cursor = answer.cursor if cursor is None else None
