"""What everything of one archive is called in a code location: two archives must not collide.

What belongs here: keys and names. What does not: what they stand for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from tcia_assets.catalog import TABLES
from tcia_assets.errors import UsageError
from tcia_assets.spec import Table


@dataclass(frozen=True)
class Names:
    """The names of one archive's assets, resources, partitions, jobs and sensors.

    All follow from `prefix`, the asset key prefix: `["tcia"]` gives `tcia/series`, the resources
    `tcia` and `tcia_io`, the partitions `tcia_collections`, the job `tcia_refresh`.
    """

    prefix: tuple[str, ...] = ("tcia",)
    group: str = "tcia"
    owners: tuple[str, ...] = ()
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
        cls, key_prefix: str | Sequence[str], group_name: str | None, owners: Sequence[str]
    ) -> "Names":
        prefix = (key_prefix,) if isinstance(key_prefix, str) else tuple(key_prefix)
        return cls(prefix, group_name or "_".join(prefix), tuple(owners))

    @property
    def name(self) -> str:
        return "_".join(self.prefix)

    @property
    def resource(self) -> str:
        return self.name

    @property
    def io(self) -> str:
        """The IO manager's key: never `io_manager`, which is the user's."""
        return self.of("io")

    def of(self, noun: str) -> str:
        return f"{self.name}_{noun}"

    def key(self, table: Table | str) -> dg.AssetKey:
        return dg.AssetKey([*self.prefix, table if isinstance(table, str) else table.name])

    def partitions(self, table: Table) -> dg.DynamicPartitionsDefinition | None:
        """How a table is partitioned; None for one that is not."""
        return {"Collection": self.collections, "list_name": self.shared_lists}.get(
            table.partitioned_by
        )

    def table(self, key: dg.AssetKey) -> Table | None:
        """The table behind an asset key of this archive, if it is one."""
        return next((t for t in TABLES if self.key(t) == key), None)
