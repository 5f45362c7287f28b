"""Split the plan of a Collection into parts, for several runs at the same time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tcia_assets.errors import UsageError


@dataclass(frozen=True)
class Shard:
    """One of the `count` parts of a plan; a Series belongs to one of them by the hash of its UID.

    Raises:
        UsageError: `index` is not one of 0 to `count` - 1.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(
                f"shard {self.index} of {self.count}: it must be one of 0 to {self.count - 1}"
            )

    def contains(self, series_instance_uid: str) -> bool:
        """Return whether a Series belongs to this part."""
        digest = hashlib.sha256(series_instance_uid.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"
