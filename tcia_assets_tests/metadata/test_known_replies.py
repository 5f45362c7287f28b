"""A reply that is known gives what comparing it once more would give, without reading it.

Two mirrors follow the same sandbox through the same story; one of them forgets, before each
refresh, which replies it knows. All their files are equal at each moment.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tcia_assets import catalog
from tcia_assets.errors import DataError, TciaError
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.known_replies import KnownReply
from tcia_assets.metadata.moves import settle_moves
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.series_index import VISIBLE
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, SourceRows, open_source
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import (
    BY_COLLECTION,
    IMPATIENT,
    SMALL,
    idc_settings_for,
    settings_for,
)
from tcia_assets_tests.metadata.mirror import DAY_1, FROM, Killed, day

KEYS = (SMALL, FROM)
# Tables that differ in how replies are compared; the others are as one of them.
DIFFERENT = (catalog.PATIENTS, catalog.SERIES, catalog.SERIES_SIZES, catalog.MODALITY_VALUES)
KILLED_BEFORE = (catalog.SERIES_CHANGES, catalog.SERIES, catalog.SNAPSHOTS)


class Follower:
    """A mirror of two Collections; it is forgetful if it must compare each reply."""

    def __init__(self, root: Path, tables: Sequence[Table], *, is_forgetful: bool) -> None:
        self.warehouse, self.tables, self.is_forgetful = Warehouse(root), tables, is_forgetful
        self.known = 0

    def refresh(self, source: Source, at: datetime, sizes: int = 0) -> list[str]:
        """Refresh all tables, and return what each refresh did or why it failed."""
        if self.is_forgetful:
            shutil.rmtree(self.warehouse.root / "warehouse" / ".marks", ignore_errors=True)
        budget = ProbeBudget(sizes, 100)
        done = [self._refresh(t, key, source, at, budget) for key in KEYS for t in self.tables]
        # As a run does: the moves of a Collection whose file is damaged are settled by a later one.
        with suppress(DataError):
            settle_moves(self.warehouse, at)
        return done

    def _refresh(
        self, table: Table, key: str, source: Source, at: datetime, budget: ProbeBudget
    ) -> str:
        try:
            result = refresh(table, key, source, self.warehouse, at, budget)
        except TciaError as error:
            return f"{type(error).__name__}: {error}".replace(str(self.warehouse.root), "")
        self.known += result.is_known
        return described(result)

    def files(self) -> dict[str, bytes]:
        """All partitions and their digests; the one before is kept until the next write."""
        found = (self.warehouse.root / "warehouse").rglob("*/part-0.parquet")
        return {str(p.relative_to(self.warehouse.root)): p.read_bytes() for p in found}


def described(result: RefreshResult) -> str:
    counts = (result.rows_before, result.written.rows, result.written.changed, result.unclaimed)
    shown = [
        result.table.name,
        result.key,
        *counts,
        result.unreadable,
        sorted(result.facts.items()),
    ]
    return repr(shown)


class Story:
    """What happens in the archive and to the data folders, by chance."""

    def __init__(
        self,
        sandbox: Sandbox,
        root: Path,
        index: Path,
        seed: int,
        tables: Sequence[Table] = BY_COLLECTION,
    ) -> None:
        self.sandbox, self.chance = sandbox, random.Random(seed)
        self.followers = [
            Follower(root / name, tables, is_forgetful=name == "all") for name in ("known", "all")
        ]
        self.settings: list[Settings] = [
            settings_for(sandbox, root),
            settings_for(sandbox, root, "nbia-v1"),
            idc_settings_for(sandbox, root, index),
        ]
        self.now, self.at = self.settings[0], DAY_1

    def run(self, steps: int) -> int:
        """Let so many things happen by chance; return how many replies were known."""
        return self._tell(
            self.chance.choices(*zip(*self.events(), strict=True))[0] for _ in range(steps)
        )

    def run_each_once(self) -> int:
        """Let each kind of thing happen once; return how many replies were known."""
        return self._tell(happened for happened, _ in self.events())

    def _tell(self, events: Iterable[Callable[[], Any]]) -> int:
        self.refresh()
        for happened in events:
            with happened():
                self.at += self.chance.choice([timedelta(days=1), timedelta(minutes=7)])
                self.refresh()
        return self.followers[0].known

    def refresh(self) -> None:
        sizes = self.chance.choice([0, 0, 3])
        with open_source(self.now, pacing=IMPATIENT) as source:
            done = []
            for follower in self.followers:
                with suppress(Killed):
                    done.append(follower.refresh(source, self.at, sizes))
        first, second = (follower.files() for follower in self.followers)
        assert first.keys() == second.keys()
        assert [name for name in first if first[name] != second[name]] == []
        if len(done) == len(self.followers):
            # Comparing reads more files, so it may fail for one that a known reply does not need.
            pairs = [pair for pair in zip(*done, strict=True) if "is not readable" not in pair[1]]
            assert [pair for pair in pairs if pair[0] != pair[1]] == []

    def events(self) -> list[tuple[Callable[[], Any], int]]:
        return [
            (self.nothing, 8),
            (self.change, 6),
            (self.odd_value, 2),
            (self.another_source, 3),
            (self.lost_file, 3),
            (self.killed, 3),
        ]

    @contextmanager
    def nothing(self) -> Iterator[None]:
        yield

    @contextmanager
    def change(self) -> Iterator[None]:
        archive, uids = self.sandbox.archive, self.uids(self.chance.choice(KEYS))
        other = self.chance.choice(KEYS)
        self.chance.choice(
            [
                lambda: archive.hide(uids),
                lambda: archive.show(uids),
                lambda: archive.withdraw(uids[:1]),
                lambda: archive.move(uids[:1], to=other),
                lambda: archive.revise(uids, image_count=self.chance.randrange(500)),
            ]
        )()
        yield

    @contextmanager
    def odd_value(self) -> Iterator[None]:
        column = self.chance.choice(["SeriesDate", "StudyDate", "ImageCount"])
        self.sandbox.faults.add(Fault("bad_value", column=column, value="odd", rows=2, times=0))
        try:
            yield
        finally:
            self.sandbox.faults.clear()

    @contextmanager
    def another_source(self) -> Iterator[None]:
        self.now = self.chance.choice(self.settings)
        yield

    @contextmanager
    def lost_file(self) -> Iterator[None]:
        """Delete or damage one partition in both folders, and afterwards delete it."""
        files = self.followers[0].files()
        name = self.chance.choice(sorted(files))
        is_damaged, place = self.chance.random() < 0.5, self.chance.randrange(len(files[name]))
        for follower in self.followers:
            path = follower.warehouse.root / name
            damaged = bytearray(files[name])
            damaged[place] ^= 0x41
            path.write_bytes(damaged) if is_damaged else path.unlink()
        yield
        for follower in self.followers:
            (follower.warehouse.root / name).unlink(missing_ok=True)

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Change a listed Series of each Collection, and end the refresh that finds it."""
        table = self.chance.choice(KILLED_BEFORE)
        # An index release does not follow the archive: nothing would be written for it.
        self.now = self.chance.choice(self.settings[:2])
        for key in KEYS:
            self.sandbox.archive.revise(self.uids(key), image_count=int(self.at.timestamp()))
        with pytest.MonkeyPatch.context() as patch:
            for follower in self.followers:
                patch.setattr(follower.warehouse, "write", kill_before(table, follower.warehouse))
            yield

    def uids(self, key: str) -> list[str]:
        """Two of the first Series of a Collection, one of them listed; none if none is listed."""
        rows = self.sandbox.archive.rows(
            "SELECT SeriesInstanceUID AS uid, state FROM archive.series WHERE Collection = ? "
            "ORDER BY uid",
            [key],
        )
        listed = [row["uid"] for row in rows if row["state"] == VISIBLE]
        if not listed:
            return []
        return [self.chance.choice(listed[:9]), self.chance.choice(rows[:9])["uid"]]


def kill_before(table: Table, warehouse: Warehouse) -> Callable[..., Any]:
    write = warehouse.write

    def killed(written: Table, *more: Any) -> Any:
        if written is table:
            raise Killed
        return write(written, *more)

    return killed


def test_known_replies_leave_the_files_that_comparing_them_would_leave(
    sandbox: Sandbox, idc_index: Path, tmp_path: Path
) -> None:
    story = Story(sandbox, tmp_path, idc_index, 1, DIFFERENT)
    assert story.run_each_once() > len(story.events())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 12))
def test_known_replies_leave_those_files_whatever_happens(
    sandbox: Sandbox, idc_index: Path, tmp_path: Path, seed: int
) -> None:
    assert Story(sandbox, tmp_path, idc_index, seed).run(60) > 60


def test_a_series_whose_absence_is_not_decided_keeps_its_collection_compared(
    source: Source, warehouse: Warehouse, sandbox: Sandbox
) -> None:
    refresh(catalog.SERIES, SMALL, source, warehouse, day(1), ProbeBudget(0, 9))
    [uid] = sandbox.archive.withdraw(
        [
            sandbox.archive.rows(
                "SELECT min(SeriesInstanceUID) AS uid FROM archive.series WHERE Collection = ?",
                [SMALL],
            )[0]["uid"]
        ]
    )
    done = [
        refresh(catalog.SERIES, SMALL, source, warehouse, day(n), ProbeBudget(0, 9))
        for n in range(2, 7)
    ]
    # The third listing without it decides.
    assert [each.facts["withdrawn"] for each in done] == [0, 0, 1, 1, 1]
    assert [each.is_known for each in done] == [False, False, False, True, True]
    [row] = warehouse.query("FROM series WHERE SeriesInstanceUID = $uid", {"uid": uid}).to_pylist()
    assert row["withdrawn_at"] == day(4)


def test_sizes_are_requested_until_all_are_known(source: Source, warehouse: Warehouse) -> None:
    refresh(catalog.SERIES, SMALL, source, warehouse, day(1), ProbeBudget(0))
    asked, known = [], []
    for requests in (6, 0, 9, 9):
        done = refresh(
            catalog.SERIES_SIZES, SMALL, source, warehouse, day(2), ProbeBudget(requests)
        )
        asked.append((done.facts["asked"], done.facts["remaining"]))
        known.append(done.is_known)
    assert asked == [(6, 4), (0, 4), (4, 0), (0, 0)]
    assert known == [False, True, False, True]


def test_what_was_accepted_once_is_not_accepted_for_ever(
    source: Source, warehouse: Warehouse, sandbox: Sandbox
) -> None:
    refresh(catalog.PATIENTS, SMALL, source, warehouse, day(1), ProbeBudget(0))
    done = [
        refresh(
            catalog.PATIENTS, SMALL, source, warehouse, day(2), ProbeBudget(0), accept_schema=accept
        )
        for accept in (True, True, False, False)
    ]
    assert [each.is_known for each in done] == [False, True, False, True]


class Late:
    """A source whose reply arrived earlier."""

    def __init__(self, source: Source, table: Table) -> None:
        self._source, self._reply = source.of(SMALL), source.of(SMALL).rows(table, SMALL)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def of(self, key: str) -> Late:
        del key
        return self

    def rows(self, table: Table, key: str, known: str = "") -> SourceRows:
        del table, key, known
        return self._reply


def test_a_reply_is_not_known_by_the_rows_that_another_run_stored(
    source: Source, warehouse: Warehouse, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of an older reply is as fast as the lock of the partition lets it be."""
    table, keep = catalog.SERIES, KnownReply.keep
    refresh(table, SMALL, source, warehouse, day(1), ProbeBudget(0))
    late: Any = Late(source, table)
    sandbox.archive.revise(collection=SMALL, count=1)
    args = (table, SMALL, late, warehouse, day(2), ProbeBudget(0))
    other = Thread(target=refresh, args=args)

    def keep_later(*args: Any, **settings: Any) -> None:
        if not other.ident:
            other.start()
            other.join(0.7)
        keep(*args, **settings)

    monkeypatch.setattr(KnownReply, "keep", keep_later)
    refresh(table, SMALL, source, warehouse, day(2), ProbeBudget(0))
    other.join()
    after = refresh(table, SMALL, source, warehouse, day(3), ProbeBudget(0))

    assert (after.is_known, after.facts["changed"]) == (False, 1)
