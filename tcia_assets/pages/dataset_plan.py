"""The plan of a dataset as one page, in one file: it may be sent to somebody as it is."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tcia_assets.pages import rendering
from tcia_assets.pages.charts import Bar, Bars, percent
from tcia_assets.pages.license_badges import badge
from tcia_assets.units import format_duration

if TYPE_CHECKING:
    from tcia_assets.datasets.plan import DatasetPlan  # needs numpy, an extra

_POLICY = "default-src 'none'; style-src data:; base-uri 'none'; form-action 'none'"
_MOST_NAMES = 500
_NO_LICENSE = "none"


def plan_page(plan: DatasetPlan, notes: list[str]) -> str:
    """Return the page of a plan: no script, and nothing but this file.

    Args:
        plan: Of the dataset.
        notes: What may be a mistake; see `plan_notes`.
    """
    names = [None if name == _NO_LICENSE else name for name in plan.licenses]
    return rendering.render(
        "dataset_plan.html",
        root="",
        policy=_POLICY,
        style=_style(),
        plan=plan,
        duration=format_duration(plan.built_seconds),
        notes=notes,
        charts=[
            _chart("Masks by the way to their image", "Masks", plan.masks),
            _chart("Images by class", "Images", {n or "none": c for n, c in plan.classes.items()}),
        ],
        names=plan.names[:_MOST_NAMES],
        strata=_strata(plan),
        licenses=list(zip(map(badge, names), plan.licenses.values(), strict=True)),
    )


def _style() -> str:
    """Return the style sheet of all pages as an address."""
    sheet = next(data for name, data in rendering.assets() if name == "static/catalogue.css")
    return f"data:text/css;base64,{base64.b64encode(sheet).decode('ascii')}"


def _chart(title: str, unit: str, counts: Mapping[str, int]) -> Bars:
    highest = max(counts.values(), default=0)
    found = [Bar(name, count, percent(count, highest)) for name, count in counts.items()]
    return Bars(title, unit, tuple(found))


def _strata(plan: DatasetPlan) -> list[tuple[str, str]]:
    """Return each column by which splits are compared, with each of its values."""
    return [
        (column, value)
        for column in (plan.splits[0].strata if plan.splits else ())
        for value in sorted({value for each in plan.splits for value in each.strata[column]})
    ]
