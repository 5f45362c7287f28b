"""Rows in which a column lost all its values are refused, unless accepted or the rows are gone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tcia_assets.catalog import PATIENTS, SERIES, SERIES_SIZES, SHARED_LISTS, STUDIES
from tcia_assets.errors import MissingColumn
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.schema_change import accept_hint, check_columns
from tcia_assets.metadata.unreadable import MAX_VALUES
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sources import SourceRows, UnreadableValues
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day


def patients(**columns: list[str | None]) -> pa.Table:
    rows = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    return conform(PATIENTS, rows, Collection="A")


def check(stored: pa.Table, rows: pa.Table, *unclaimed: str) -> None:
    promised = ("PatientID", "PatientSex", "EthnicGroup")
    check_columns(
        PATIENTS, "A", stored.select, rows, SourceRows(rows, unclaimed, promised=promised)
    )


@pytest.mark.parametrize("unclaimed", [(), ("Gender", "Sex")])
def test_a_column_without_the_values_of_rows_that_are_still_there_is_an_error(
    unclaimed: tuple[str, ...],
) -> None:
    stored = patients(PatientID=["p1", "p2", "p3"], PatientSex=["F", None, "M"])
    with pytest.raises(MissingColumn) as caught:
        check(stored, patients(PatientID=["p1", "p2", "p4"]), *unclaimed)
    text = str(caught.value)
    assert (caught.value.table, caught.value.column) == ("patients", "PatientSex")
    assert "1 of 2 stored rows that are still there have one" in text
    assert "refresh --accept-schema A`" in text and "`accept_schema: [A]`" in text
    assert ("was it renamed to one of Gender, Sex?" in text) == bool(unclaimed)


def test_all_columns_that_are_lost_are_named() -> None:
    stored = patients(PatientID=["p1"], PatientSex=["F"], EthnicGroup=["x"])
    with pytest.raises(MissingColumn, match=r"PatientSex: .*none in EthnicGroup"):
        check(stored, patients(PatientID=["p1"]))


def test_a_column_of_nothing_but_empty_texts_has_lost_its_values() -> None:
    stored = patients(PatientID=["p1", "p2"], PatientSex=["F", "M"])
    with pytest.raises(MissingColumn, match="2 of 2 stored rows"):
        check(stored, patients(PatientID=["p1", "p2"], PatientSex=["", None]))
    check(patients(PatientID=["p1"], PatientSex=[""]), patients(PatientID=["p1"]))


def check_unreadable(count: int, stored_value: str | None) -> None:
    ids = [f"p{n}" for n in range(count)]
    stored = patients(PatientID=ids, PatientSex=[stored_value] * count)
    rows, texts = patients(PatientID=ids), pa.chunked_array([["N/A"] * count])
    odd = {"PatientSex": UnreadableValues(rows, texts, count)}
    reply = SourceRows(rows, promised=("PatientID", "PatientSex"), unreadable=odd)
    check_columns(PATIENTS, "A", stored.select, rows, reply)


@pytest.mark.parametrize("count", [2, 5])
def test_a_column_of_which_nothing_can_be_read_has_lost_its_values(count: int) -> None:
    with pytest.raises(MissingColumn, match=f"none of {count} values can be read, such as 'N/A'"):
        check_unreadable(count, "F")


@pytest.mark.parametrize(("count", "before"), [(1, "F"), (2, None)], ids=["one", "none before"])
def test_one_odd_value_and_values_that_never_were_readable_do_not_block(
    count: int, before: str | None
) -> None:
    check_unreadable(count, before)


@pytest.mark.parametrize(
    ("stored", "rows"),
    [
        (patients(PatientID=["p1", "p2"], PatientSex=["F", None]), patients(PatientID=["p2"])),
        (
            patients(PatientID=["p1", "p2"], PatientSex=["F", "F"]),
            patients(PatientID=["p1", "p2"], PatientSex=[None, "F"]),
        ),
        (patients(PatientID=["p1"]), patients(PatientID=["p1"])),
        (patients(PatientID=[]), patients(PatientID=["p1"])),
        (patients(PatientID=["p1"], PatientSex=["F"]), patients(PatientID=[])),
        # This dialect has no such column.
        (patients(PatientID=["p1"], Phantom=["YES"]), patients(PatientID=["p1"])),
    ],
    ids=["rows gone", "another value", "none before", "first", "no rows", "not promised"],
)
def test_values_that_are_not_lost_do_not_block(stored: pa.Table, rows: pa.Table) -> None:
    check(stored, rows, "NewThing")


def test_unclaimed_names_are_shown_in_part() -> None:
    stored = patients(PatientID=["p1"], PatientSex=["F"])
    with pytest.raises(MissingColumn, match=r"or 988 more\?") as caught:
        check(stored, patients(PatientID=["p1"]), *("x" * 5000 for _ in range(1000)))
    assert len(str(caught.value)) < 2000


def test_the_hint_can_be_pasted_into_a_shell() -> None:
    assert "refresh --accept-schema 'RIDER Lung CT'`" in accept_hint(SERIES, "RIDER Lung CT")
    assert "refresh --shared-list x --accept-schema x`" in accept_hint(SHARED_LISTS, "x")


@pytest.mark.parametrize(
    ("table", "column", "endpoint"),
    [
        (STUDIES, "PatientID", "getPatientStudy"),
        (PATIENTS, "PatientSex", "getPatient"),
        (SERIES, "SeriesDescription", "getSeries"),
    ],
    ids=lambda value: value.name if isinstance(value, Table) else "",
)
def test_a_renamed_column_of_any_table_keeps_what_was_stored_until_it_is_accepted(
    table: Table, column: str, endpoint: str, mirror: SandboxMirror
) -> None:
    def run(*, accept: bool = False) -> None:
        refresh(
            table,
            SMALL,
            mirror.source,
            mirror.warehouse,
            day(1),
            ProbeBudget(0),
            accept_schema=accept,
        )

    run()
    path = mirror.warehouse.path(table, SMALL)
    before = path.read_bytes()
    mirror.sandbox.faults.add(
        Fault("renamed_column", endpoint, times=0, column=column, value="Strange")
    )
    with pytest.raises(MissingColumn, match=rf"{table.name}\.{column}: .* Strange\?"):
        run()
    assert path.read_bytes() == before
    run(accept=True)
    assert set(mirror.warehouse.read(table, [SMALL])[column].to_pylist()) == {None}
    run()


def test_a_small_collection_keeps_its_dates_when_none_can_be_read(mirror: SandboxMirror) -> None:
    def run(*, accept: bool = False) -> None:
        source, warehouse = mirror.source, mirror.warehouse
        refresh(STUDIES, SMALL, source, warehouse, day(1), ProbeBudget(0), accept_schema=accept)

    run()
    before = mirror.warehouse.read(STUDIES, [SMALL])["StudyDate"].to_pylist()
    assert 1 < len(before) <= MAX_VALUES
    fault = Fault("bad_value", "getPatientStudy", times=0, column="StudyDate", value="N/A", rows=9)
    mirror.sandbox.faults.add(fault)
    with pytest.raises(MissingColumn, match=r"studies\.StudyDate: none of .* such as 'N/A'"):
        run()
    assert mirror.warehouse.read(STUDIES, [SMALL])["StudyDate"].to_pylist() == before
    run(accept=True)
    run()
    assert set(mirror.warehouse.read(STUDIES, [SMALL])["StudyDate"].to_pylist()) == {None}


def test_a_sparse_column_whose_only_series_is_gone_does_not_block_a_new_field(
    mirror: SandboxMirror,
) -> None:
    [only, *_] = mirror.uids(SMALL, 1)
    mirror.start()
    with mirror.warehouse.update(SERIES, SMALL) as partition:
        rows = partition.rows
        sites = ["Emory" if uid == only else None for uid in rows["SeriesInstanceUID"].to_pylist()]
        at = rows.schema.get_field_index("Site")
        partition.rows = rows.set_column(at, rows.schema.field(at), pa.array(sites, pa.string()))
    mirror.archive.hide([only])
    mirror.sandbox.faults.add(
        Fault("renamed_column", "getSeries", times=0, column="Site", value="NewThing")
    )
    [done] = mirror.refresh(day(2), SMALL)
    assert done.facts["missing"] == 1


def test_a_size_that_the_source_does_not_have_is_not_a_lost_column(mirror: SandboxMirror) -> None:
    mirror.start()
    budget = ProbeBudget(100)
    refresh(SERIES_SIZES, SMALL, mirror.source, mirror.warehouse, day(1), budget)
    [changed] = mirror.archive.revise(collection=SMALL, count=1)
    mirror.refresh(day(2), SMALL)
    mirror.sandbox.faults.add(
        Fault("bad_value", "getSeriesSize", times=1, column="TotalSizeInBytes", value="")
    )
    with pytest.raises(MissingColumn, match=r"series_sizes\.TotalSizeInBytes"):
        refresh(SERIES_SIZES, SMALL, mirror.source, mirror.warehouse, day(2), budget)
    mirror.sandbox.faults.add(Fault("empty", "getSeriesSize", times=0))
    done = refresh(SERIES_SIZES, SMALL, mirror.source, mirror.warehouse, day(2), budget)
    assert (done.facts["asked"], done.facts["unknown"]) == (1, 1)
    assert changed in mirror.warehouse.read(SERIES_SIZES, [SMALL])["SeriesInstanceUID"].to_pylist()
