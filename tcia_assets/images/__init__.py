"""The images of selected Series: planned, fetched, proven, kept, and listed in a manifest.

    plan.py       what to fetch of a Collection, what to leave, what the disk must hold
    obtain.py     one Series: its routes, its proof, its name; quarantine for what fails
    manifest.py   the rows, kept as they arrive
    fetch.py      a run over a plan: threads, budgets, progress
    standing.py   what is known, selected and on disk, in numbers
    verify.py     what is on disk, looked at again: by hash, by inflating it, by the archive's word

What does not belong here: when a zip is good (`acceptance`), what HTTP does (`client`), and Dagster
(`defs/`). Nothing has its final name before it is proven whole; what was complete before stays
until then.
"""

from tcia_assets.images.fetch import Fetched, Progress, fetch
from tcia_assets.images.places import collections_on_disk, zip_path
from tcia_assets.images.plan import (
    STATUSES,
    Plan,
    RunBudget,
    Shard,
    Wanted,
    concerned,
    demand_space,
    pending_images,
    plan,
    shared_budget,
)
from tcia_assets.images.status import Standing, standing
from tcia_assets.images.verify import (
    Audited,
    Damage,
    Rebuilt,
    Verified,
    audit,
    rebuild,
    require_hashes,
    set_aside,
    verify,
)

__all__ = [
    "STATUSES",
    "Audited",
    "Damage",
    "Fetched",
    "Plan",
    "Progress",
    "Rebuilt",
    "RunBudget",
    "Shard",
    "Standing",
    "Verified",
    "Wanted",
    "audit",
    "collections_on_disk",
    "concerned",
    "demand_space",
    "fetch",
    "pending_images",
    "plan",
    "rebuild",
    "require_hashes",
    "set_aside",
    "shared_budget",
    "standing",
    "verify",
    "zip_path",
]
