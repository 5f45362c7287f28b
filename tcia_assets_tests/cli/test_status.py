"""`tcia-assets status`: its numbers, and how they fit the terminal."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets import catalog
from tcia_assets.images.manifest import merge_rows, read_rows
from tcia_assets.images.status import COUNTS
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.source_outage import record_failure
from tcia_assets.settings import Settings
from tcia_assets.sources import Source
from tcia_assets.units import format_bytes
from tcia_assets_tests.cli.terminal import Terminal, line_of, words
from tcia_assets_tests.conftest import SMALL


def test_status_counts_series_and_bytes_on_disk(fetched: Terminal) -> None:
    result = fetched("status")

    assert result.exit_code == 0
    cells = words(line_of(result, SMALL))
    assert cells[:8] == [SMALL, "10", "-", "5", "0", "0", "0", "0"]
    on_disk = sum(fetched.zip(uid).stat().st_size for uid in fetched.uids)
    assert " ".join(cells[8:11]) == f"{format_bytes(on_disk)} -"


def test_status_counts_selected_series_and_bytes_to_come(fetched: Terminal) -> None:
    fetched.environment["TCIA_IMAGE_SELECTION"] = "where: ImageCount < 1000"
    rows = fetched.warehouse.read(catalog.SERIES, [SMALL]).to_pylist()
    to_come = sum(r["FileSize"] for r in rows if r["SeriesInstanceUID"] not in fetched.uids)
    cells = words(line_of(fetched("status"), SMALL))

    assert cells[1:8] == ["10", "10", "5", "0", "0", "0", "0"]
    assert " ".join(cells[10:12]) == format_bytes(to_come)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_status_fits_its_terminal_with_numbers_right_aligned(fetched: Terminal, width: int) -> None:
    fetched.environment["COLUMNS"] = str(width)
    lines = fetched("status").stdout.splitlines()

    assert all(len(line) <= width for line in lines)
    head = next(line for line in lines if "series" in line)
    for name in (*COUNTS, "on disk", "to come", "last change", "compared"):
        assert any(name in line for line in lines) or (name, width < 200) == ("unindexed", True)
    row = next(line for line in lines if line.startswith(SMALL))
    for name in ("series", "complete", "withdrawn"):
        end = head.index(name) + len(name)
        assert row[end - 1].isdigit() and not row[end : end + 1].strip()
    assert sum(line.startswith(SMALL) for line in lines) == (1 if width == 200 else 2)


def test_status_says_what_share_of_the_zips_was_read_lately(fetched: Terminal) -> None:
    assert "100 % of 5 zips in the last 90 days" in fetched("status").stdout
    first, *others = read_rows(fetched.warehouse, SMALL)
    long_ago = datetime(2020, 2, 3, 4, 5, tzinfo=UTC)
    merge_rows(fetched.warehouse, SMALL, [replace(first, fetched_at=long_ago)], over_newer=True)
    said = " ".join(fetched("status").stdout.split())
    [row] = json.loads(fetched("status", "--format", "json").stdout)

    assert f"80 % of 5 zips in the last 90 days, the oldest on 2020-02-03 04:05 ({SMALL})" in said
    assert "tcia_verify_daily" in said
    assert (row["zips"], row["zips_proven"]) == (5, len(others))
    assert row["oldest_proof_at"] == long_ago.isoformat()
    assert fetched("verify").exit_code == 0
    assert "100 % of 5 zips" in fetched("status").stdout


def test_collections_removed_from_the_source_are_named(terminal: Terminal, source: Source) -> None:
    def list_collections() -> None:
        now = datetime.now(UTC)
        refresh(catalog.COLLECTIONS, "", source, terminal.warehouse, now, ProbeBudget(0))

    list_collections()
    assert "Suspect" not in terminal("status").stdout
    hidden = terminal.sandbox.archive.hide(collection=SMALL)
    list_collections()
    [line] = [row for row in terminal("status").stdout.splitlines() if "Suspect" in row]
    assert line.endswith(SMALL)
    terminal.sandbox.archive.show(hidden)
    list_collections()
    assert "Suspect" not in terminal("status").stdout


@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_status_can_be_read_by_programs(fetched: Terminal, form: str) -> None:
    result = fetched("status", "--format", form)

    assert result.exit_code == 0, result.output
    if form == "json":
        [row] = json.loads(result.stdout)
    else:
        [row] = csv.DictReader(io.StringIO(result.stdout))
    assert (row["Collection"], int(row["series"]), int(row["complete"])) == (SMALL, 10, 5)


def test_the_status_of_an_empty_folder_is_an_empty_list(empty_terminal: Terminal) -> None:
    result = empty_terminal("status", "--format", "json")

    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_verbose_shows_what_the_source_says_about_a_collection(
    terminal: Terminal, source: Source
) -> None:
    none = terminal("status", "--verbose")
    refresh(
        catalog.COLLECTION_DESCRIPTIONS,
        SMALL,
        source,
        terminal.warehouse,
        datetime.now(UTC),
        ProbeBudget(0),
    )
    shown = terminal("status", SMALL, "-v")
    [row] = terminal.warehouse.read(catalog.COLLECTION_DESCRIPTIONS, [SMALL]).to_pylist()

    assert none.exit_code == shown.exit_code == 0
    assert f"{SMALL}: no description" in none.stdout
    assert f"{SMALL}: https://doi.org/{row['doi']}; {row['LicenseName']}" in shown.stdout
    assert all(f"  {line}" in shown.stdout for line in row["description"].splitlines())
    assert "doi.org" not in terminal("status").stdout


def test_a_source_that_does_not_answer_is_named(fetched: Terminal) -> None:
    settings = Settings.from_env(fetched.environment)
    now = datetime.now(UTC)
    record_failure(fetched.warehouse, settings, "reset", now + timedelta(minutes=1))
    path = fetched.warehouse.root / "source_outage.json"
    assert "No answer" in fetched("status").stdout
    # All that is stored is older.
    rows = fetched.warehouse.read(catalog.SNAPSHOTS)
    days = timedelta(days=20)
    early = pc.subtract(rows["taken_at"], pa.scalar(days))
    old = rows.set_column(1, rows.schema.field(1), early)
    fetched.warehouse.write(catalog.SNAPSHOTS, old, SMALL)
    record = json.loads(path.read_text()) | {"since": (now - days + timedelta(hours=1)).isoformat()}
    path.write_text(json.dumps(record))
    shown = " ".join(fetched("status").stdout.split())
    assert "Frozen" in shown
    assert "TCIA_SOURCE=idc" in shown
    assert "No answer" not in shown
    assert fetched("status").exit_code == 0
