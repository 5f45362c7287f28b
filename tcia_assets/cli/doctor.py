"""`tcia-assets doctor`."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Group, RenderableType
from rich.table import Column

from tcia_assets.cli.options import format_option
from tcia_assets.cli.terminal import FAILED, make_grid, out, printable, progress_bar
from tcia_assets.doctor.examine import SECONDS, Report, examine
from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN, StepResult
from tcia_assets.settings import Settings

_STYLES = {OK: "green", DIFFERS: "bold red", UNKNOWN: "yellow"}


@click.command()
@format_option("table", "json")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=SECONDS,
    show_default=True,
    help="What was not checked by then is unknown.",
)
def doctor(form: str, seconds: float) -> None:
    """Compare the source, the data folder and the installation with what tcia-assets relies on.

    Sends a few dozen small requests to the source: is it reached, does each endpoint send the
    fields and dates that are declared, are filters honoured, is one small Series complete? Looks at
    disk, permissions, locks, leftovers and versions. Writes nothing into TCIA_DATA_DIR, but for the
    copy of an index of the Imaging Data Commons that is behind a URL.

    Each check is ok, differs, or unknown (not checked, or the answer does not show it). The exit
    code is 1 if something differs. The JSON has no passwords, keys, or names of users.

    \b
    Examples:
      tcia-assets doctor
      tcia-assets doctor --format json > doctor.json      (for a bug report)
    """
    settings = Settings.from_env()
    with progress_bar(f"Ask {settings.asked[0]}") as report:
        found = examine(settings, seconds=seconds, report=report)
    if form == "json":
        click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
    else:
        out.print(_table(found))
        out.print(_summary(found), soft_wrap=True)
    if found.differing:
        sys.exit(FAILED)


def _table(report: Report) -> Group:
    # One width for the names of all sections.
    width = max(len(check.name) for check in report.checks)
    parts: list[RenderableType] = []
    for section, checks in report.sections.items():
        name = Column(section, min_width=width, no_wrap=True)
        outcome = Column("", min_width=len(DIFFERS), no_wrap=True)
        grid = make_grid(name, outcome, Column("seen, and what to do", overflow="fold"))
        for check in checks:
            style = _STYLES[check.outcome]
            grid.add_row(check.name, f"[{style}]{check.outcome}[/]", _cell(check))
        parts += [grid, ""]
    return Group(*parts[:-1])


def _cell(check: StepResult) -> str:
    seen = printable(check.seen)
    return f"{seen}\n[dim]->[/] {printable(check.advice)}" if check.advice else seen


def _summary(report: Report) -> str:
    outcomes = [check.outcome for check in report.checks]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in _STYLES)
    return f"[dim]{printable(report.source)}: {counts}, in {report.seconds:.1f} s[/]"
