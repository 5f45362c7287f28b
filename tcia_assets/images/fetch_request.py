"""A fetch of a whole selection: its plans, and what of them is incomplete afterwards.

The command line and notebooks use it before and after the runs that fetch. The plan of one
Collection is in `plan.py`, the fetch in `fetch.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tcia_assets import catalog
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.images.fetch_run import FetchRun
from tcia_assets.images.plan import FetchPlan
from tcia_assets.metadata.licenses import unmatched_licenses
from tcia_assets.metadata.selection import Selection, check_shared_lists
from tcia_assets.metadata.selection_parser import selection_from_fields, selection_to_fields
from tcia_assets.store.warehouse import Warehouse

_MOST_NAMED = 3
_LICENSES = "SELECT DISTINCT LicenseName FROM current_series WHERE LicenseName NOTNULL"
_MODALITIES = "SELECT DISTINCT Modality FROM current_series WHERE Modality NOTNULL"
_INCOMPLETE = """
    SELECT Collection, SeriesInstanceUID, status, error FROM image_archives
    WHERE status <> 'complete' ORDER BY ALL
"""
_GIVEN_UP = "; given up until it changes at the source, or you use --retry"


@dataclass(frozen=True)
class FetchRequest:
    """What to fetch, planned for each selected Collection.

    Attributes:
        run: The run with the plans, which the fetch continues.
        notes: Lines about parts of the selection that have no effect or are uncertain.
    """

    run: FetchRun
    notes: tuple[str, ...]

    @property
    def plans(self) -> list[FetchPlan]:
        """The plans of Collections in which a Series is selected."""
        return [plan for plan in self.run.plans.values() if plan.has_selected_series]


def override_selection(base: Selection | None, criteria: Mapping[str, Any]) -> Selection:
    """Return a selection with these fields replaced; `where` must hold besides the one before.

    Args:
        base: The selection to override; None if there is none.
        criteria: Fields of a Selection. None, "" and an empty list stand for no criterion.

    Raises:
        UsageError: There is neither a selection nor a criterion, or a field cannot be used.
    """
    chosen = {name: value for name, value in criteria.items() if value not in (None, [], "")}
    if base is None and not chosen:
        raise UsageError("name Collections, or give --selection or TCIA_IMAGE_SELECTION")
    fields = {} if base is None else selection_to_fields(base)
    if fields.get("where") and chosen.get("where"):
        chosen["where"] = f"({fields['where']}\n) AND ({chosen['where']}\n)"
    return selection_from_fields(fields | chosen)


def plan_run(run: FetchRun, warehouse: Warehouse) -> FetchRequest:
    """Plan a run for each selected Collection, within its budget.

    Args:
        run: What is selected, and how much of it is fetched.
        warehouse: Where the metadata is, and where the zips will be.

    Raises:
        UsageError: No Series is selected, or a part of the selection does not exist.
    """
    with warehouse.shared_connection():
        notes = _notes(run.selection, warehouse)
        if not run.plan_all(warehouse):
            _raise_empty(run.selection, warehouse)
    return FetchRequest(run, tuple(notes))


def incomplete_series(request: FetchRequest, warehouse: Warehouse) -> list[str]:
    """Return a line for each Series of the plans, given up or not, that is not complete on disk."""
    given_up = {w.series_instance_uid for each in request.plans for w in each.given_up}
    wanted = {w.series_instance_uid for each in request.plans for w in each.now} | given_up
    return [
        f"{r['Collection']}: {r['SeriesInstanceUID']} is {r['status']}: {r['error']}"
        + (_GIVEN_UP if r["SeriesInstanceUID"] in given_up else "")
        for r in warehouse.query(_INCOMPLETE).to_pylist()
        if r["SeriesInstanceUID"] in wanted
    ]


def _notes(selection: Selection, warehouse: Warehouse) -> list[str]:
    check_shared_lists(selection, warehouse.keys(catalog.SHARED_LISTS))
    notes = []
    missing = warehouse.query(selection.unknown_series, tables=selection.tables).to_pylist()
    if missing:
        uids = ", ".join(row["SeriesInstanceUID"] for row in missing[:_MOST_NAMED])
        more = ", ..." if len(missing) > _MOST_NAMED else ""
        notes.append(
            f"{len(missing)} listed Series are not in the warehouse, or are withdrawn: {uids}{more}"
        )
    known = warehouse.query(_LICENSES)["LicenseName"].to_pylist()
    notes += [
        f"no known Series has the licence {name!r}"
        for name in unmatched_licenses(selection.licenses, known)
    ]
    unlicensed = warehouse.query(
        f"SELECT count(*) AS series FROM current_series WHERE {selection.unlicensed}",
        tables=selection.tables,
    )["series"][0].as_py()
    if unlicensed:
        notes.append(f"{unlicensed} of these Series have no licence in their metadata")
    return notes


def _raise_empty(selection: Selection, warehouse: Warehouse) -> NoReturn:
    """Raise an error with the reason why nothing is selected, and similar names for a Modality."""
    modalities = warehouse.query(_MODALITIES)["Modality"].to_pylist()
    if not modalities:
        raise UsageError(
            "no Series is selected: the warehouse is empty; run `tcia-assets refresh` first"
        )
    folded = {name.strip().casefold() for name in modalities}
    for name in selection.modalities:
        if name.strip().casefold() not in folded:
            raise UnknownName("Modality of a known Series", name, modalities)
    criteria = [
        f"{name} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in selection_to_fields(selection).items()
        if not name.endswith("_per_run")
    ]
    raise UsageError(f"no Series is selected: none has {'; '.join(criteria)}")
