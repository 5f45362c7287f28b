"""The source's list of Collections, without rows that name none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow.compute as pc

from tcia_assets.catalog import COLLECTIONS
from tcia_assets.errors import RemoteError, SourceGone, UnknownReply
from tcia_assets.metadata.source_outage import counts_as_silence, record_answer, record_failure
from tcia_assets.sources import Source, SourceRows
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted


@dataclass(frozen=True)
class CollectionList:
    """The Collections that a source lists.

    Attributes:
        reply: The rows that have a name.
        unnamed: Number of rows without a name, which are left out.
    """

    reply: SourceRows
    unnamed: int

    @property
    def names(self) -> list[str]:
        """The names of the Collections, in the order of the source."""
        return [str(name) for name in self.reply.table["Collection"].to_pylist()]

    @property
    def note(self) -> str:
        """What was left out, for people; "" if nothing was."""
        if not self.unnamed:
            return ""
        rows = counted(self.unnamed, "row")
        return f"left out: {rows} without a name in the source's list of Collections"


def request_collections(source: Source) -> CollectionList:
    """Request the list of Collections.

    Raises:
        RemoteError: The source fails, or no row has a name.
    """
    reply = source.rows(COLLECTIONS)
    named = reply.table.filter(pc.is_valid(reply.table["Collection"]))
    if not named.num_rows:
        raise UnknownReply("no row of the source's list of Collections has a name")
    return CollectionList(replace(reply, table=named), reply.table.num_rows - named.num_rows)


def list_collections(source: Source, warehouse: Warehouse, at: datetime) -> CollectionList:
    """Request the list of Collections, and remember whether there was an answer.

    Args:
        source: The source.
        warehouse: The warehouse that it fills.
        at: Now.

    Raises:
        RemoteError: As `request_collections`.
        SourceGone: There is no answer, and has been none for long.
    """
    try:
        listed = request_collections(source)
    except RemoteError as error:
        if counts_as_silence(error):
            outage = record_failure(warehouse, source.settings, str(error), at)
            if outage.is_gone:
                raise SourceGone(str(outage)) from error
        raise
    record_answer(warehouse, source.settings)
    return listed
