"""The result of refreshing one partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from tcia_assets.metadata.unreadable import describe
from tcia_assets.sources import Cost, SourceRows
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import WriteResult


@dataclass(frozen=True)
class RefreshResult:
    """A refreshed partition and what it cost.

    Attributes:
        table: The table.
        key: The partition; "" for a table without partitions.
        written: The partition as it is stored now.
        rows_before: Rows before the refresh; of `series`, those that were listed.
        cost: What was sent and received.
        seconds: Time that the requests took.
        unclaimed: Fields that were received and that none of our columns claims.
        facts: Further counts of this table, by name.
        unreadable: Number of values that were received and cannot be read.
        unreadable_example: A line about them; "" if there are none.
        is_known: Whether nothing was compared, because the reply was that of the refresh before.
    """

    table: Table
    key: str
    written: WriteResult
    rows_before: int
    cost: Cost
    seconds: float
    unclaimed: tuple[str, ...] = ()
    facts: Mapping[str, int | bool | str] = field(default_factory=dict)
    unreadable: int = 0
    unreadable_example: str = ""
    is_known: bool = False

    @classmethod
    def of_reply(
        cls,
        table: Table,
        key: str,
        reply: SourceRows,
        written: WriteResult,
        *,
        rows_before: int,
        facts: Mapping[str, int | bool | str],
        unreadable: pa.Table,
    ) -> RefreshResult:
        """Return the result of storing a reply, with its rows of `unreadable_values`."""
        return cls(
            table,
            key,
            written,
            rows_before,
            cost=reply.cost,
            seconds=reply.seconds,
            unclaimed=reply.unclaimed,
            facts=facts,
            unreadable=unreadable.num_rows,
            unreadable_example=describe(unreadable.to_pylist()),
        )
