"""Fields of replies against their declaration: over the sandbox, with its faults in rows."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tcia_assets.catalog import MODALITY_VALUES, SERIES, STUDIES
from tcia_assets.doctor.field_check import judge_fields
from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN, StepResult
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import SampleReply, Source, SourceRows
from tcia_assets.spec import Table
from tcia_assets_tests.conftest import SMALL


def judged(source: Source, table: Table) -> StepResult:
    return judge_fields(table, [source.sample(table, Collection=SMALL)])


def test_what_is_declared_is_ok_and_sparse_fields_are_named(source: Source) -> None:
    check = judged(source, SERIES)
    assert (check.name, check.outcome) == ("series", OK)
    assert check.seen.startswith("10 rows, 25 of 30 fields, dates as MM-DD-YYYY; without a value:")


@pytest.mark.parametrize(
    ("fault", "seen", "advice"),
    [
        (
            Fault("renamed_column", column="ImageCount", value="Images"),
            "unknown fields: Images; in no row: ImageCount",
            "do not accept it",
        ),
        (
            Fault("renamed_column", column="FileSize", value="Size"),
            "unknown fields: Size; in no row: ",
            "a newer version",
        ),
        (
            Fault("bad_value", column="ImageCount", value="twelve", rows=2),
            "ImageCount: 2 of 10 values cannot be read, such as 'twelve'",
            "the rest is null",
        ),
        (
            Fault("bad_value", column="SeriesDate", value="2011-07-22"),
            "dates in a form that the dialect does not have: SeriesDate as YYYY-MM-DD",
            "what can be read is stored",
        ),
        (
            Fault("bad_value", column="SeriesDate", value="22/07/2011"),
            "values cannot be read, such as '22/07/2011' (",
            "the rest is null",
        ),
    ],
    ids=["vital", "other", "value", "known form", "unknown form"],
)
def test_what_is_not_as_declared_differs(
    fault: Fault, seen: str, advice: str, source: Source, sandbox: Sandbox
) -> None:
    sandbox.faults.add(fault)
    check = judged(source, SERIES)
    assert (check.outcome, seen in check.seen, advice in check.advice) == (DIFFERS, True, True)


def test_a_key_or_a_link_to_a_parent_that_is_in_no_row_differs(source: Source) -> None:
    rows = source.rows(STUDIES, SMALL)
    for name in ("StudyInstanceUID", "PatientID"):
        less = SourceRows(rows.table.drop_columns([name]), promised=rows.promised)
        check = judge_fields(STUDIES, [SampleReply(less)])
        assert (check.outcome, f"in no row: {name}" in check.seen) == (DIFFERS, True)


def test_of_no_rows_nothing_is_known() -> None:
    nothing = SourceRows(pa.table({"Modality": pa.array([], pa.string())}), promised=("Modality",))
    assert judge_fields(MODALITY_VALUES, [SampleReply(nothing)]).outcome == UNKNOWN
    assert judge_fields(MODALITY_VALUES, []).outcome == UNKNOWN


def test_a_row_without_any_value_shows_nothing() -> None:
    nothing = SourceRows(pa.table({"Modality": [None]}), promised=("Modality",))
    assert judge_fields(MODALITY_VALUES, [SampleReply(nothing)]).outcome == UNKNOWN
    other = SourceRows(nothing.table, ("Kind",), promised=("Modality",))
    assert judge_fields(MODALITY_VALUES, [SampleReply(other)]).outcome == DIFFERS
