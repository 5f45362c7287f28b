"""Any script of changes gives the history that a model of the rules predicts."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.settings import Settings
from tcia_assets.sources import ProbeResult, Source, SourceRows
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.examples import examples
from tcia_assets_tests.metadata.mirror import FROM, TO, Mirror, day


@dataclass
class Known:
    """The expected row of a Series in a Collection."""

    count: int
    first: datetime
    since: datetime
    missing: list[datetime] = field(default_factory=list)
    withdrawn: bool = False
    moved_to: str | None = None


class Model:
    """The rules in plain Python: where each Series is, and what each refresh makes of it."""

    def __init__(self, homes: dict[str, tuple[str, int]]) -> None:
        self.real: dict[str, tuple[str, int, bool]] = {u: (*h, True) for u, h in homes.items()}
        self.deleted: set[str] = set()
        self.known: dict[tuple[str, str], Known] = {}
        self.events: list[tuple[str, str, str, datetime]] = []

    def refresh(self, collection: str, at: datetime) -> None:
        for uid, (home, count, visible) in self.real.items():
            key = (uid, collection)
            if visible and home == collection:
                self.listed(key, count, at)
            elif key in self.known:
                self.unlisted(key, at)

    def listed(self, key: tuple[str, str], count: int, at: datetime) -> None:
        known = self.known.get(key)
        if known is None:
            self.known[key] = Known(count, at, at)
            self.add_event(key, "added", at)
        elif known.missing:
            self.add_event(key, "reappeared", at)
            self.known[key] = Known(count, known.first, at)
        elif known.count != count:
            self.add_event(key, "changed", at)
            known.count = count

    def unlisted(self, key: tuple[str, str], at: datetime) -> None:
        known = self.known[key]
        if not known.missing:
            self.add_event(key, "missing", at)
            known.missing = [at]
        elif not known.withdrawn and not known.moved_to:
            known.missing.append(at)
        home, _, visible = self.real[key[0]]
        if len(known.missing) >= 3 and not known.withdrawn and not known.moved_to:
            if visible:
                known.moved_to = home
                self.add_event(key, "moved", at)
            else:
                known.withdrawn = True
                self.add_event(key, "withdrawn", at)

    def settle(self, at: datetime) -> None:
        for uid in {uid for uid, _ in self.known}:
            rows = {c: k for (u, c), k in self.known.items() if u == uid}
            here = [(k.since, c) for c, k in rows.items() if not k.missing]
            for name, known in rows.items() if here else ():
                goal = None if name == max(here)[1] else max(here)[1]
                if known.moved_to != goal:
                    self.add_event((uid, name), "moved" if goal else "reappeared", at)
                    known.moved_to = goal

    def add_event(self, key: tuple[str, str], event: str, at: datetime) -> None:
        self.events.append((*key, event, at))

    def rows(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        return {
            key: (
                *(k.count, k.first, k.since, k.missing[0] if k.missing else None),
                *(k.withdrawn, k.moved_to),
            )
            for key, k in self.known.items()
        }


ACTIONS = st.tuples(
    st.sampled_from(["hide", "show", "withdraw", "move", "revise"]), st.integers(0, 2)
)
DAYS = st.lists(
    st.tuples(
        st.lists(ACTIONS, max_size=2),
        st.sampled_from([(FROM, TO), (TO, FROM), (FROM,), (TO,), ()]),
    ),
    min_size=3,
    max_size=9,
)


def act(model: Model, action: str, uid: str, number: int) -> None:
    if uid in model.deleted:  # for good
        return
    home, count, visible = model.real[uid]
    if action == "withdraw":
        model.deleted.add(uid)
        model.real[uid] = (home, count, False)
    elif action == "move":
        model.real[uid] = (TO if home == FROM else FROM, count, visible)
    elif action == "revise":
        model.real[uid] = (home, 100 + number, visible)
    else:
        model.real[uid] = (home, count, action == "show")


class ModelSource:
    """A source that has exactly the Series of a model, and 30 more in each Collection.

    With those, a listing that lacks all Series of the model is plausible.
    """

    name, release = "model", ""

    def __init__(self, model: Model) -> None:
        self.settings, self._model = Settings(), model

    def of(self, _collection: str) -> ModelSource:
        return self

    def expects(self, rows: pa.Table) -> pa.ChunkedArray:
        return pa.chunked_array([[True] * len(rows)], pa.bool_())

    def gone_in(self, uids: list[str]) -> dict[str, str]:
        del uids
        return {}

    def rows(self, _table: Table, key: str, *, known: str = "") -> SourceRows:
        del known
        listed = [
            (uid, count)
            for uid, (home, count, visible) in self._model.real.items()
            if visible and home == key
        ]
        listed += [(f"{key} {number}", 1) for number in range(30)]
        uids, counts = zip(*listed, strict=True)
        columns = {"SeriesInstanceUID": uids, "Collection": [key] * len(uids), "ImageCount": counts}
        return SourceRows(pa.table({name: list(values) for name, values in columns.items()}))

    def probe(
        self, collection: str, missing: pa.Table, _listed: pa.Table, limit: int
    ) -> ProbeResult:
        uids = missing["SeriesInstanceUID"].to_pylist()
        assert len(uids) <= limit
        real = {uid: self._model.real[uid] for uid in uids}
        gone = [uid for uid, (_, _, visible) in real.items() if not visible]
        elsewhere = {
            uid: home for uid, (home, _, visible) in real.items() if visible and home != collection
        }
        return ProbeResult(gone, elsewhere, len(uids))


def rows_of(known: list[dict[str, Any]], uids: list[str]) -> dict[tuple[str, str], tuple[Any, ...]]:
    rows = [row for row in known if row["SeriesInstanceUID"] in uids]
    return {
        (row["SeriesInstanceUID"], row["Collection"]): (
            *(row[n] for n in ("ImageCount", "first_seen_at", "listed_since", "missing_since")),
            row["withdrawn_at"] is not None,
            row["moved_to"],
        )
        for row in rows
    }


@pytest.mark.slow
@settings(max_examples=examples(10), deadline=None)
@given(DAYS)
def test_any_script_gives_the_history_of_the_model(
    days: list[tuple[list[tuple[str, int]], tuple[str, ...]]],
) -> None:
    uids = ["1.1", "1.2", "1.3"]
    model = Model({"1.1": (FROM, 1), "1.2": (FROM, 2), "1.3": (TO, 3)})
    with tempfile.TemporaryDirectory() as folder:
        mirror = Mirror(cast(Source, ModelSource(model)), Warehouse(Path(folder)))
        check_days(mirror, model, uids, [([], (FROM, TO)), *days, ([], (TO, FROM))])


def check_days(
    mirror: Mirror,
    model: Model,
    uids: list[str],
    days: list[tuple[list[tuple[str, int]], tuple[str, ...]]],
) -> None:
    seen: dict[int, list[dict[str, Any]]] = {}
    for number, (actions, asked) in enumerate(days):
        for action, place in actions:
            act(model, action, uids[place], number)
        at = day(number)
        mirror.refresh(at, *asked)
        for name in asked:
            model.refresh(name, at)
        model.settle(at)
        seen[number] = mirror.known()
        assert rows_of(seen[number], uids) == model.rows()
        current = mirror.warehouse.query("SELECT SeriesInstanceUID AS uid FROM current_series")
        assert len(current) == len(current["uid"].unique())
    assert sorted(mirror.events(uids)) == sorted(model.events)
    for number, known in seen.items():
        assert mirror.known_at(day(number)) == known
