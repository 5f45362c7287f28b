"""Compare hashes of Series with a source's, by as few requests as possible."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from tcia_assets.errors import RemoteError, UnknownReply, UnreadableReply
from tcia_assets.formats.md5_list import combined_md5
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.sources import Source

# From the top down: the column that divides Series into nodes, and the columns by which a node's
# hash is requested.
_LEVELS = (
    ("Collection", ("Collection",)),
    ("PatientID", ("Collection", "PatientID")),
    ("StudyInstanceUID", ("StudyInstanceUID",)),
)
_Level = tuple[str, tuple[str, ...]]
# A Series as a leaf of the hierarchy: its keys, and its hash; None if there is nothing to compare.
Leaf = dict[str, Any]
# What a source has answered for single Series, by UID: the hash, "" for none, and why it is none.
Answers = dict[str, tuple[str, str]]
_UID = "SeriesInstanceUID"


@dataclass(frozen=True)
class ComparedSeries:
    """A Series whose hash was compared with a source's.

    Attributes:
        uid: SeriesInstanceUID.
        left_hash: The hash that was compared.
        right_hash: The source's; "" if it has none.
        problem: Why the source has no hash of the Series, although it has the Series; "" otherwise.
    """

    uid: str
    left_hash: str
    right_hash: str
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether both hashes are known and the same."""
        return bool(self.right_hash) and self.left_hash == self.right_hash


@dataclass
class HashWalk:
    """A walk down a source's MD5 hierarchy.

    Args:
        source: The source to compare with.
        max_requests: The most requests to send; None for any number.
        report: Called with the number of Series that are compared, and that of all.
        answers: What the source has answered already; completed by the walk, for the next one.

    Attributes:
        compared: What was compared.
        not_requested: Number of Series left when the requests were used up or the source failed.
        requests: Number of requests sent.
        failure: The error of the source that ended the comparison; "" if there was none.
    """

    source: Source
    max_requests: int | None = None
    report: ProgressCallback = ignore_progress
    answers: Answers = field(default_factory=dict)
    compared: list[ComparedSeries] = field(default_factory=list)
    not_requested: int = 0
    requests: int = 0
    failure: str = ""
    _total: int = 0

    def compare(self, leaves: list[Leaf]) -> None:
        """Compare Series, by one request for each node whose Series all have hashes and are equal.

        Args:
            leaves: The Series, sorted by the columns of all levels from the top down.
        """
        self._total = sum(leaf["hash"] is not None for leaf in leaves)
        levels = [each for each in _LEVELS if each[0] in self.source.hash_levels]
        self._compare_nodes(leaves, levels)

    def compare_series(self, leaves: list[Leaf]) -> None:
        """Compare Series one by one; those without a hash are skipped."""
        leaves = [leaf for leaf in leaves if leaf["hash"] is not None]
        self._total = max(self._total, len(leaves))
        # A server makes each hash from its database, one at a time; a release lists objects.
        threads = self.source.connections if self.source.release else 1
        with ThreadPoolExecutor(threads) as pool:
            try:
                for leaf, found in zip(leaves, pool.map(self._ask, leaves), strict=True):
                    self._add(leaf, found)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _compare_nodes(self, leaves: list[Leaf], levels: Sequence[_Level]) -> None:
        if not levels:
            self.compare_series(leaves)
            return
        (column, requested_by), *below = levels
        for node in _group(leaves, column):
            if len(node) > 1 and all(leaf["hash"] for leaf in node) and self._may_request:
                filters = {name: node[0][name] for name in requested_by}
                right = self._request(**filters)
                if right is not None and right[0] == _node_hash(node, below):
                    for leaf in node:
                        self._add(leaf, (leaf["hash"], ""))
                    continue
            self._compare_nodes(node, below)

    def _add(self, leaf: Leaf, found: tuple[str, str] | None) -> None:
        if found is None:
            self.not_requested += 1
        else:
            self.compared.append(ComparedSeries(leaf[_UID], leaf["hash"], *found))
        self.report(len(self.compared) + self.not_requested, self._total)

    def _ask(self, leaf: Leaf) -> tuple[str, str] | None:
        uid = leaf[_UID]
        if uid not in self.answers and self._may_request:
            found = self._request(SeriesInstanceUID=uid)
            if found is not None:
                self.answers[uid] = found
        return self.answers.get(uid)

    @property
    def _may_request(self) -> bool:
        return not self.failure and (self.max_requests is None or self.requests < self.max_requests)

    def _request(self, **node: str) -> tuple[str, str] | None:
        """Return the source's hash, "" if it has none, and why; None if the source fails."""
        self.requests += 1
        try:
            return self.source.md5_hash(**node), ""
        except UnknownReply:
            return "", ""
        except UnreadableReply as error:
            if not self.source.release:
                self.failure = str(error)
                return None
            return "", error.problem
        except RemoteError as error:
            self.failure = str(error)
            return None


def _group(leaves: list[Leaf], column: str) -> list[list[Leaf]]:
    return [list(group) for _, group in groupby(leaves, key=itemgetter(column))]


def _node_hash(node: list[Leaf], below: Sequence[_Level]) -> str:
    """Return the hash of a node, made from its Series' hashes through the levels below it."""
    if not below:
        return combined_md5(leaf["hash"] for leaf in node)
    (column, _), *rest = below
    return combined_md5(_node_hash(child, rest) for child in _group(node, column))
