"""Compare the fields, values and dates of replies with what the source declares for a table."""

from __future__ import annotations

from collections.abc import Sequence

from tcia_assets.doctor.step_result import StepResult, differs, join_names, ok, unknown
from tcia_assets.doctor.steps import REPORT
from tcia_assets.errors import shorten
from tcia_assets.sources import SampleReply, SourceRows
from tcia_assets.spec import Table
from tcia_assets.units import counted

# Without it nothing proves that a zip is whole.
_RELIED_ON = "ImageCount"
_LONGEST_NAME = 60
_WORDS = {
    "%Y": "YYYY",
    "%m": "MM",
    "%d": "DD",
    "%H": "hh",
    "%M": "mm",
    "%S": "ss",
    "%f": "f",
    "%a": "Mon",
    "%b": "Jan",
}


def judge_fields(table: Table, samples: Sequence[SampleReply]) -> StepResult:
    """Return the check of replies, named after the table; unknown if they have no rows."""
    seen = _Seen(table, samples)
    if not seen.count:
        return unknown(table.name, "no rows")
    if not (seen.present or seen.unclaimed):
        # A list of values has such a row for Series without one.
        return unknown(table.name, f"{counted(seen.count, 'row')} without any value")
    summary = f"{counted(seen.count, 'row')}, {seen.present} of {len(seen.promised)} fields"
    if problems := seen.problems():
        return differs(table.name, f"{'; '.join(problems)} ({summary})", seen.advice())
    if seen.forms:
        written = sorted({spell_form(form) for found in seen.forms.values() for form in found})
        summary += f", dates as {', '.join(written)}"
    if seen.missing:
        # A field without a value is not sent, so in a few rows this is usual.
        summary += f"; without a value: {join_names(seen.missing)}"
    return ok(table.name, summary)


def filled_columns(reply: SourceRows) -> set[str]:
    """Return the columns of which some row has a value, readable or not."""
    rows = reply.table
    filled = {name for name in rows.column_names if rows[name].null_count < rows.num_rows}
    return filled | reply.unreadable.keys()


def spell_form(form: str) -> str:
    """Return a `strptime` form as people write it.

    >>> spell_form("%m-%d-%Y"), spell_form("")
    ('MM-DD-YYYY', 'an unknown form')
    """
    for code, word in _WORDS.items():
        form = form.replace(code, word)
    return form or "an unknown form"


class _Seen:
    """What some replies have in common: what is in any of them counts."""

    def __init__(self, table: Table, samples: Sequence[SampleReply]) -> None:
        replies = [each.rows for each in samples]
        filled = {name for each in replies for name in filled_columns(each)}
        self._replies = replies
        self.count = sum(each.table.num_rows for each in replies)
        self.promised = [*dict.fromkeys(name for each in replies for name in each.promised)]
        self.missing = [name for name in self.promised if name not in filled]
        self.present = len(self.promised) - len(self.missing)
        self.vital = [name for name in self.missing if name in _vital_columns(table)]
        self.unclaimed = [*dict.fromkeys(name for each in replies for name in each.unclaimed)]
        self.declared = {n: form for each in samples for n, form in each.declared_forms.items()}
        self.forms: dict[str, set[str]] = {}
        for name, forms in (item for each in samples for item in each.date_forms.items()):
            self.forms.setdefault(name, set()).update(forms)

    def problems(self) -> list[str]:
        found = self._unreadable()
        if self.unclaimed:
            names = [shorten(name, _LONGEST_NAME) for name in self.unclaimed]
            found.append(f"unknown fields: {join_names(names)}")
        if self.vital or (self.unclaimed and self.missing):
            found.append(f"in no row: {join_names(self.vital or self.missing)}")
        if others := self._other_forms():
            found.append(f"dates in a form that the dialect does not have: {join_names(others)}")
        return found

    def advice(self) -> str:
        if self.vital:
            return f"a refresh would refuse or lose these values, so do not accept it; {REPORT}"
        if self.unclaimed:
            return f"what has no column is not stored; a newer version may have one; {REPORT}"
        return f"what can be read is stored, and the rest is null; {REPORT}"

    def _unreadable(self) -> list[str]:
        return [
            f"{name}: {len(found.texts)} of {found.values} values cannot be read, such as "
            f"{shorten(found.texts[0].as_py(), _LONGEST_NAME)!r}"
            for each in self._replies
            for name, found in each.unreadable.items()
        ]

    def _other_forms(self) -> list[str]:
        return [
            f"{name} as {spell_form(form)}"
            for name, forms in self.forms.items()
            if name in self.declared
            # A value in an unknown form is unreadable, which is reported already.
            for form in sorted(forms - {self.declared[name], ""})
        ]


def _vital_columns(table: Table) -> set[str]:
    """Return the columns without which the rows of a table are of no use."""
    required = {column.name for column in table.columns if column.required}
    parents = {name for parent in table.parents for name in parent.on}
    return {*table.key, *required, *parents, _RELIED_ON}
