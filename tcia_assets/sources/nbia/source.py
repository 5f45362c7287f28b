"""The NBIA REST API as a source: which endpoints a dialect needs for what the mirror wants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, COLLECTIONS, NLST, SERIES_SIZES
from tcia_assets.errors import RequestRefused, TciaError, UnknownReply, UnreadableReply
from tcia_assets.settings import Settings
from tcia_assets.sources import (
    ClinicalTable,
    FetchedFile,
    ProbeResult,
    SampleReply,
    SourceRows,
    Target,
    UnreadableValues,
)
from tcia_assets.sources.names import is_of_family
from tcia_assets.sources.nbia.client import Client
from tcia_assets.sources.nbia.descriptions import read_descriptions
from tcia_assets.sources.nbia.probe import probe
from tcia_assets.sources.pacing import Pacing
from tcia_assets.spec import Table
from tcia_assets.store.conform import empty

_NO_SUCH_ENDPOINT = (404, 405)
_HASHES, _UPDATES, _OBJECT_UIDS = "getMD5Hierarchy", "getUpdatedSeries", "getSOPInstanceUIDs"


class NbiaSource(Client):
    """A client that is also a `Source` (see there), with one of its own for the host of NLST."""

    def __init__(
        self,
        settings: Settings,
        *,
        pacing: Pacing | None = None,
    ) -> None:
        super().__init__(settings, pacing=pacing)
        own = settings.of_collection(NLST)
        self._nlst = NbiaSource(own, pacing=pacing) if own.url != settings.url else None

    def of(self, collection: str) -> NbiaSource:
        return self._nlst if self._nlst and collection == NLST else self

    @contextmanager
    def waiting_until(self, deadline: float) -> Iterator[None]:
        with super().waiting_until(deadline):
            if self._nlst is None:
                yield
                return
            with self._nlst.waiting_until(deadline):
                yield

    def stop(self) -> None:
        super().stop()
        if self._nlst:
            self._nlst.stop()

    def close(self) -> None:
        super().close()
        if self._nlst:
            self._nlst.close()

    @property
    def name(self) -> str:
        return self.settings.source_name

    @property
    def release(self) -> str:
        return ""

    @property
    def released_on(self) -> None:
        return None

    def gone_in(self, uids: Sequence[str]) -> dict[str, str]:
        del uids
        return {}

    def expects(self, rows: pa.Table) -> pa.ChunkedArray:
        return is_of_family(rows["source"], self.name)

    @property
    def hash_levels(self) -> tuple[str, ...]:
        if not self.dialect.has(_HASHES):
            return ()
        return tuple(p.name for p in self.dialect.endpoint(_HASHES).parameters)

    @property
    def zip_routes(self) -> tuple[str, ...]:
        return self.dialect.zip_endpoints

    @property
    def md5_routes(self) -> tuple[str, ...]:
        proofs = {route: self.dialect.endpoint(route).zip_proof for route in self.zip_routes}
        return tuple(route for route, proof in proofs.items() if proof == "md5")

    def rows(self, table: Table, key: str = "", *, known: str = "") -> SourceRows:
        if table is COLLECTION_DESCRIPTIONS:
            return self._descriptions(key, known)
        filters = {table.partitioned_by: key} if table.partitioned_by else {}
        reply = self.get_rows(table.endpoint, trust_empty=False, known=known, **filters)
        if table is COLLECTIONS and self._nlst:
            # Its host has no other one. If it fails, that is a failure of NLST alone.
            return replace(reply, table=_with_nlst(reply.table))
        return reply

    def _descriptions(self, collection: str, known: str) -> SourceRows:
        """Return what the server describes of a Collection; no rows where it has no such thing."""
        if self.dialect.has(COLLECTION_DESCRIPTIONS.endpoint):
            try:
                # An empty reply is trusted, because it changes nothing.
                reply = self.get_rows(
                    COLLECTION_DESCRIPTIONS.endpoint,
                    trust_empty=True,
                    known=known,
                    Collection=collection,
                )
                return reply if reply.is_known else read_descriptions(reply)
            except RequestRefused as error:
                if error.status not in _NO_SUCH_ENDPOINT:
                    raise
        return SourceRows(empty(COLLECTION_DESCRIPTIONS))

    def sample(self, table: Table, **filters: str) -> SampleReply:
        return self.get_sample(table.endpoint, **filters)

    def series_sizes(self, uids: Sequence[str]) -> SourceRows:
        return self.get_rows_for_each(SERIES_SIZES.endpoint, "SeriesInstanceUID", uids)

    def rows_of(self, table: Table, by: str, uids: Sequence[str]) -> SourceRows:
        found = self._rows_of(table, by, uids)
        if self._nlst is None or found.failure:
            return found
        known = _in_a_collection(found.table)
        absent = set(uids).difference(known[by].to_pylist())
        if not absent:
            return found
        more = self._nlst.rows_of(table, by, sorted(absent))
        return _joined(replace(found, table=known), more)

    def _rows_of(self, table: Table, by: str, uids: Sequence[str]) -> SourceRows:
        found = self.get_rows_for_each(table.endpoint, by, uids)
        known = _in_a_collection(found.table)
        if found.failure is None and known.num_rows < found.table.num_rows:
            # A failed database and an expired token also give an empty reply.
            try:
                self.rows(COLLECTIONS)
            except TciaError as error:
                return replace(found, table=known, failure=error)
        return found

    def changed_since(self, day: date) -> SourceRows | None:
        if not self.dialect.has(_UPDATES):
            return None
        return self.get_rows(_UPDATES, trust_empty=True, since=day)

    def probe(
        self, collection: str, missing: pa.Table, listed: pa.Table, limit: int
    ) -> ProbeResult:
        return probe(self, collection, missing, listed, limit)

    def md5_hash(self, **node: str) -> str:
        return self.get_hash(_HASHES, **node)

    def fetch_zip(self, route: str, uid: str, target: Target) -> FetchedFile:
        return self.download(route, target, SeriesInstanceUID=uid)

    def clinical_tables(self, collection: str) -> list[ClinicalTable]:
        raise UnknownReply(
            f"NBIA has no clinical tables; TCIA_SOURCE=idc has those of {collection}"
        )

    def clinical_rows(self, name: str) -> pa.Table:
        raise UnknownReply(f"NBIA has no clinical tables, so none called {name!r}")

    def object_uids(self, uid: str) -> frozenset[str]:
        uids = self.get_rows(_OBJECT_UIDS, SeriesInstanceUID=uid).table["SOPInstanceUID"]
        if uids.null_count:
            # Without it, a zip that lacks this object would count as complete.
            raise UnreadableReply(
                f"{_OBJECT_UIDS}: {uids.null_count} of {len(uids)} rows have no SOPInstanceUID"
            )
        return frozenset(uids.to_pylist())

    def fetch_object(self, uid: str, sop_instance_uid: str, target: Target) -> FetchedFile:
        node = {"SeriesInstanceUID": uid, "SOPInstanceUID": sop_instance_uid}
        return self.download("getSingleImage", target, **node)


def _in_a_collection(rows: pa.Table) -> pa.Table:
    """Return the rows that name a Collection: the server has them."""
    if "Collection" not in rows.column_names:
        return rows.slice(0, 0)
    return rows.filter(pc.is_valid(rows["Collection"]))


def _with_nlst(collections: pa.Table) -> pa.Table:
    """Return the list of Collections with NLST."""
    if NLST in collections["Collection"].to_pylist():
        return collections
    return pa.concat_tables(
        [collections, pa.table({"Collection": [NLST]})], promote_options="default"
    )


def _joined(first: SourceRows, second: SourceRows) -> SourceRows:
    """Return the rows of two replies about different Series."""
    unreadable = dict(first.unreadable)
    for name, more in second.unreadable.items():
        values = unreadable.get(name)
        unreadable[name] = more if values is None else _both(values, more)
    return replace(
        second,
        table=pa.concat_tables([first.table, second.table], promote_options="default"),
        unclaimed=tuple(dict.fromkeys((*first.unclaimed, *second.unclaimed))),
        cost=first.cost + second.cost,
        seconds=first.seconds + second.seconds,
        unreadable=unreadable,
    )


def _both(first: UnreadableValues, second: UnreadableValues) -> UnreadableValues:
    return UnreadableValues(
        pa.concat_tables([first.rows, second.rows], promote_options="default"),
        pa.chunked_array([*first.texts.chunks, *second.texts.chunks], first.texts.type),
        first.values + second.values,
    )
