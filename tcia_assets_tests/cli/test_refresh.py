"""`tcia-assets refresh`: what it refuses, and how runs fail."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets import catalog
from tcia_assets.sandbox.faults import Fault
from tcia_assets.store.conform import conform
from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.conftest import SMALL


def test_a_misspelt_collection_lists_similar_names_and_exits_with_2(
    empty_terminal: Terminal,
) -> None:
    result = empty_terminal("refresh", "LCTCS")

    assert result.exit_code == 2
    assert "LCTCS" in result.stderr and "'LCTSC'" in result.stderr


def test_an_unreachable_source_is_named_with_its_host(empty_terminal: Terminal) -> None:
    empty_terminal.environment |= {"TCIA_BASE_URL": "http://127.0.0.1:9/nbia-api/services/v4"}
    result = empty_terminal("refresh", "--all")

    assert result.exit_code == 1
    assert "no response from 127.0.0.1:9" in result.stderr
    assert "nothing was changed" in result.stderr


def test_a_source_that_does_not_answer_is_remembered_until_it_does(
    empty_terminal: Terminal,
) -> None:
    faults = empty_terminal.sandbox.faults
    faults.add(Fault("status", "getCollectionValues", times=0, status=410))
    assert empty_terminal("refresh", SMALL).exit_code == 1
    assert "has not answered since" in empty_terminal("status").stdout

    record = Path(empty_terminal.environment["TCIA_DATA_DIR"]) / "source_outage.json"
    since = {"since": "2026-01-01T00:00:00+00:00"}
    record.write_text(json.dumps(json.loads(record.read_text()) | since))
    gone = empty_terminal("refresh", SMALL)
    assert gone.exit_code == 1 and "set TCIA_SOURCE=idc" in gone.stderr
    assert "Frozen" in empty_terminal("status").stdout

    faults.clear()
    assert empty_terminal("refresh", "LCTCS").exit_code == 2  # it has answered
    assert "Frozen" not in empty_terminal("status").stdout


@pytest.mark.slow
def test_a_collection_whose_name_cannot_be_a_partition_key_is_named(terminal: Terminal) -> None:
    terminal.sandbox.archive.move([terminal.uids[0]], to="a, b")
    result = terminal("refresh", SMALL)

    assert result.exit_code == 0, result.output
    assert "left out, because their names cannot be partition keys: ['a, b']" in result.stderr


@pytest.mark.slow
def test_a_collection_without_a_name_is_left_out_with_a_note(terminal: Terminal) -> None:
    # The list is requested for the partitions, and again to be stored.
    terminal.sandbox.faults.add(Fault("null_row", "getCollectionValues", times=0))
    result = terminal("refresh", SMALL, "--max-size-requests", "0")

    assert result.exit_code == 0, result.output
    assert "left out: 1 row without a name in the source's list of Collections" in result.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [("a: [", "dagster.yaml"), ("nonsense: 1", "nonsense"), ("- 1", "dictionary")],
)
def test_a_dagster_home_that_is_broken_is_one_line(
    empty_terminal: Terminal, dagster_home: Path, content: str, said: str
) -> None:
    (dagster_home / "dagster.yaml").write_text(content)
    result = empty_terminal("refresh", SMALL)

    assert result.exit_code == 2
    assert said in result.stderr and result.stderr.count("\n") == 1


def test_a_relative_dagster_home_is_one_line(
    empty_terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "home")
    result = empty_terminal("refresh", SMALL)

    assert result.exit_code == 2
    assert "DAGSTER_HOME is 'home'" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_implausible_listing_is_named_and_ends_with_1(terminal: Terminal) -> None:
    terminal.sandbox.archive.hide(collection=SMALL, count=6)
    result = terminal("refresh", SMALL, "--max-size-requests", "0")

    assert result.exit_code == 1
    [line] = [line for line in result.stderr.splitlines() if "implausible" in line]
    assert f"failed: series of '{SMALL}': implausible listing: it lacks 6 of the 10" in line
    assert terminal.warehouse.row_count(catalog.SERIES, SMALL) == 10


@pytest.mark.slow
def test_a_failed_check_that_may_be_right_is_a_note(terminal: Terminal) -> None:
    [uid] = terminal.sandbox.archive.hide(collection=SMALL, count=1)
    result = terminal("refresh", SMALL, "--max-size-requests", "0")

    assert result.exit_code == 0, result.output
    [line] = [line for line in result.stderr.splitlines() if "none_missing" in line]
    assert "Note: check none_missing of series: The newest listings contain every" in line
    assert f"1 row contradicts it, such as Collection={SMALL}, SeriesInstanceUID={uid}" in line


def test_a_failed_check_that_means_wrong_data_ends_with_1(terminal: Terminal) -> None:
    rows = pa.table({"Collection": [SMALL], "Modality": ["MR"]})
    terminal.warehouse.write(catalog.MODALITY_VALUES, conform(catalog.MODALITY_VALUES, rows), SMALL)
    terminal.sandbox.faults.add(Fault("ignored_filter", "getModalityValues", times=0))
    result = terminal("refresh", SMALL, "--max-size-requests", "0")

    assert result.exit_code == 1
    assert "check values_occur of modality_values" in result.stderr
    assert "Collection=LCTSC, Modality=MR" in result.stderr


def test_a_value_that_cannot_be_read_is_one_line_and_no_failure(terminal: Terminal) -> None:
    terminal.sandbox.faults.add(
        Fault("bad_value", "getSeries", column="SeriesDate", value="\x1b[2J\n07 May", times=0)
    )
    result = terminal("refresh", SMALL)

    assert result.exit_code == 0, result.output
    [note] = [line for line in result.stderr.splitlines() if line.startswith("Note: ")]
    assert "1 value cannot be read and is null" in note
    assert "07 May" in note and "series.SeriesDate" in note and "unreadable_values" in note
    assert note.isprintable()


@pytest.mark.slow
def test_a_column_that_vanished_is_a_failure_until_it_is_accepted(terminal: Terminal) -> None:
    terminal.sandbox.faults.add(
        Fault("renamed_column", "getSeries", times=0, column="SeriesDate", value="SeriesDay")
    )
    result = terminal("refresh", SMALL)
    assert result.exit_code == 1
    assert "series.SeriesDate" in result.stderr and "SeriesDay" in result.stderr
    assert f"tcia-assets refresh --accept-schema {SMALL}" in result.stderr

    result = terminal("refresh", "--accept-schema", SMALL)
    assert result.exit_code == 0, result.output
    rows = terminal.warehouse.read(catalog.SERIES, [SMALL])
    assert rows["SeriesDate"].null_count == rows.num_rows
    assert terminal("refresh", SMALL).exit_code == 0


def test_a_schema_is_accepted_only_of_what_the_source_lists(terminal: Terminal) -> None:
    result = terminal("refresh", "--accept-schema", "LCTCS")
    assert result.exit_code == 2
    assert "'LCTSC'" in result.stderr
