"""A mirror changes from one source to another and back, and only what is new is an event."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import (
    COLLECTIONS,
    IMAGE_ARCHIVES,
    PATIENTS,
    SERIES,
    SERIES_SIZES,
    SNAPSHOTS,
    STUDIES,
)
from tcia_assets.defs.checks import checks_of
from tcia_assets.images.plan import plan_collection
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source, open_source
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform
from tcia_assets.store.cores import computing, count_cores
from tcia_assets.store.marks import mark_path
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL, idc_settings_for
from tcia_assets_tests.metadata.mirror import SandboxMirror, day, killed_before_writing
from tcia_assets_tests.metadata.releases import of_idc, opened, write_release

_Row = dict[str, Any]
ALL = (PATIENTS, STUDIES, SERIES)


class Moving:
    """A mirror that is refreshed from NBIA on the first day, and from releases later."""

    def __init__(self, mirror: SandboxMirror, folder: Path) -> None:
        self.mirror, self.warehouse, self._folder = mirror, mirror.warehouse, folder
        self._releases = 0
        self.first = self.rows()
        self.uids = sorted(self.first)

    def from_nbia(self, number: int, tables: Sequence[Table] = (SERIES,)) -> RefreshResult:
        return self._refresh(self.mirror.source, number, tables)

    def from_idc(
        self,
        number: int,
        listed: list[_Row],
        release: str = "25.0.5",
        gone: dict[str, int] | None = None,
        tables: Sequence[Table] = (SERIES,),
        **settings: object,
    ) -> RefreshResult:
        """Refresh from a release that has these Series."""
        self._releases += 1
        folder = write_release(self._folder / str(self._releases), listed, release, gone)
        with opened(folder, self.warehouse, **settings) as source:
            return self._refresh(source, number, tables)

    def _refresh(self, source: Source, number: int, tables: Sequence[Table]) -> RefreshResult:
        at, budget = day(number), ProbeBudget(0, 100)
        done = [
            refresh(t, SMALL if t.partitioned_by else "", source, self.warehouse, at, budget)
            for t in tables
        ]
        return done[-1]

    def rows(self, table: Table = SERIES) -> dict[str, _Row]:
        key = next(name for name in reversed(table.key) if name != table.partitioned_by)
        rows = self.warehouse.read(table, [SMALL]).to_pylist()
        return {row[key]: row for row in rows}

    def listed(self, *left_out: str, **changes: _Row) -> list[_Row]:
        """The first listing of NBIA as rows of the index."""
        return [
            of_idc(row, **changes.get(uid, {}))
            for uid, row in self.first.items()
            if uid not in left_out
        ]

    def changed(self, uid: str, **changes: Any) -> list[_Row]:
        return [row | (changes if row["SeriesInstanceUID"] == uid else {}) for row in self.listed()]

    def events(self) -> list[tuple[str, str]]:
        """UID and event of all that happened since the first listing."""
        return [(uid, event) for uid, _, event, _ in self.mirror.events() if event != "added"]

    def put_zips(self) -> None:
        """Record a complete zip of each Series, of no bytes."""
        rows = [
            {
                "SeriesInstanceUID": uid,
                "status": "complete",
                "path": f"archives/{uid}.zip",
                "archive_bytes": 0,
                "image_count": row["ImageCount"],
                "image_bytes": row["FileSize"],
                "fingerprint": row["fingerprint"],
                "source": row["source"],
                "fetched_at": day(1).replace(year=2027),
                "attempts": 0,
            }
            for uid, row in self.first.items()
        ]
        (self.warehouse.root / "archives").mkdir(parents=True, exist_ok=True)
        for uid in self.uids:
            (self.warehouse.root / "archives" / f"{uid}.zip").touch()
        table = pa.Table.from_pylist(rows, schema=_without(IMAGE_ARCHIVES, "Collection"))
        self.warehouse.write(
            IMAGE_ARCHIVES, conform(IMAGE_ARCHIVES, table, Collection=SMALL), SMALL
        )

    def to_fetch(self) -> dict[str, str]:
        """The Series that would be fetched, each with the reason."""
        selection = Selection(where="true")
        plan = plan_collection(SMALL, selection, self.warehouse)
        return {each.series_instance_uid: each.reason for each in plan.now}


def _without(table: Table, name: str) -> pa.Schema:
    return pa.schema([field for field in table.schema if field.name != name])


@pytest.fixture(scope="module")
def first_day(
    served: Sandbox, first_day_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data folder that was refreshed from NBIA on the first day."""
    served.reset()
    mirror = SandboxMirror(served, tmp_path_factory.mktemp("first_day"), first_day_root)
    mirror.start()
    with mirror.source:
        for table in (PATIENTS, STUDIES):
            refresh(table, SMALL, mirror.source, mirror.warehouse, day(1), ProbeBudget(0))
    mirror.warehouse.query("FROM series")  # it writes the files that all later ones need
    return mirror.warehouse.root


@pytest.fixture
def moving(first_day: Path, sandbox: Sandbox, tmp_path: Path) -> Iterator[Moving]:
    shutil.copytree(first_day, tmp_path / "data")
    mirror = SandboxMirror(sandbox, tmp_path / "data")
    with mirror.source:
        yield Moving(mirror, tmp_path / "releases")


def test_the_same_series_from_both_sources_have_no_event_and_are_not_fetched(
    moving: Moving,
) -> None:
    moving.put_zips()
    there = moving.from_idc(2, moving.listed())
    assert (there.facts["changed"], there.facts["missing"], there.facts["new"]) == (0, 0, 0)
    assert moving.to_fetch() == {}
    rows = moving.rows()
    assert {row["source"] for row in rows.values()} == {"idc-v25@s3.amazonaws.com"}
    assert {row["changed_at"] for row in rows.values()} == {day(1)}
    back = moving.from_nbia(3)
    assert (back.facts["changed"], back.facts["missing"]) == (0, 0)
    assert moving.events() == []
    assert moving.to_fetch() == {}
    fingerprints = {uid: row["fingerprint"] for uid, row in moving.rows().items()}
    assert fingerprints == {uid: row["fingerprint"] for uid, row in moving.first.items()}
    manifest = moving.rows(IMAGE_ARCHIVES)
    assert {uid: row["fingerprint"] for uid, row in manifest.items()} == fingerprints


def test_no_core_is_held_while_fingerprints_wait_for_a_lock(moving: Moving) -> None:
    moving.put_zips()
    release, mark = moving.listed(), mark_path(moving.warehouse.root, SERIES, SMALL)
    assert mark.exists()

    def hold_all_cores() -> None:
        with ExitStack() as cores:
            for _ in range(count_cores()):
                cores.enter_context(computing())

    with ThreadPoolExecutor(2) as pool:
        with moving.warehouse.lock(IMAGE_ARCHIVES, SMALL):
            refreshing = pool.submit(moving.from_idc, 2, release)
            while mark.exists():  # it goes before anything is written
                time.sleep(0.01)
            with pytest.raises(TimeoutError):
                refreshing.result(0.3)
            pool.submit(hold_all_cores).result(10)
        assert refreshing.result(30).facts["changed"] == 0


def test_what_only_one_source_tells_is_kept(moving: Moving) -> None:
    moving.from_idc(2, moving.listed())
    uid = moving.uids[0]
    before, there = moving.first[uid], moving.rows()[uid]
    for name in ("DateReleased", "Site", "ProtocolName", "SoftwareVersions"):
        assert there[name] == before[name], name
    assert before["DateReleased"] is not None
    assert there["BodyPartExamined"] == "CURATED"
    moving.from_nbia(3)
    back = moving.rows()[uid]
    assert back["BodyPartExamined"] == before["BodyPartExamined"]
    assert (back["crdc_series_uuid"], back["aws_bucket"]) == (f"first-{uid}", "idc-open-data")


def test_values_of_patients_and_studies_that_one_source_lacks_are_kept(moving: Moving) -> None:
    before = moving.rows(PATIENTS), moving.rows(STUDIES)
    moving.from_idc(2, moving.listed(), tables=ALL)
    patients, studies = moving.rows(PATIENTS), moving.rows(STUDIES)
    assert [row["SpeciesCode"] for row in patients.values()] == [
        row["SpeciesCode"] for row in before[0].values()
    ]
    assert [row["StudyID"] for row in studies.values()] == [
        row["StudyID"] for row in before[1].values()
    ]


def test_a_series_with_other_counts_is_changed_once_and_fetched(moving: Moving) -> None:
    moving.put_zips()
    uid = moving.uids[0]
    listed = moving.changed(uid, instanceCount=1)
    assert moving.from_idc(2, listed).facts["changed"] == 1
    moving.from_idc(3, listed)
    assert moving.events() == [(uid, "changed")]
    assert moving.to_fetch() == {uid: "changed"}
    # Nothing that another source has said of other objects is true of these.
    row = moving.rows()[uid]
    assert (row["DateReleased"], row["crdc_series_uuid"]) == (None, f"first-{uid}")


def test_another_version_id_is_a_change_although_counts_are_equal(moving: Moving) -> None:
    moving.put_zips()
    uid = moving.uids[0]
    moving.from_idc(2, moving.listed(), "24.0.1")
    revised = moving.changed(uid, crdc_series_uuid="second")
    assert moving.from_idc(3, revised).facts["changed"] == 1
    assert moving.events() == [(uid, "changed")]
    assert moving.to_fetch() == {uid: "changed"}


def test_a_revision_is_noticed_although_the_other_source_was_asked_meanwhile(
    moving: Moving,
) -> None:
    uid = moving.uids[0]
    moving.from_idc(2, moving.listed(), "24.0.1")
    moving.from_nbia(3)
    moving.from_idc(4, moving.changed(uid, crdc_series_uuid="second"))
    assert moving.events() == [(uid, "changed")]


def test_a_later_submission_is_a_change_after_a_switch(moving: Moving) -> None:
    [uid] = moving.mirror.uids(SMALL, 1)
    moving.from_idc(2, moving.listed())
    # The same count and size, submitted again.
    moving.mirror.archive.revise([uid])
    assert moving.from_nbia(3).facts["changed"] == 1
    assert moving.events() == [(uid, "changed")]
    # The other source has another version of it, or the same one: that is not known.
    assert moving.rows()[uid]["crdc_series_uuid"] is None


def test_series_that_only_one_source_has_stay_as_they_are(moving: Moving) -> None:
    only_nbia, only_idc = moving.uids[0], "1.2.3.4"
    extra = of_idc(moving.first[moving.uids[1]] | {"SeriesInstanceUID": only_idc})
    there = moving.from_idc(2, [*moving.listed(only_nbia), extra], tables=ALL)
    assert (there.facts["new"], there.facts["missing"], there.facts["elsewhere"]) == (1, 0, 1)
    assert moving.rows()[only_nbia] == moving.first[only_nbia]
    assert moving.first[only_nbia]["StudyInstanceUID"] in moving.rows(STUDIES)
    assert moving.first[only_nbia]["PatientID"] in moving.rows(PATIENTS)
    moving.from_nbia(3, ALL)
    row = moving.rows()[only_idc]
    assert (row["source"], row["missing_since"]) == ("idc-v25@s3.amazonaws.com", None)
    assert moving.events() == []


def test_patients_and_studies_that_only_one_source_has_stay_as_they_are(moving: Moving) -> None:
    before = moving.rows(PATIENTS), moving.rows(STUDIES)
    first = min(before[0])  # so that it is not below those that both have
    only_nbia = [uid for uid, row in moving.first.items() if row["PatientID"] == first]
    moving.from_idc(2, moving.listed(*only_nbia), tables=ALL)
    patients, studies = moving.rows(PATIENTS), moving.rows(STUDIES)
    assert (list(patients), list(studies)) == (sorted(before[0]), sorted(before[1]))
    assert patients[first] == before[0][first]


def test_a_series_that_is_missing_from_one_source_is_back_when_the_other_has_it(
    moving: Moving,
) -> None:
    [uid] = moving.mirror.uids(SMALL, 1)
    moving.mirror.archive.hide([uid])
    moving.from_nbia(2)
    moving.from_idc(3, moving.listed())
    assert moving.events() == [(uid, "missing"), (uid, "reappeared")]
    moving.from_nbia(4)
    # It was listed by the other one last, which still has it.
    assert moving.events() == [(uid, "missing"), (uid, "reappeared")]


def test_a_release_withdraws_what_earlier_ones_had_at_once(moving: Moving) -> None:
    gone, unexplained = moving.uids[:2]
    moving.from_idc(2, moving.listed(), "24.0.1")
    there = moving.from_idc(3, moving.listed(gone, unexplained), gone={gone: 24})
    assert (there.facts["withdrawn"], there.facts["missing"]) == (1, 1)
    row = moving.rows()[gone]
    assert (row["missing_since"], row["withdrawn_at"]) == (day(3), day(3))
    assert row["withdrawn_in_release"] == "25"
    assert moving.rows()[unexplained]["withdrawn_at"] is None
    assert sorted(moving.events()) == [(gone, "withdrawn"), (unexplained, "missing")]
    moving.from_idc(4, moving.listed())
    assert moving.rows()[gone]["withdrawn_in_release"] is None


def test_a_series_that_a_release_has_in_another_collection_has_moved_there(
    moving: Moving,
) -> None:
    uid = moving.uids[0]
    moving.from_idc(2, moving.listed(), "24.0.1")
    listed = moving.changed(uid, Collection="4D-Lung", collection_id="4d_lung")
    there = moving.from_idc(3, listed)
    assert (there.facts["moved"], there.facts["missing"], there.facts["withdrawn"]) == (1, 0, 0)
    assert moving.events() == [(uid, "moved")]
    assert moving.rows()[uid]["moved_to"] == "4D-Lung"


def test_however_many_series_a_release_withdraws_it_is_plausible(moving: Moving) -> None:
    moving.from_idc(2, moving.listed(), "24.0.1")
    gone = moving.uids[:6]
    there = moving.from_idc(3, moving.listed(*gone), gone=dict.fromkeys(gone, 24))
    assert (there.facts["plausible"], there.facts["withdrawn"]) == (True, 6)


def test_a_release_that_lacks_many_series_without_a_trace_only_adds(moving: Moving) -> None:
    moving.from_idc(2, moving.listed(), "24.0.1")
    there = moving.from_idc(3, moving.listed(*moving.uids[:6]))
    assert (there.facts["plausible"], there.facts["missing"]) == (False, 0)
    assert moving.events() == []


def test_a_new_release_is_no_event(moving: Moving) -> None:
    moving.from_idc(2, moving.listed(), "24.0.1")
    moved = [row | {"aws_bucket": "idc-open-data-two"} for row in moving.listed()]
    there = moving.from_idc(3, moved)
    assert there.facts["events"] == 0
    [row, *_] = moving.rows().values()
    assert (row["source"], row["aws_bucket"]) == ("idc-v25@s3.amazonaws.com", "idc-open-data-two")
    assert moving.warehouse.read(SNAPSHOTS, [SMALL])["release"].to_pylist() == [
        None, "24.0.1", "25.0.5",
    ]  # fmt: skip


def test_an_older_release_withdraws_nothing_that_a_newer_one_added(moving: Moving) -> None:
    added = moving.uids[0]
    moving.from_idc(2, moving.listed())
    there = moving.from_idc(3, moving.listed(added), "24.0.1")
    assert (there.facts["missing"], there.facts["elsewhere"]) == (0, 1)
    assert moving.rows()[added]["source"] == "idc-v25@s3.amazonaws.com"


def contradicted(warehouse: Warehouse) -> int:
    """Return of how many Studies SeriesCount is not the number of their listed Series."""
    [check] = [check for check in SERIES.checks if check.name == "series_count_agrees"]
    return warehouse.query(check.sql).num_rows


def test_series_that_only_a_newer_release_has_are_not_counted_in_studies_of_an_older_one(
    moving: Moving,
) -> None:
    added, other = moving.uids[:2]
    for number, (release, left_out) in enumerate({"25.0.5": (), "24.0.1": (added,)}.items(), 2):
        moving.from_idc(number, moving.listed(*left_out), release, tables=(STUDIES, SERIES))
        assert contradicted(moving.warehouse) == 0
    # A Series that the older release has, and lists no more, is still found.
    moving.from_idc(4, moving.listed(added, other), "24.0.1", tables=(STUDIES,))
    assert contradicted(moving.warehouse) == 1


def test_a_narrower_scope_is_no_absence(moving: Moving) -> None:
    derived = of_idc(
        moving.first[moving.uids[0]] | {"SeriesInstanceUID": "1.2.3.4"},
        source_DOI="10.5281/zenodo.1",
        analysis_result_id="TotalSegmentator-CT-Segmentations",
    )
    moving.from_idc(2, [*moving.listed(), derived], idc_scope="all")
    assert moving.rows()["1.2.3.4"]["ThirdPartyAnalysis"] == "YES"
    there = moving.from_idc(3, [*moving.listed(), derived])
    assert (there.facts["missing"], there.facts["elsewhere"]) == (0, 1)
    # The scope is part of what was compared: with another one there is something to compare.
    assert moving.warehouse.read(SNAPSHOTS, [SMALL])["release"].to_pylist()[1:] == [
        "25.0.5+all", "25.0.5",
    ]  # fmt: skip


def test_series_of_a_wider_scope_are_not_counted_in_studies_of_a_narrower_one(
    sandbox: Sandbox, tmp_path: Path, idc_index: Path
) -> None:
    warehouse = Warehouse(tmp_path)
    for number, scope in enumerate(("all", "tcia"), start=1):
        with open_source(idc_settings_for(sandbox, tmp_path, idc_index, idc_scope=scope)) as idc:
            for table in (STUDIES, SERIES):
                done = refresh(table, SMALL, idc, warehouse, day(number), ProbeBudget(0))
        assert contradicted(warehouse) == 0
    assert done.facts["elsewhere"] == 5
    # A count that is wrong is still found.
    with warehouse.update(STUDIES, SMALL) as partition:
        wrong = pa.repeat(pa.scalar(9, pa.int64()), partition.rows.num_rows)
        place = partition.rows.schema.get_field_index("SeriesCount")
        partition.rows = partition.rows.set_column(place, "SeriesCount", wrong)
    assert contradicted(warehouse) == partition.written.rows


def test_a_column_that_the_new_source_promises_and_lacks_is_no_reason_to_refuse(
    moving: Moving,
) -> None:
    bare = [row | {"SeriesDescription": None, "BodyPartExamined": None} for row in moving.listed()]
    moving.from_idc(2, bare)
    moving.from_idc(3, bare)
    assert {row["SeriesDescription"] for row in moving.rows().values()} == {None}
    assert moving.events() == []


def test_sizes_that_are_known_are_not_requested_again(moving: Moving) -> None:
    refresh(SERIES_SIZES, SMALL, moving.mirror.source, moving.warehouse, day(1), ProbeBudget(100))
    moving.from_idc(2, moving.listed())
    moving.from_nbia(3)
    done = refresh(
        SERIES_SIZES, SMALL, moving.mirror.source, moving.warehouse, day(3), ProbeBudget(100)
    )
    assert (done.facts["asked"], done.facts["remaining"]) == (0, 0)


def test_the_history_before_a_switch_shows_the_same_series(moving: Moving) -> None:
    [uid] = moving.mirror.uids(SMALL, 1)
    moving.mirror.archive.revise([uid], image_count=7)
    moving.from_nbia(2)
    known = {number: moving.mirror.known_at(day(number)) for number in (1, 2)}
    listed = [row | ({"instanceCount": 7} if row["SeriesInstanceUID"] == uid else {})
              for row in moving.listed()]  # fmt: skip
    listed = [
        row | {"series_size_MB": moving.rows()[row["SeriesInstanceUID"]]["FileSize"] / 1e6}
        for row in listed
    ]
    moving.from_idc(3, listed)
    assert moving.events() == [(uid, "changed")]
    for number, rows in known.items():
        # Values that the two write differently are shown as the newest one writes them.
        for now, then in zip(moving.mirror.known_at(day(number)), rows, strict=True):
            for name in ("SeriesInstanceUID", "ImageCount", "DateReleased", "missing_since"):
                assert now[name] == then[name]


@pytest.mark.parametrize("table", [IMAGE_ARCHIVES, SERIES, SNAPSHOTS], ids=lambda t: t.name)
def test_a_kill_during_a_switch_is_completed_by_the_next_refresh(
    moving: Moving, monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    moving.put_zips()
    with killed_before_writing(table, monkeypatch):
        moving.from_idc(2, moving.listed())
    assert moving.to_fetch() == {}
    moving.from_idc(3, moving.listed())
    assert moving.events() == []
    assert moving.to_fetch() == {}
    fingerprints = Counter(
        each["fingerprint"]
        for table in (SERIES, IMAGE_ARCHIVES)
        for each in moving.rows(table).values()
    )
    assert set(fingerprints.values()) == {2}
    assert {row["crdc_series_uuid"] for row in moving.rows(IMAGE_ARCHIVES).values()} == {
        f"first-{uid}" for uid in moving.uids
    }


def test_no_check_of_the_tables_complains_of_a_switch(moving: Moving) -> None:
    only_nbia = moving.uids[0]
    refresh(COLLECTIONS, "", moving.mirror.source, moving.warehouse, day(1), ProbeBudget(0))
    moving.from_idc(2, moving.listed(only_nbia), tables=(COLLECTIONS, *ALL))
    for table in (COLLECTIONS, PATIENTS, STUDIES, SERIES):
        for check in checks_of(table):
            assert moving.warehouse.query(check.sql).num_rows == 0, (table.name, check.name)
