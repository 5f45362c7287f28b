"""What people read after a run in this process: failures, failed checks, implausible listings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs import checks, mirror
from tcia_assets.defs.events import failure_reasons
from tcia_assets.errors import escape_unprintable

# A mirror need not be refreshed daily, and `status` shows when each Collection was. What cannot be
# read has a line of its own, about the Collections that were refreshed.
_NOT_SHOWN = {mirror.REFRESHED_LATELY, checks.VALUES_READABLE}
_LISTINGS = "lists_plausible"
_LONGEST_EXAMPLE = 160


@dataclass
class RunReport:
    """The result of runs, in lines for people.

    Attributes:
        failures: What failed, and what means that data may be wrong.
        notes: What is unusual but may be right.
        succeeded: Whether the runs did all that they should; failed checks may still be failures.
    """

    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    succeeded: bool = True

    def __iadd__(self, other: RunReport) -> Self:
        """Add the lines of another report that are not in this one."""
        self.failures += [line for line in other.failures if line not in self.failures]
        self.notes += [line for line in other.notes if line not in self.notes]
        self.succeeded = self.succeeded and other.succeeded
        return self


def run_report(result: dg.ExecuteInProcessResult) -> RunReport:
    """Return why a run failed; an empty report if it did not."""
    if result.success:
        return RunReport()
    reasons = list(failure_reasons(result.get_step_failure_events()))
    return RunReport(reasons or [f"run {result.run_id} failed"])


def refresh_report(result: dg.ExecuteInProcessResult) -> RunReport:
    """Return the failures of a refresh, its implausible listings, and the checks that failed."""
    implausible = dict(_implausible_listings(result))
    report = run_report(result)
    report.failures += [
        f"series of {key!r}: implausible listing: {reason}; the Series that it lacks stay as they "
        "are"
        for key, reason in implausible.items()
    ]
    failed = (each for each in result.get_asset_check_evaluations() if not each.passed)
    for line, is_error in _check_lines(failed, implausible).items():
        (report.failures if is_error else report.notes).append(line)
    return report


def _implausible_listings(result: dg.ExecuteInProcessResult) -> Iterator[tuple[str, str]]:
    """Yield Collection and reason of each listing of the run that is implausible."""
    materializations = (e for e in result.all_events if e.is_step_materialization)
    for event in materializations:
        metadata = event.step_materialization_data.materialization.metadata
        if mirror.IMPLAUSIBLE in metadata:
            listings: Any = metadata[mirror.IMPLAUSIBLE].value
            yield from listings.items()


def _check_lines(
    failed: Iterable[dg.AssetCheckEvaluation], reported: Mapping[str, str]
) -> dict[str, bool]:
    """Return a line for each failed check, and whether it is an error.

    One problem often fails the same check of several tables: they share a line.
    """
    tables: dict[tuple[str, str, bool], list[str]] = {}
    for each in failed:
        if each.check_name in _NOT_SHOWN or _is_reported(each, reported):
            continue
        is_error = each.severity == dg.AssetCheckSeverity.ERROR
        text = each.description or f"{_declared(each)} {_contradiction(each)}"
        tables.setdefault((each.check_name, text, is_error), []).append(each.asset_key.path[-1])
    return {
        f"check {name} of {', '.join(names)}: {text}": is_error
        for (name, text, is_error), names in tables.items()
    }


def _is_reported(failed: dg.AssetCheckEvaluation, reported: Mapping[str, str]) -> bool:
    """Return whether a check fails only for listings that have a line of their own."""
    is_of_listings = failed.check_name in {_LISTINGS, checks.ROWS_KEPT}
    if not is_of_listings or failed.asset_key.path[-1] != catalog.SERIES.name:
        return False
    rows = _metadata(failed, "examples")
    return bool(rows) and {row["Collection"] for row in rows} <= reported.keys()


def _declared(failed: dg.AssetCheckEvaluation) -> str:
    table = catalog.table(failed.asset_key.path[-1])
    return checks.descriptions(table)[failed.check_name]


def _contradiction(failed: dg.AssetCheckEvaluation) -> str:
    """Return how many rows or partitions contradict a check, with an example."""
    if collapsed := _metadata(failed, "collapsed"):
        count, noun = len(collapsed), "partition"
        key, rows = next(iter(collapsed.items()))
        example = f"{key}: {rows['before']} rows before, {rows['now']} now"
    else:
        count, noun = int(_metadata(failed, "contradicting_rows") or 0), "row"
        rows = _metadata(failed, "examples") or [{}]
        example = ", ".join(f"{name}={value}" for name, value in rows[0].items())
    if len(example) > _LONGEST_EXAMPLE:
        example = f"{example[:_LONGEST_EXAMPLE]}..."
    verb = f"{noun} contradicts" if count == 1 else f"{noun}s contradict"
    return f"{count} {verb} it, such as {escape_unprintable(example)}"


def _metadata(failed: dg.AssetCheckEvaluation, name: str) -> Any:
    return failed.metadata[name].value if name in failed.metadata else None
