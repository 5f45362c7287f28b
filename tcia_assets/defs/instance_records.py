"""What Dagster has recorded in a home: whether runs have ended, why a tick requested none."""

from __future__ import annotations

from pathlib import Path

import dagster as dg


def have_runs_ended(home: Path) -> bool:
    """Return whether no run is queued or under way.

    Args:
        home: Dagster's home.
    """
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return all(record.dagster_run.is_finished for record in instance.get_run_records())


def last_skip_reason(home: Path, sensor: str) -> str:
    """Return why the last tick of a sensor requested no run; "" if it did, or there was none.

    Args:
        home: Dagster's home.
        sensor: Name of the sensor, which must have been switched on or off once.
    """
    with dg.DagsterInstance.from_config(str(home)) as instance:
        states = instance.all_instigator_state()
        [state] = [each for each in states if each.instigator_name == sensor]
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    return (ticks[0].tick_data.skip_reason or "") if ticks else ""
