"""What the source replies: the fields of each endpoint, sizes, changes, and filters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from tcia_assets.catalog import (
    COLLECTION_DESCRIPTIONS,
    COLLECTIONS,
    PATIENTS,
    SERIES,
    SERIES_SIZES,
    SHARED_LISTS,
    STUDIES,
    VALUE_TABLES,
)
from tcia_assets.doctor.field_check import filled_columns, judge_fields
from tcia_assets.doctor.step_result import OK, StepResult, differs, join_names, ok, unknown
from tcia_assets.doctor.steps import REPORT, NotChecked, Step
from tcia_assets.doctor.subject import Subject
from tcia_assets.errors import (
    ForeignRows,
    RemoteError,
    TooLarge,
    UnknownName,
    UnknownReply,
    UsageError,
)
from tcia_assets.sources import SampleReply
from tcia_assets.spec import Table

_NO_SUCH = "no Collection has this name"
_MAY_BE_EMPTY = (*VALUE_TABLES, COLLECTION_DESCRIPTIONS)
_FILTERED = (*VALUE_TABLES, PATIENTS, STUDIES, SERIES)
_HONOURED, _IGNORED, _UNTOLD = "honoured by", "ignored by", "no answer from"
_RECENT = timedelta(days=2)


def reply_steps(subject: Subject, shared_lists: Sequence[str]) -> list[Step]:
    """Return the steps about replies, in the order in which they are to be taken.

    Args:
        subject: What they are about.
        shared_lists: Names of shared lists that the mirror has.
    """
    index = [Step("index", lambda: _index(subject))]
    return [
        *(index if subject.source.settings.source == "idc" else []),
        Step(COLLECTIONS.name, lambda: _collections(subject)),
        *(
            Step(table.name, partial(_fields, table, subject))
            for table in (*_FILTERED, COLLECTION_DESCRIPTIONS)
        ),
        Step(SERIES_SIZES.name, lambda: _sizes(subject)),
        Step(SHARED_LISTS.name, lambda: _shared_list(subject, shared_lists)),
        Step("changes", lambda: _changes(subject)),
        Step("filters", lambda: _filters(subject)),
        Step("strictness", lambda: _strictness(subject)),
    ]


def _index(subject: Subject) -> StepResult:
    """Look for the newest index release, and open the one that is to be had."""
    newest = subject.source.release
    used = subject.source.name.partition("@")[0]
    place = subject.source.settings.idc_index or "where TCIA_IDC_INDEX is not set"
    return ok("index", f"release {newest} at {place}; rows are from {used}")


def _collections(subject: Subject) -> StepResult:
    name = COLLECTIONS.name
    found = judge_fields(COLLECTIONS, [subject.listed.get()])
    if not subject.collection_names():
        return differs(
            name, f"no names: {found.seen}", found.advice or f"check TCIA_BASE_URL; {REPORT}"
        )
    absent = [each for each in subject.preferred if each not in subject.collection_names()]
    if found.outcome == OK and absent:
        advice = "if their names are right, the source has moved or withdrawn them"
        problem = f"{found.seen}; not listed any more, or not yet: {join_names(absent)}"
        return differs(name, problem, advice)
    return found


def _fields(table: Table, subject: Subject) -> StepResult:
    try:
        return judge_fields(table, subject.samples(table).get())
    except UnknownName:
        return ok(table.name, "not offered by this dialect")
    except UnknownReply:
        if table not in _MAY_BE_EMPTY:
            raise
        seen = "no rows: it has no such value, or the server failed"
        return unknown(table.name, f"{subject.collection.need()}: {seen}")


def _sizes(subject: Subject) -> StepResult:
    sizes = subject.sizes.get()
    found = judge_fields(SERIES_SIZES, [SampleReply(sizes)])
    if found.outcome != OK:
        return found
    listed = {row["SeriesInstanceUID"]: row for row in subject.series_rows()}
    for row in sizes.table.to_pylist():
        series = listed[row["SeriesInstanceUID"]]
        for size, in_list in (("TotalSizeInBytes", "FileSize"), ("ObjectCount", "ImageCount")):
            both = row.get(size), series.get(in_list)
            if None not in both and both[0] != both[1]:
                problem = f"{size} is {both[0]}, but {in_list} {both[1]}, of Series "
                return differs(
                    SERIES_SIZES.name,
                    problem + row["SeriesInstanceUID"],
                    "a zip of such a Series is refused until both agree; tell the help desk",
                )
    return found


def _shared_list(subject: Subject, names: Sequence[str]) -> StepResult:
    if not names:
        advice = "`tcia-assets refresh --shared-list NAME` stores one that you know"
        return unknown(SHARED_LISTS.name, "not checked: no shared list is stored", advice)
    try:
        return judge_fields(SHARED_LISTS, [subject.sample(SHARED_LISTS, list_name=names[0])])
    except UsageError as error:  # this source has none
        return ok(SHARED_LISTS.name, f"not offered: {error}")


def _changes(subject: Subject) -> StepResult:
    """Request what was released after tomorrow, which is nothing, and in the last days."""
    subject.connection.need()
    today = datetime.now(UTC).date()
    future = subject.source.changed_since(today + timedelta(days=2))
    if future is None and subject.source.release:
        return ok("changes", "found by comparing the version of the index release")
    if future is None:
        return ok("changes", "not offered: new Series are found by comparing Collections")
    if future.table.num_rows:
        problem = f"{future.table.num_rows} Series since a day that is still to come"
        return differs("changes", problem, f"the sensor cannot trust it; {REPORT}")
    try:
        recent = subject.source.changed_since(today - _RECENT)
    except TooLarge:  # a large release, which is for a refresh to read
        return ok("changes", "none since a day that is still to come; many in the last two days")
    if recent is None or not recent.table.num_rows:
        seen = "none since a day that is still to come, and none in the last two days"
        return ok("changes", seen)
    found = judge_fields(SERIES, [SampleReply(recent)])
    return StepResult("changes", found.outcome, f"in the last two days: {found.seen}", found.advice)


def _filters(subject: Subject) -> StepResult:
    """Request the rows of a Collection that does not exist, of each table."""
    found: dict[str, list[str]] = {}
    for table in _FILTERED:
        found.setdefault(_filter(table, subject), []).append(table.name)
    seen = "; ".join(f"{what} {join_names(names)}" for what, names in sorted(found.items()))
    if _IGNORED in found:
        advice = f"a refresh refuses rows that were not asked for; {REPORT}"
        return differs("filters", seen, advice)
    return ok("filters", seen) if found.keys() == {_HONOURED} else unknown("filters", seen)


def _filter(table: Table, subject: Subject) -> str:
    """Return whether an endpoint honours its filter: it has rows, and none for an unknown value."""
    try:
        if not any(filled_columns(each.rows) for each in subject.samples(table).need()):
            return _UNTOLD
        rows = subject.source.sample(table, Collection=_NO_SUCH).rows
    except UnknownReply:
        return _HONOURED
    except (ForeignRows, TooLarge):
        return _IGNORED
    except (RemoteError, NotChecked):
        return _UNTOLD
    return _IGNORED if filled_columns(rows) else _HONOURED


def _strictness(subject: Subject) -> StepResult:
    subject.listed.need()
    found = subject.source.strictness()
    seen = "refused" if found.refuses else "ignored"
    seen = f"an unknown parameter is {seen}"
    if found.refuses == found.declared:
        return ok("strictness", f"{seen}, as this dialect does")
    return differs(
        "strictness", f"{seen}, which this dialect does not do", "check TCIA_DIALECT; " + REPORT
    )
