"""A warehouse that follows a source, one refresh of `series` after the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.catalog import RESTORED_COLUMNS, SERIES
from tcia_assets.metadata import moves
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source, open_source
from tcia_assets.spec import Table
from tcia_assets.store.partition_files import PartitionFiles
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for

DAY_1 = datetime(2026, 1, 1, 3, tzinfo=UTC)
# So large that a listing with a few Series less is plausible.
FROM, TO = "RIDER PHANTOM PET-CT", "Vestibular-Schwannoma-MC-RC"


class Killed(BaseException):
    """The process ended here."""


@contextmanager
def killed_before_writing(table: Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the body, as a kill would, where it is about to write a table."""
    write = PartitionFiles.write

    def killed(files: PartitionFiles, *more: Any) -> Any:
        if files.table is table:
            raise Killed
        return write(files, *more)

    with monkeypatch.context() as patch:
        patch.setattr(PartitionFiles, "write", killed)
        with pytest.raises(Killed):
            yield


def day(number: int) -> datetime:
    return DAY_1 + timedelta(days=number - 1)


class Mirror:
    """A warehouse that follows a source, one refresh after the other."""

    def __init__(self, source: Source, warehouse: Warehouse) -> None:
        self.source, self.warehouse = source, warehouse

    def refresh(self, at: datetime, *collections: str, probes: int = 100) -> list[RefreshResult]:
        budget = ProbeBudget(0, probes)
        done = [
            refresh(SERIES, name, self.source, self.warehouse, at, budget) for name in collections
        ]
        moves.settle_moves(self.warehouse, at)
        return done

    def events(self, uids: list[str] | None = None) -> list[tuple[str, str, str, datetime]]:
        """UID, Collection, event and time of each event, in the order in which they were seen."""
        rows = self.warehouse.query(
            "SELECT SeriesInstanceUID, Collection, event, seen_at FROM changes_since('1970-01-01') "
            "ORDER BY seen_at, SeriesInstanceUID, Collection, number"
        ).to_pylist()
        found = [tuple(row.values()) for row in rows]
        return [event for event in found if uids is None or event[0] in uids]

    def changes(self, uid: str) -> list[dict[str, Any]]:
        return self.warehouse.query(
            "FROM series_changes WHERE SeriesInstanceUID = $uid ORDER BY seen_at, number",
            {"uid": uid},
        ).to_pylist()

    def row(self, uid: str, collection: str) -> dict[str, Any]:
        [row] = self.warehouse.query(
            "FROM series WHERE SeriesInstanceUID = $uid AND Collection = $collection",
            {"uid": uid, "collection": collection},
        ).to_pylist()
        return row

    def homes(self, uid: str) -> list[str]:
        """The Collections in which a Series is current."""
        rows = self.warehouse.query(
            "SELECT Collection FROM current_series WHERE SeriesInstanceUID = $uid", {"uid": uid}
        )
        return rows["Collection"].to_pylist()

    def known(self) -> list[dict[str, Any]]:
        """All current values that the history can restore."""
        names = ", ".join(("SeriesInstanceUID", "Collection", *RESTORED_COLUMNS))
        return self.warehouse.query(f"SELECT {names} FROM series ORDER BY ALL").to_pylist()

    def known_at(self, at: datetime) -> list[dict[str, Any]]:
        return self.warehouse.query("FROM series_as_of($at) ORDER BY ALL", {"at": at}).to_pylist()


class SandboxMirror(Mirror):
    """A mirror of the sandbox, over HTTP."""

    def __init__(self, sandbox: Sandbox, root: Path, first_day: Path | None = None) -> None:
        source = open_source(settings_for(sandbox, root), pacing=IMPATIENT)
        super().__init__(source, Warehouse(root))
        self.archive, self.sandbox, self._first_day = sandbox.archive, sandbox, first_day

    def start(self) -> None:
        """Start with the small Collection as it is at first, refreshed on the first day."""
        assert self._first_day and not list(self.warehouse.root.glob("*"))
        shutil.copytree(self._first_day, self.warehouse.root, dirs_exist_ok=True)

    def uids(self, collection: str, count: int) -> list[str]:
        rows = self.archive.rows(
            "SELECT SeriesInstanceUID AS uid FROM archive.series WHERE Collection = ? "
            "ORDER BY uid LIMIT ?",
            [collection, count],
        )
        return [row["uid"] for row in rows]


def refreshed_without(
    mirror: SandboxMirror, *, days: int = 3, probes: int = 100
) -> list[RefreshResult]:
    """Refresh on so many days from the second on, with the first Series of LCTSC hidden."""
    mirror.start()
    mirror.archive.hide(mirror.uids(SMALL, 1))
    return [
        done
        for number in range(2, days + 2)
        for done in mirror.refresh(day(number), SMALL, probes=probes)
    ]
