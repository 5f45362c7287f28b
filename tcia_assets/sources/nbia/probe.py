"""Single-Series checks: has the server lost a Series, or only its listing?

NBIA has no request that proves absence: a Series that does not exist, a failed database and an
expired token all give an empty reply. So nothing is gone while the server contradicts itself.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import COLLECTIONS, SERIES, STUDIES
from tcia_assets.errors import RemoteError, UnknownReply
from tcia_assets.sources import Cost, ProbeResult, SourceRows
from tcia_assets.sources.nbia.client import Client

_STUDY = STUDIES.key[1]
_UID = SERIES.key[0]


def probe(
    client: Client, collection: str, missing: pa.Table, listed: pa.Table, limit: int
) -> ProbeResult:
    """Check up to `limit` missing Series, one request each (see `Source.probe`).

    Nothing is gone if the server does not list the Collection, if a Study counts more Series than
    are listed in it, or if, at the end, it has no reply for a Series that it does list.
    """
    run = _Probe(client, collection)
    try:
        found = run.find(missing, listed, limit)
    except RemoteError as error:
        return replace(run.result, failure=error)
    return replace(
        run.result,
        gone=[uid for uid, names in found.items() if not names],
        elsewhere={u: names[0] for u, names in found.items() if names and collection not in names},
    )


class _Probe:
    """The requests of one check; `result` sums up their cost."""

    def __init__(self, client: Client, collection: str) -> None:
        self._client, self._collection = client, collection
        self.result = ProbeResult()

    def find(self, missing: pa.Table, listed: pa.Table, limit: int) -> dict[str, list[str]]:
        """Return the names of the Collections in which the server has each Series it checked."""
        if self._collection not in self._get(COLLECTIONS.endpoint)["Collection"].to_pylist():
            return {}
        doubtful = self._find_doubtful_studies(listed)
        pairs = zip(missing[_UID].to_pylist(), missing[_STUDY].to_pylist(), strict=True)
        certain = [uid for uid, study in pairs if study not in doubtful]
        # Sample at random, so that Series known to exist cannot starve the rest.
        found = self._find_each(random.sample(certain, min(limit, len(certain))))
        if found:
            self._get(SERIES.endpoint, SeriesInstanceUID=listed[_UID][0].as_py())
        return found

    def _find_doubtful_studies(self, listed: pa.Table) -> set[str]:
        """Return the Studies of which the server counts more Series than it lists."""
        studies = self._get(STUDIES.endpoint, Collection=self._collection)
        if "SeriesCount" not in studies.column_names:
            return set()
        counts = pc.value_counts(listed[_STUDY]).to_pylist()
        listed_in = {row["values"]: row["counts"] for row in counts}
        pairs = zip(studies[_STUDY].to_pylist(), studies["SeriesCount"].to_pylist(), strict=True)
        return {s for s, count in pairs if count is not None and count > listed_in.get(s, 0)}

    def _find_each(self, uids: Sequence[str]) -> dict[str, list[str]]:
        with ThreadPoolExecutor(self._client.settings.max_connections) as pool:
            try:
                replies = list(pool.map(self._find_one, uids))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        self.result = replace(self.result, probed=len(uids))
        for reply in replies:
            self._count(reply)
        return {
            uid: sorted(set(reply.table["Collection"].to_pylist())) if reply.table.num_rows else []
            for uid, reply in zip(uids, replies, strict=True)
        }

    def _find_one(self, uid: str) -> SourceRows:
        try:
            return self._client.get_rows(SERIES.endpoint, SeriesInstanceUID=uid)
        except UnknownReply:
            return SourceRows(SERIES.schema.empty_table(), cost=Cost(requests=1))

    def _get(self, endpoint: str, **filters: str) -> pa.Table:
        return self._count(self._client.get_rows(endpoint, trust_empty=False, **filters)).table

    def _count(self, reply: SourceRows) -> SourceRows:
        self.result = replace(self.result, cost=self.result.cost + reply.cost)
        return reply
