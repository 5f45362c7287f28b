"""What the Collections of one run share: the budget, and the plans made before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tcia_assets.images.plan import FetchPlan, plan_fetch, selected_collections
from tcia_assets.images.run_limits import FetchBudget, Shard
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.warehouse import Warehouse


@dataclass
class FetchRun:
    """One run over several Collections: what it fetches, how much of it, and its plans.

    Attributes:
        selection: What is selected.
        shard: The part of each Collection to fetch.
        retry: Also try Series that were given up.
        budget: What the run may still fetch.
        plans: The plan of each Collection by name, once it is made. `fetch_images` uses the plan
            that is here, and replaces one that is no longer current.
    """

    selection: Selection
    shard: Shard = Shard()  # noqa: RUF009 - frozen
    retry: bool = False
    budget: FetchBudget = field(init=False)
    plans: dict[str, FetchPlan] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.budget = FetchBudget.for_selection(self.selection)

    def plan_all(self, warehouse: Warehouse) -> list[FetchPlan]:
        """Plan every Collection with selected Series."""
        return [
            self.plan(name, warehouse) for name in selected_collections(self.selection, warehouse)
        ]

    def plan(self, collection: str, warehouse: Warehouse) -> FetchPlan:
        """Return the plan of a Collection; it is made anew unless the manifest is unchanged."""
        plan = self.plans.get(collection)
        if plan is None or not plan.is_current(warehouse):
            if plan is not None:
                self.budget.give_back([series.image_bytes for series in plan.now])
            plan = plan_fetch(
                collection,
                self.selection,
                warehouse,
                shard=self.shard,
                retry=self.retry,
                budget=self.budget,
            )
            self.plans[collection] = plan
        return plan


# A Dagster step takes no object from its caller, and one command may need several Dagster runs.
_shared: list[FetchRun] = []


@contextmanager
def share_run(run: FetchRun) -> Iterator[None]:
    """Make all fetches of this process parts of one run while the block lasts."""
    _shared.append(run)
    try:
        yield
    finally:
        _shared.pop()


def shared_run() -> FetchRun | None:
    """Return the run of the enclosing `share_run`, if any."""
    return _shared[-1] if _shared else None
