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
    """One run over several Collections.

    Attributes:
        budget: What the run may still fetch.
        plans: The plan of each Collection by name, once it is made. `fetch_images` uses the plan
            that is here, and replaces one that is no longer current.
    """

    budget: FetchBudget
    plans: dict[str, FetchPlan] = field(default_factory=dict)

    @classmethod
    def for_selection(cls, selection: Selection) -> FetchRun:
        """Return a run that starts now, without plans."""
        return cls(FetchBudget.for_selection(selection))

    def plan_all(
        self, selection: Selection, warehouse: Warehouse, *, shard: Shard, retry: bool
    ) -> list[FetchPlan]:
        """Plan every Collection with selected Series; the arguments are those of `plan_fetch`."""
        for name in selected_collections(selection, warehouse):
            self.plan_one(name, selection, warehouse, shard=shard, retry=retry)
        return list(self.plans.values())

    def plan_one(
        self,
        collection: str,
        selection: Selection,
        warehouse: Warehouse,
        *,
        shard: Shard,
        retry: bool,
    ) -> FetchPlan:
        """Return the plan of a Collection; it is made anew unless the manifest is unchanged."""
        plan = self.plans.get(collection)
        if plan is None or not plan.is_current(warehouse):
            if plan is not None:
                self.budget.give_back([series.image_bytes for series in plan.now])
            plan = plan_fetch(
                collection, selection, warehouse, shard=shard, retry=retry, budget=self.budget
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
