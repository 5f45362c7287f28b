"""A fetch of several Collections: its plans and budget, and what is incomplete afterwards.

The command line and notebooks plan all of it before it starts; a Dagster step plans each Collection
as it comes. One session may take several Dagster runs. The plan of one Collection is in `plan.py`,
the fetch in `fetch.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

import pyarrow as pa

from tcia_assets import catalog
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.images.pending import PendingList
from tcia_assets.images.plan import FetchPlan, plan_collection, selected_collections
from tcia_assets.images.run_limits import FetchBudget, RereadBudget, Shard
from tcia_assets.images.series_counts import SeriesCounts
from tcia_assets.metadata.licenses import unmatched_licenses
from tcia_assets.metadata.selection import Selection, check_fetchable, check_shared_lists
from tcia_assets.metadata.selection_parser import selection_to_fields
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import are

_MOST_NAMED = 3
_LICENSES = "SELECT DISTINCT LicenseName FROM current_series WHERE LicenseName NOTNULL"
_MODALITIES = "SELECT DISTINCT Modality FROM current_series WHERE Modality NOTNULL"
_INCOMPLETE = """
    SELECT Collection, SeriesInstanceUID, status, error,
        SeriesInstanceUID IN (FROM given_up) AS is_given_up
    FROM image_archives
    WHERE status <> 'complete' AND (is_given_up OR SeriesInstanceUID IN (FROM planned))
    ORDER BY Collection, SeriesInstanceUID
"""
_GIVEN_UP = "; given up until it changes at the source, or you use --retry"


@dataclass
class FetchSession:
    """A fetch of several Collections: what it fetches, how much of it, and its plans.

    Attributes:
        selection: What is selected.
        shard: The part of each Collection to fetch.
        retry: Also try Series that were given up.
        from_folder: Whether a folder is the source, not what the settings name.
        budget: What the session may still fetch.
        reread: How long it may still read zips again that are unchanged.
        not_started: Number of planned Series that no fetch of the session has started.
        not_stored: Lines about selected Series whose metadata the source did not return.
        counts: What a run of the session has counted at its end.

    Raises:
        UsageError: The selection needs what is known only of fetched images.
    """

    selection: Selection
    shard: Shard = Shard()  # noqa: RUF009 - frozen
    retry: bool = False
    from_folder: bool = False
    budget: FetchBudget = field(init=False)
    reread: RereadBudget = field(init=False)
    not_started: int = field(default=0, init=False)
    not_stored: list[str] = field(default_factory=list, init=False)
    counts: SeriesCounts | None = field(default=None, init=False)
    _plans: dict[str, FetchPlan] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        check_fetchable(self.selection)
        self.budget = FetchBudget.for_selection(self.selection)
        self.reread = RereadBudget(deadline=self.budget.deadline)

    @property
    def plans(self) -> list[FetchPlan]:
        """The plans made so far, of Collections in which a Series is selected."""
        return [plan for plan in self._plans.values() if plan.has_selected_series]

    def plan_all(self, warehouse: Warehouse, not_stored: Iterable[str] = ()) -> list[str]:
        """Plan every Collection with selected Series, within the budget.

        Args:
            warehouse: The warehouse.
            not_stored: Lines about named Series whose metadata the source did not return.

        Returns:
            Lines about parts of the selection that have no effect or are uncertain.

        Raises:
            UsageError: No Series is selected, or a part of the selection does not exist.
        """
        self.not_stored += not_stored
        check_shared_lists(self.selection, warehouse.keys(catalog.SHARED_LISTS))
        notes = [] if self.not_stored else _list_notes(self.selection, warehouse)
        notes += _licence_notes(self.selection, warehouse)
        for name in selected_collections(self.selection, warehouse):
            self.plan(name, warehouse)
        if not self._plans:
            _raise_empty(self.selection, warehouse)
        if waiting := self.quiet_note:
            notes.append(waiting)
        return notes

    def count_not_started(self, series: int) -> None:
        """Count planned Series that a fetch of this session has not started."""
        self.not_started += series

    @property
    def quiet_note(self) -> str:
        """A line about what quiet hours leave to later runs; "" if nothing."""
        note = self.selection.quiet_note(datetime.now(UTC))
        left = self.not_started + sum(len(plan.later) for plan in self.plans)
        return f"{note}; {left} Series {are(left)} left to later runs" if note and left else ""

    def plan(self, collection: str, warehouse: Warehouse) -> FetchPlan:
        """Return the plan of a Collection; it is made anew unless the manifest is unchanged."""
        plan = self._plans.get(collection)
        if plan is None or not plan.is_current(warehouse):
            if plan is not None:
                self.budget.give_back(plan.now.sizes.to_pylist())
            plan = plan_collection(
                collection,
                self.selection,
                warehouse,
                shard=self.shard,
                retry=self.retry,
                budget=self.budget,
                from_folder=self.from_folder,
            )
            self._plans[collection] = plan
        return plan

    def incomplete_series(self, warehouse: Warehouse) -> list[str]:
        """Return a line for each planned Series, given up or not, that is not complete on disk."""
        tables = {
            "planned": _uids(each.now for each in self.plans),
            "given_up": _uids(each.given_up for each in self.plans),
        }
        return [
            f"{r['Collection']}: {r['SeriesInstanceUID']} is {r['status']}: {r['error']}"
            + (_GIVEN_UP if r["is_given_up"] else "")
            for r in warehouse.query(_INCOMPLETE, tables=tables).to_pylist()
        ]


def _uids(lists: Iterable[PendingList]) -> pa.Table:
    chunks = [chunk for each in lists for chunk in each.uids.chunks]
    return pa.table({"SeriesInstanceUID": pa.chunked_array(chunks, pa.string())})


def _list_notes(selection: Selection, warehouse: Warehouse) -> list[str]:
    missing = warehouse.query(selection.unknown_series, tables=selection.tables).to_pylist()
    if not missing:
        return []
    uids = ", ".join(row["SeriesInstanceUID"] for row in missing[:_MOST_NAMED])
    more = ", ..." if len(missing) > _MOST_NAMED else ""
    count, verb = len(missing), are(len(missing))
    return [f"{count} listed Series {verb} not in the warehouse, or {verb} withdrawn: {uids}{more}"]


def _licence_notes(selection: Selection, warehouse: Warehouse) -> list[str]:
    known = warehouse.query(_LICENSES)["LicenseName"].to_pylist()
    notes = [
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
        if not name.endswith("_per_run") and name != "quiet_hours"
    ]
    raise UsageError(f"no Series is selected: none has {'; '.join(criteria)}")


# --- A session given to the steps of this process -------------------------------------------------

# A Dagster step takes no object from its caller, and one command may need several Dagster runs.
_sessions: list[FetchSession] = []


@contextmanager
def use_session(session: FetchSession) -> Iterator[None]:
    """Make all fetches of this process parts of one session while the block lasts."""
    _sessions.append(session)
    try:
        yield
    finally:
        _sessions.pop()


def current_session() -> FetchSession | None:
    """Return the session of the enclosing `use_session`, if any."""
    return _sessions[-1] if _sessions else None
