"""Series that are stored one by one, of Collections that were not refreshed, over the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import SERIES, SERIES_SIZES, SNAPSHOTS, STUDIES
from tcia_assets.images.run_reasons import find_never_refreshed, newest_release_date
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.imports import record_import
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.single_series import (
    add_single_series,
    add_sizes,
    find_unknown,
    find_unsized,
    partial_collections,
)
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for
from tcia_assets_tests.metadata.mirror import SandboxMirror, day

OTHER = "RIDER Lung CT"


def add(mirror: SandboxMirror, uids: Sequence[str], number: int = 1) -> list[str]:
    return add_single_series(uids, mirror.source, mirror.warehouse, day(number))


def stored(warehouse: Warehouse) -> list[str]:
    return warehouse.read(SERIES)["SeriesInstanceUID"].to_pylist()


def without_times(warehouse: Warehouse) -> list[dict[str, Any]]:
    """The rows of `series` without when they were first and last seen."""
    rows = warehouse.read(SERIES, [SMALL])
    times = ("first_seen_at", "listed_since", "changed_at")
    return rows.drop_columns([n for n in times if n in rows.column_names]).to_pylist()


def test_single_series_are_stored_without_a_listing(mirror: SandboxMirror) -> None:
    uids = [*mirror.uids(SMALL, 2), *mirror.uids(OTHER, 1)]
    assert add(mirror, uids) == []

    assert sorted(stored(mirror.warehouse)) == sorted(uids)
    assert partial_collections(mirror.warehouse) == {SMALL, OTHER}
    assert not mirror.warehouse.keys(SNAPSHOTS)
    assert mirror.events() == [
        (uid, name, "added", day(1))
        for uid, name in sorted(zip(uids, [SMALL, SMALL, OTHER], strict=True))
    ]
    # Not listed yet is not missing; and nothing is known of what was released before them.
    assert newest_release_date(mirror.warehouse) is None
    never = find_never_refreshed([SMALL, OTHER], mirror.warehouse)
    assert [each.collection for each in never] == [SMALL, OTHER]


def test_a_series_that_the_source_does_not_have_is_named_and_the_others_are_stored(
    mirror: SandboxMirror,
) -> None:
    [uid] = mirror.uids(SMALL, 1)
    problems = add(mirror, ["9.9.9", uid, "9.9.8"])

    assert [line.split(" is not known")[0] for line in problems] == ["9.9.9", "9.9.8"]
    assert stored(mirror.warehouse) == [uid]
    assert find_unknown(pa.array(["9.9.9", uid]), mirror.warehouse) == ["9.9.9"]


def test_a_source_that_fails_has_said_nothing_about_a_series(
    mirror: SandboxMirror, sandbox: Sandbox
) -> None:
    known, other = mirror.uids(SMALL, 2)
    sandbox.faults.add(Fault("empty", "getSeries", times=0, series=other))
    sandbox.faults.add(Fault("status", "getCollectionValues", times=0, status=500))
    problems = add(mirror, [known, other])

    assert stored(mirror.warehouse) == [known]
    [line] = problems
    assert "is not known" not in line and other in line and "500" in line
    sandbox.faults.clear()
    assert add(mirror, find_unknown(pa.array([known, other]), mirror.warehouse)) == []
    assert sorted(stored(mirror.warehouse)) == [known, other]


def test_the_first_refresh_ends_in_the_same_rows_as_without_it(
    mirror: SandboxMirror, sandbox: Sandbox, tmp_path: Path
) -> None:
    uids = mirror.uids(SMALL, 3)
    add(mirror, uids)
    [done] = mirror.refresh(day(2), SMALL)
    plain = SandboxMirror(sandbox, tmp_path / "plain")
    with plain.source:
        plain.refresh(day(2), SMALL)

    assert without_times(mirror.warehouse) == without_times(plain.warehouse)
    assert partial_collections(mirror.warehouse) == set()
    events = mirror.events()
    assert {event for _, _, event, _ in events} == {"added"} and len(events) == 10
    assert [uid for uid, _, _, at in events if at == day(1)] == uids
    assert (done.facts["new"], done.facts["changed"], done.facts["plausible"]) == (7, 0, True)
    assert mirror.known_at(day(1)) == [
        row for row in mirror.known() if row["SeriesInstanceUID"] in uids
    ]


def test_a_series_is_added_to_a_refreshed_collection(mirror: SandboxMirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.archive.hold([uid])
    mirror.refresh(day(1), SMALL)
    newest = newest_release_date(mirror.warehouse)
    mirror.archive.release([uid])
    assert find_unknown(pa.array([uid]), mirror.warehouse) == [uid]
    add(mirror, [uid], 2)

    assert len(stored(mirror.warehouse)) == 10
    assert partial_collections(mirror.warehouse) == set()
    assert newest_release_date(mirror.warehouse) == newest
    # Its release is newer than the listing, which is not outdated for that.
    checks = {check.name: check.sql for check in SERIES.checks}
    assert not mirror.warehouse.query(checks["releases_not_older"]).num_rows
    [done] = mirror.refresh(day(3), SMALL)
    assert (done.facts["new"], done.facts["changed"], done.facts["missing"]) == (0, 0, 0)
    assert [event for _, _, event, _ in mirror.events([uid])] == ["added"]


def test_a_run_killed_between_events_and_rows_is_repaired_by_the_next(
    mirror: SandboxMirror,
) -> None:
    first, second = mirror.uids(SMALL, 2)
    add(mirror, [first])
    mirror.warehouse.path(SERIES, SMALL).unlink()  # the last that is written

    assert add(mirror, find_unknown(pa.array([first, second]), mirror.warehouse), 2) == []
    assert mirror.events() == [(uid, SMALL, "added", day(2)) for uid in (first, second)]


def test_sizes_and_patients_are_requested_where_the_rows_lack_them(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path)
    settings = settings_for(sandbox, tmp_path, "bindaas-v4")
    with open_source(settings, pacing=IMPATIENT) as source:
        uids = [
            row["uid"]
            for row in sandbox.archive.rows(
                "SELECT SeriesInstanceUID AS uid FROM archive.series WHERE Collection = ? LIMIT 2",
                [SMALL],
            )
        ]
        assert add_single_series(uids, source, warehouse, day(1)) == []
        # A run that is killed here leaves them to the next one.
        unsized = find_unsized(pa.array(uids), warehouse)
        assert unsized == {SMALL: sorted(uids)}
        assert add_sizes(unsized, source, warehouse, day(1)) == []
        assert find_unsized(pa.array(uids), warehouse) == {}
        sizes = warehouse.read(SERIES_SIZES, [SMALL])
        assert sorted(sizes["SeriesInstanceUID"].to_pylist()) == sorted(uids)
        assert not sizes["TotalSizeInBytes"].null_count
        assert not warehouse.read(SERIES)["PatientID"].null_count
        # The PatientIDs of a whole refresh are the same ones, so that they are no change.
        for table in (STUDIES, SERIES):
            refresh(table, SMALL, source, warehouse, day(2), ProbeBudget(0))
    events = warehouse.query("SELECT event, count(*) AS n FROM series_changes GROUP BY ALL")
    assert events.to_pylist() == [{"event": "added", "n": 10}]


def test_collections_that_are_not_mirrored_are_left_out(
    mirror: SandboxMirror, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(sandbox, tmp_path).replace(collections=(OTHER,))
    with open_source(settings, pacing=IMPATIENT) as source:
        [line] = add_single_series(mirror.uids(SMALL, 1), source, mirror.warehouse, day(1))
    assert "TCIA_COLLECTIONS" in line and SMALL in line
    assert not stored(mirror.warehouse)


def test_nothing_is_added_to_a_collection_that_was_imported(mirror: SandboxMirror) -> None:
    names = ("files", "objects", "object_bytes", "repeated_files", "not_dicom", "directories")
    counts = dict.fromkeys((*names, "without_uid"), 0)
    record_import(SMALL, Path("/scans"), counts, mirror.warehouse, day(1))
    uids = mirror.uids(SMALL, 1)
    [problem] = add(mirror, uids)
    assert problem.startswith(f"{SMALL}: '{uids[0]}': ") and "under another name" in problem
    assert stored(mirror.warehouse) == []
