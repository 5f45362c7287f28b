"""`tcia-assets changes`: events with old and new values."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa

from tcia_assets import catalog
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import open_source
from tcia_assets_tests.cli.terminal import Terminal, words
from tcia_assets_tests.conftest import SMALL, settings_for


def refresh_series(terminal: Terminal) -> None:
    with open_source(settings_for(terminal.sandbox, terminal.root)) as source:
        refresh(
            catalog.SERIES, SMALL, source, terminal.warehouse, datetime.now(UTC), ProbeBudget(0)
        )


def test_changes_are_printed_newest_last_with_old_and_new_values(terminal: Terminal) -> None:
    uid, *_ = terminal.uids
    terminal.sandbox.archive.revise([uid], image_count=3)
    refresh_series(terminal)
    result = terminal("changes", SMALL)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    events = [line for line in lines if not line.startswith(" ")]
    assert [words(line)[2] for line in events] == ["added"] * 10 + ["changed"]
    assert words(events[-1])[3:] == [SMALL, uid]
    assert "    ImageCount: 1 -> 3" in lines[lines.index(events[-1]) :]


def test_long_values_are_shown_and_very_long_ones_without_their_middle(terminal: Terminal) -> None:
    series = terminal.warehouse.read(catalog.SERIES_CHANGES, [SMALL]).slice(0, 1)
    old, new = "Creative Commons Attribution 3.0 Unported License", "x" * 500
    columns = {
        "changed_columns": pa.array([["LicenseName"]], pa.list_(pa.string())),
        "before": pa.array([json.dumps({"LicenseName": old})]),
        "after": pa.array([json.dumps({"LicenseName": new})]),
    }
    for name, values in columns.items():
        place = series.schema.get_field_index(name)
        series = series.set_column(place, series.schema.field(name), values)
    terminal.warehouse.write(catalog.SERIES_CHANGES, series, SMALL)

    assert f"    LicenseName: {old} -> xxx" in (shown := terminal("changes").stdout)
    assert "[... 420 characters ...]" in shown


def test_changes_of_one_event_in_other_formats(terminal: Terminal) -> None:
    uid, *_ = terminal.uids
    terminal.sandbox.archive.hold([uid])
    refresh_series(terminal)
    as_json = json.loads(terminal("changes", "--event", "missing", "--format", "json").stdout)
    as_csv = terminal("changes", "--event", "missing", "--format", "csv").stdout.splitlines()

    assert [(row["SeriesInstanceUID"], row["event"]) for row in as_json] == [(uid, "missing")]
    assert len(as_csv) == 2 and uid in as_csv[1]


def test_the_oldest_events_are_left_out_and_counted(terminal: Terminal) -> None:
    uid, *_ = terminal.uids
    terminal.sandbox.archive.hold([uid])
    refresh_series(terminal)
    result = terminal("changes", "--rows", "1")

    assert words(result.stdout)[2:] == ["missing", SMALL, uid]
    assert "10 earlier events are not shown" in result.stderr


def test_without_events_a_note_has_the_start_time(terminal: Terminal) -> None:
    for form, nothing in (("table", ""), ("json", "[]\n")):
        result = terminal("changes", "--since", "2099-01-01", "--format", form)
        assert result.exit_code == 0 and result.stdout == nothing
        assert "no such change event since 2099-01-01 00:00 UTC" in result.stderr


def test_values_from_the_source_are_escaped_and_forge_no_line(terminal: Terminal) -> None:
    series = terminal.warehouse.read(catalog.SERIES_CHANGES, [SMALL])
    names = pa.array([["SeriesDescription"]] * len(series), pa.list_(pa.string()))
    forged = "\\n2026-11-26 12:00 moved 9"
    sent = f'{{"SeriesDescription": "a\\u001b[31m[bold]{forged}"}}'
    texts = pa.array([sent] * len(series))
    for name, values in (("changed_columns", names), ("before", texts), ("after", texts)):
        place = series.schema.get_field_index(name)
        series = series.set_column(place, series.schema.field(name), values)
    terminal.warehouse.write(catalog.SERIES_CHANGES, series, SMALL)
    shown = terminal("changes").stdout

    assert "\x1b" not in shown
    assert "a\\x1b[31m[bold]\\n2026-11-26 12:00 moved 9 -> " in shown
    assert not [line for line in shown.splitlines() if "moved" in line.split()[:3]]
