"""Replies that were compared before: nothing is read, compared or written for them again.

A refresh leaves a mark beside the partition, with the digest of the reply, once all that follows
from it is stored. Where comparing the same reply once more could have another result, it leaves
none: while something is undecided, or a value cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tcia_assets.catalog import (
    COLLECTION_DESCRIPTIONS,
    PATIENTS,
    SERIES,
    SERIES_CHANGES,
    SERIES_SIZES,
    STUDIES,
    UNREADABLE_VALUES,
    VALUE_TABLES,
)
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sources import Source, SourceRows
from tcia_assets.spec import Table
from tcia_assets.store.marks import Mark
from tcia_assets.store.warehouse import Warehouse, WriteResult

# What a refresh of each table reads of the Collection, beside the table itself.
_WITH_SERIES = (SERIES, UNREADABLE_VALUES)
_INPUTS = {
    SERIES: (UNREADABLE_VALUES,),
    **dict.fromkeys((PATIENTS, STUDIES), (UNREADABLE_VALUES,)),
    **dict.fromkeys((COLLECTION_DESCRIPTIONS, SERIES_SIZES), _WITH_SERIES),
    **dict.fromkeys(VALUE_TABLES, _WITH_SERIES),
}


class KnownReply:
    """The reply that a partition was last compared with.

    Args:
        table: A table that a source fills.
        key: Its partition.
        source: Where the rows come from.
        warehouse: Where they are stored.
        accept_schema: As `refresh` takes it: what was accepted once is not accepted for ever.

    Attributes:
        digest: The digest of the reply; "" if it is not known any more.
        facts: What `keep` was given with it.
    """

    def __init__(
        self,
        table: Table,
        key: str,
        source: Source,
        warehouse: Warehouse,
        *,
        accept_schema: bool = False,
    ) -> None:
        self._table, self._key, self._warehouse = table, key, warehouse
        self._mark = None
        if table in _INPUTS:
            context = f"{source.name} {source.release} {accept_schema}"
            written = (SERIES, SERIES_CHANGES) if table is SERIES else (table,)
            self._mark = Mark(table, key, written, _INPUTS[table], warehouse, context)
        stored = self._mark.read() if self._mark else {}
        self.digest: str = stored.get("digest", "")
        self.facts: dict[str, Any] = stored.get("facts", {})
        self._unclaimed: tuple[str, ...] = tuple(stored.get("unclaimed", ()))

    def forget(self) -> None:
        """Remove the mark; to be called before anything is written."""
        if self._mark:
            self._mark.remove()

    def keep(self, reply: SourceRows, facts: Mapping[str, Any], *, is_settled: bool = True) -> None:
        """Write the mark, once all that follows from the reply is stored.

        Call it under the lock under which that was: the mark names the files as they are now, and
        after the lock they may be those of a different reply.

        Args:
            reply: The reply.
            facts: Will be in `facts`.
            is_settled: Whether nothing is left to do or to decide.
        """
        if self._mark and reply.digest and is_settled and not reply.unreadable:
            unclaimed = list(reply.unclaimed)
            self._mark.write({"digest": reply.digest, "facts": facts, "unclaimed": unclaimed})

    def result(
        self, reply: SourceRows, facts: Mapping[str, Any], rows_before: int | None = None
    ) -> RefreshResult:
        """Return the result of a refresh whose reply is known.

        Args:
            reply: The reply.
            facts: Further counts of this table, by name.
            rows_before: As in the result; by default the rows of the partition.
        """
        path = self._warehouse.path(self._table, self._key)
        rows = self._warehouse.row_count(self._table, self._key)
        return RefreshResult(
            self._table,
            self._key,
            WriteResult(path, rows, path.stat().st_size, changed=False),
            rows_before=rows if rows_before is None else rows_before,
            cost=reply.cost,
            seconds=reply.seconds,
            unclaimed=self._unclaimed,
            facts=facts,
            is_known=True,
        )
