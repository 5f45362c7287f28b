"""Names of assets, resources, partitions, pools, jobs and sensors, all with one prefix.

With another prefix a second set fits into the same code location.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from tcia_assets.catalog import TABLES
from tcia_assets.errors import UsageError
from tcia_assets.spec import Table


@dataclass(frozen=True)
class Names:
    """The names of everything that `build_definitions` returns.

    All follow from `prefix`, the asset key prefix: `["tcia"]` gives the asset `tcia/series`, the
    resources `tcia` and `tcia_io`, the partitions `tcia_collections`, the job `tcia_refresh`.

    Attributes:
        prefix: The asset key prefix.
        group: What the names of the asset groups begin with.
        owners: The owners of all assets.
        op_tags: Tags of all steps.
        pools: The pool of the steps of a stage: "metadata", "images" or "datasets".
        collections: The partitions of tables that are partitioned by Collection.
        shared_lists: The partitions of `shared_lists`.

    Raises:
        UsageError: Dagster does not accept the prefix.
    """

    prefix: tuple[str, ...] = ("tcia",)
    group: str = "tcia"
    owners: tuple[str, ...] = ()
    op_tags: Mapping[str, Any] = field(default_factory=dict, hash=False)
    pools: Mapping[str, str | None] = field(default_factory=dict, hash=False)
    collections: dg.DynamicPartitionsDefinition = field(init=False, compare=False)
    shared_lists: dg.DynamicPartitionsDefinition = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not self.prefix or not re.fullmatch(r"[A-Za-z0-9_]+", self.name):
            raise UsageError(
                f"key_prefix is {list(self.prefix)!r}; it must be one or more names of letters, "
                "digits and underscores"
            )
        for noun in ("collections", "shared_lists"):
            partitions = dg.DynamicPartitionsDefinition(name=self.of(noun))
            object.__setattr__(self, noun, partitions)

    @classmethod
    def chosen(
        cls,
        key_prefix: str | Sequence[str],
        group_name: str | None,
        owners: Sequence[str],
        op_tags: Mapping[str, Any] | None = None,
        **pools: str | None,
    ) -> "Names":
        """Return the names for these arguments of `build_definitions`."""
        prefix = (key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix)
        return cls(prefix, group_name or "_".join(prefix), tuple(owners), op_tags or {}, pools)

    @property
    def name(self) -> str:
        """The prefix as one word."""
        return "_".join(self.prefix)

    @property
    def resource(self) -> str:
        """The key of the resource."""
        return self.name

    @property
    def io(self) -> str:
        """The key of the IO manager; not `io_manager`, which is the user's own."""
        return self.of("io")

    def step_options(self, stage: str) -> dict[str, Any]:
        """Return the tags and the pool of the steps of a stage, as Dagster's decorators take them.

        Runs that fetch images share a pool by default: they share the source's limits too.
        """
        pool = self.pools.get(stage) or (self.of("images") if stage == "images" else None)
        return {"op_tags": dict(self.op_tags), "pool": pool}

    def group_of(self, stage: str) -> str:
        """Return the group of the assets of a stage: "metadata", "images" or "datasets"."""
        return f"{self.group}_{stage}"

    def of(self, noun: str) -> str:
        """Return the name of a job, sensor, op or the like."""
        return f"{self.name}_{noun}"

    def key(self, table: Table | str) -> dg.AssetKey:
        """Return the asset key of a table, or of another name."""
        return dg.AssetKey([*self.prefix, table if isinstance(table, str) else table.name])

    def partitions(self, table: Table) -> dg.DynamicPartitionsDefinition | None:
        """Return the partitions of a table; None if it has none."""
        return {"Collection": self.collections, "list_name": self.shared_lists}.get(
            table.partitioned_by
        )

    def table(self, key: dg.AssetKey) -> Table | None:
        """Return the table with this asset key, if there is one."""
        return next((t for t in TABLES if self.key(t) == key), None)
