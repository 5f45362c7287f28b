"""`tcia-assets fetch`: what is selected, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets import catalog
from tcia_assets.images.manifest import merge_rows, read_rows
from tcia_assets.images.plan import MAX_ATTEMPTS
from tcia_assets.images.run_limits import Shard
from tcia_assets_tests.cli.terminal import CONTOURS, Terminal, line_of, words
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.images.headers.zip_warehouse import forget_columns
from tcia_assets_tests.images.many import in_shard


@pytest.mark.slow
def test_a_series_list_and_a_series_narrow_the_fetch(terminal: Terminal, tmp_path: Path) -> None:
    in_file, named, *_ = terminal.uids
    manifest = tmp_path / "some.tcia"
    manifest.write_text(f"ListOfSeriesToDownload=\n{in_file}\n9.9.9\n")
    result = terminal("fetch", "--manifest", str(manifest), "--series", named)

    # The others are fetched, although one is not known.
    assert result.exit_code == 1, result.output
    assert terminal.statuses == {in_file: "complete", named: "complete"}
    assert "failed: 9.9.9 is not known to the source nbia-v4@" in result.stderr
    assert SMALL in result.stdout


def test_named_series_are_fetched_into_an_empty_folder(
    empty_terminal: Terminal, contours_root: Path
) -> None:
    terminal = empty_terminal
    uid, other, *_ = Terminal(terminal.sandbox, contours_root).uids
    planned = terminal("fetch", uid, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert words(line_of(planned, SMALL))[1:3] == ["0", "1"] and not terminal.statuses
    requested = terminal.sandbox.requests["getSeries"]
    fetched = terminal("fetch", uid)

    assert fetched.exit_code == 0, fetched.output
    # What is known is not requested again.
    assert terminal.sandbox.requests["getSeries"] == requested
    assert terminal.statuses == {uid: "complete"} and terminal.zip(uid).is_file()
    assert "Partial: only Series that were fetched one by one are known" in fetched.stdout
    assert f"tcia-assets refresh {SMALL}" in fetched.stdout
    assert not terminal.warehouse.keys(catalog.SNAPSHOTS)
    assert terminal.warehouse.read(catalog.REFERENCES, [SMALL]).num_rows
    more = terminal("fetch", uid, other, "9.9.9")
    assert more.exit_code == 1 and "failed: 9.9.9 is not known" in more.stderr
    assert terminal.statuses == dict.fromkeys((uid, other), "complete")


def test_series_that_the_source_does_not_know_are_named(empty_terminal: Terminal) -> None:
    result = empty_terminal("fetch", "9.9.9", "9.9.8")

    assert result.exit_code == 1
    assert [line.split()[1] for line in result.stderr.splitlines() if "failed" in line] == [
        "9.9.8",
        "9.9.9",
    ]
    assert "refresh" not in result.stderr


def test_collections_and_series_are_not_named_together(terminal: Terminal) -> None:
    result = terminal("fetch", SMALL, terminal.uids[0])
    assert result.exit_code == 2
    assert "name either Collections or Series; --series narrows Collections" in result.stderr


def test_a_selection_of_no_series_is_refused_with_similar_names(terminal: Terminal) -> None:
    misspelt = terminal("fetch", SMALL, "--modality", "RTSTRUCTT")
    empty = terminal("fetch", SMALL, "--modality", "ct", "--where", "ImageCount > 100000")

    assert misspelt.exit_code == empty.exit_code == 2
    assert "'RTSTRUCTT'" in misspelt.stderr and "did you mean 'RTSTRUCT'?" in misspelt.stderr
    assert "no Series is selected" in empty.stderr and "ImageCount > 100000" in empty.stderr


def test_a_limit_of_zero_in_a_selection_is_refused(empty_terminal: Terminal) -> None:
    result = empty_terminal(
        "fetch", "--selection", f"{{collections: {SMALL}, max_series_per_run: 0}}"
    )

    assert result.exit_code == 2
    assert "must be 1 or more" in result.stderr


def test_a_denied_licence_is_counted_and_not_fetched(terminal: Terminal) -> None:
    forbidden, untold, *_ = terminal.uids
    set_licenses(terminal, {forbidden: "CC BY-NC 3.0", untold: None})
    result = terminal(*CONTOURS, "--deny-license", "NC", "--dry-run")

    assert result.exit_code == 0, result.output
    cells = words(line_of(result, SMALL))
    assert cells[2] == "4" and cells[-2:] == ["1", "denied"]
    assert "1 of these Series have no licence" in result.stderr


def set_licenses(terminal: Terminal, names: dict[str, str | None]) -> None:
    rows = terminal.warehouse.read(catalog.SERIES, [SMALL]).to_pylist()
    for row in rows:
        if row["SeriesInstanceUID"] in names:
            row |= {"LicenseName": names[row["SeriesInstanceUID"]], "LicenseURI": None}
    table = pa.Table.from_pylist(rows, schema=catalog.SERIES.schema)
    terminal.warehouse.write(catalog.SERIES, table, SMALL)


@pytest.mark.slow
def test_only_an_allowed_licence_is_fetched(terminal: Terminal) -> None:
    mine, untold, *_ = terminal.uids
    set_licenses(terminal, {mine: "MIT Licence", untold: None})
    result = terminal(*CONTOURS, "--allow-license", "MIT Licence")

    assert result.exit_code == 0, result.output
    assert list(terminal.statuses) == [mine]


def test_a_misspelt_licence_is_refused(terminal: Terminal) -> None:
    result = terminal(*CONTOURS, "--deny-license", "Qwertz 12", "--dry-run")

    assert result.exit_code == 2
    assert "'Qwertz 12'" in result.stderr


@pytest.mark.slow
def test_a_fetch_stays_within_its_bytes(terminal: Terminal) -> None:
    # A run has one Series at least, however large.
    result = terminal(*CONTOURS, "--max-bytes", "0.001 kB")

    assert result.exit_code == 0, result.output
    assert len(terminal.statuses) == 1


@pytest.mark.slow
def test_quiet_hours_leave_all_to_later_runs_unless_ignored(terminal: Terminal) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    begin, end = (f"{each:%H:%M}" for each in (now - hour, now + hour))
    uid = terminal.uids[0]
    quiet = f"{{series: ['{uid}'], quiet_hours: {{from: '{begin}', to: '{end}'}}}}"
    result = terminal("fetch", "--selection", quiet)

    assert result.exit_code == 0, result.output
    assert f"quiet hours ({begin} to {end}, UTC): no images are fetched until" in result.stderr
    assert "1 Series is left to later runs" in result.stderr
    assert not terminal.sent_image_requests
    result = terminal("fetch", "--selection", quiet, "--ignore-quiet-hours")
    assert result.exit_code == 0, result.output
    assert terminal.statuses == {uid: "complete"} and "quiet hours" not in result.stderr


@pytest.mark.slow
def test_shards_together_fetch_every_series_once(terminal: Terminal) -> None:
    mine = set(in_shard(terminal.uids, Shard(0, 2)))
    assert 0 < len(mine) < len(terminal.uids)
    assert terminal(*CONTOURS, "--shard", "0/2").exit_code == 0
    assert set(terminal.statuses) == mine
    assert terminal(*CONTOURS, "--shard", "1/2").exit_code == 0

    assert terminal.statuses == dict.fromkeys(terminal.uids, "complete")
    assert terminal.sandbox.requests["getImage"] == len(terminal.uids)


def test_an_empty_shard_exits_with_0(terminal: Terminal) -> None:
    [uid] = in_shard(terminal.uids, Shard(0, 2))[:1]
    result = terminal(*CONTOURS, "--series", uid, "--shard", "1/2")

    assert result.exit_code == 0
    assert "no Series to fetch is in shard 1-of-2" in result.stderr
    assert not terminal.sent_image_requests


@pytest.mark.slow
def test_a_series_missing_from_the_newest_list_fails_the_fetch(
    terminal: Terminal,
) -> None:
    missing = terminal.uids[0]
    terminal.sandbox.archive.hide([missing])
    assert terminal("refresh", SMALL).exit_code == 0
    result = terminal(*CONTOURS, "--series", missing)

    assert result.exit_code == 1
    assert "none of the selected Series is in the source's newest list" in result.stderr
    assert not terminal.sent_image_requests


def test_a_series_that_cannot_be_fetched_is_named_and_exits_with_1(terminal: Terminal) -> None:
    hidden = terminal.uids[0]
    terminal.sandbox.archive.hide([hidden])
    result = terminal(*CONTOURS)

    assert result.exit_code == 1
    assert f"{SMALL}: {hidden} is unavailable: " in result.stderr
    assert sorted(terminal.statuses.values()) == ["complete"] * 4 + ["unavailable"]


@pytest.mark.slow
def test_a_series_given_up_is_tried_only_with_retry(terminal: Terminal) -> None:
    hidden = terminal.uids[0]
    terminal.sandbox.archive.hide([hidden])
    terminal(*CONTOURS)
    rows = read_rows(terminal.warehouse, SMALL)
    tired = [replace(r, attempts=MAX_ATTEMPTS) for r in rows if r.series_instance_uid == hidden]
    merge_rows(terminal.warehouse, SMALL, tired)
    terminal.sandbox.archive.show([hidden])
    left = terminal(*CONTOURS, "--dry-run")
    assert words(line_of(left, SMALL))[-3:] == ["1", "given", "up"]
    asked = terminal.sandbox.requests["getImage"]
    result = terminal(*CONTOURS)
    assert result.exit_code == 1
    assert f"{SMALL}: {hidden} is unavailable: " in result.stderr and "--retry" in result.stderr
    assert terminal.statuses[hidden] == "unavailable"
    assert terminal.sandbox.requests["getImage"] == asked

    assert terminal(*CONTOURS, "--retry").exit_code == 0
    assert terminal.statuses[hidden] == "complete"


def test_a_dry_run_prints_the_plan_and_fetches_nothing(
    terminal: Terminal,
) -> None:
    result = terminal(*CONTOURS, "--dry-run", "--max-series", "2")

    assert result.exit_code == 0, result.output
    assert words(result.stdout.splitlines()[0]) == words(
        "Collection on disk to fetch bytes reasons left out"
    )
    line = " ".join(words(result.stdout.split(SMALL, 1)[1]))
    assert line.startswith("0 2 ")
    assert "2 new" in line and "3 later" in line and "kB" in line
    assert not terminal.sent_image_requests and terminal.statuses == {}


@pytest.mark.slow
def test_a_fetch_reads_the_zips_that_an_interrupted_one_left(fetched: Terminal) -> None:
    tables = (catalog.IMAGES, catalog.REFERENCES, catalog.TARGETS)
    before = {table: fetched.warehouse.read(table, [SMALL]) for table in tables}
    left = len(fetched.uids)
    for table in tables:
        fetched.warehouse.path(table, SMALL).unlink()
    assert words(line_of(fetched("status"), SMALL))[7] == str(left)
    result = fetched(*CONTOURS)

    assert result.exit_code == 0, result.output
    assert f"{len(fetched.uids)} zips in {SMALL} fetched by a run that did not" in result.stderr
    for table, rows in before.items():
        assert fetched.warehouse.read(table, [SMALL]).equals(rows), table.name
    assert not fetched.sent_image_requests
    assert words(line_of(fetched("status"), SMALL))[7] == "0"


@pytest.mark.slow
def test_a_fetch_with_nothing_to_fetch_fills_columns_that_are_new(fetched: Terminal) -> None:
    whole = forget_columns(fetched.warehouse, "SoftwareVersions", collection=SMALL)
    result = fetched(*CONTOURS)

    assert result.exit_code == 0, result.output
    assert f"5 zips in {SMALL} read before images had all its columns" in result.stderr
    assert fetched.warehouse.read(catalog.IMAGES, [SMALL]).equals(whole)
    assert not fetched.sent_image_requests
