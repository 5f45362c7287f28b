"""A data folder and the sandbox that it mirrors, and what must always be true of both."""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets import catalog
from tcia_assets.images.fetch import FetchListener, FetchResult, fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.journal import journals_in
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.verify import VerifyResult, verify_zips
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import Pacing, Source, open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import settings_for

# It has a space in its name, which its folder does not have.
COLLECTION = "RIDER Lung CT"
FOLDER = "RIDER%20Lung%20CT"
# Failures cost milliseconds, and a reply that does not come is given up soon.
QUICK = Pacing(
    attempts=2,
    attempts_when_in_doubt=2,
    first_wait_s=0.001,
    longest_wait_s=0.001,
    longest_retry_after_s=0.001,
    read_timeout_s=5.0,
    slowest_read_s=5.0,
)

Row = dict[str, Any]


def small_catalogue(series: int, images: int) -> pa.Table:
    """Return the metadata of Series of one Collection, with CT images of 12 KiB each."""
    rows = series_rows.load()
    rows = rows.filter(pc.equal(rows["Collection"], COLLECTION)).slice(0, series)
    counts = pa.array([images] * rows.num_rows, pa.int64())
    return rows.set_column(rows.schema.get_field_index("ImageCount"), "ImageCount", counts)


def calling(**functions: Callable[..., object]) -> FetchListener:
    """Return a listener whose methods are these functions."""
    listener = FetchListener()
    vars(listener).update(functions)
    return listener


@dataclass
class Place:
    """A data folder and the sandbox that it mirrors."""

    sandbox: Sandbox
    data_dir: Path
    pacing: Pacing = field(default=QUICK)
    dialect: str = "nbia-v4"
    archives_url: str = ""
    cache_bytes: int = 20_000_000_000
    max_connections: int = 8
    _revisions: int = 0

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse.of(self.settings)

    @property
    def settings(self) -> Settings:
        own = settings_for(self.sandbox, self.data_dir, self.dialect)
        names = ("archives_url", "cache_bytes", "max_connections")
        return own.replace(**{name: getattr(self, name) for name in names})

    @contextmanager
    def source(self, **pacing: float) -> Iterator[Source]:
        with open_source(self.settings, pacing=replace(self.pacing, **pacing)) as source:
            yield source

    # --- What a user does -----------------------------------------------------------------------

    def refresh(self) -> None:
        """Store what the sandbox lists now, and sizes where the list has none."""
        tables = [catalog.SERIES]
        if not self.dialect.startswith("nbia"):
            tables.append(catalog.SERIES_SIZES)
        with self.source() as source:
            now, budget = datetime.now(UTC), ProbeBudget(100)
            for table in tables:
                refresh(table, COLLECTION, source, self.warehouse, now, budget)

    def fetch(self, *uids: str, retry: bool = False, **pacing: float) -> FetchResult:
        """Fetch these Series, or all."""
        with self.source(**pacing) as source:
            return self.fetch_by(source, *uids, retry=retry)

    def fetch_by(
        self,
        source: Source,
        *uids: str,
        shard: Shard = Shard(),  # noqa: B008 - frozen
        retry: bool = False,
        **callbacks: Any,
    ) -> FetchResult:
        session = FetchSession(
            Selection(collections=(COLLECTION,), series=uids), shard, retry=retry
        )
        return fetch_images(COLLECTION, session, source, self.warehouse, calling(**callbacks))

    def verify(self) -> VerifyResult:
        """Look at all zips; rows of those that are lost or damaged say so afterwards."""
        return verify_zips(COLLECTION, self.warehouse)

    # --- What goes wrong ------------------------------------------------------------------------

    def spoil(self, kind: str, *uids: str, endpoint: str = "", **settings: Any) -> None:
        """Add a fault to all later requests for these Series."""
        for uid in uids:
            self.sandbox.faults.add(Fault(kind, endpoint, times=0, series=uid, **settings))

    def revise(self, *uids: str, image_count: int | None = None) -> None:
        """Give these Series other images, each time a day later than before.

        The source gives only the day of a change, so two changes on one day look like one.
        """
        self._revisions += 1
        at = datetime.now(UTC) + timedelta(days=self._revisions)
        known = self.sandbox.archive
        with mock.patch.object(known, "_now", return_value=at):
            known.revise(uids, image_count=image_count)

    def without_single_images(self) -> None:
        """Make requests for single images fail, so that no bad zip can be completed."""
        self.sandbox.faults.add(Fault("status", "getSingleImage", times=0, status=500))

    def when_asked(self, endpoint: str, happens: Callable[[], object]) -> None:
        """Call a function right before the next request to an endpoint."""
        self.sandbox.faults.add(_Moment("empty", endpoint, happens=happens))

    # --- What there is --------------------------------------------------------------------------

    @property
    def uids(self) -> list[str]:
        rows = self.sandbox.archive.rows("SELECT SeriesInstanceUID AS u FROM archive.series")
        return sorted(row["u"] for row in rows)

    @property
    def rows(self) -> dict[str, Row]:
        if not self.warehouse.has(catalog.IMAGE_ARCHIVES, COLLECTION):
            return {}
        rows = self.warehouse.read(catalog.IMAGE_ARCHIVES, [COLLECTION]).to_pylist()
        return {row["SeriesInstanceUID"]: row for row in rows}

    @property
    def folder(self) -> Path:
        return self.data_dir / "archives" / FOLDER

    def zip(self, uid: str) -> Path:
        return self.folder / f"{uid}.zip"

    def quarantined(self, uid: str) -> tuple[bool, bool]:
        """Return whether its zip, and the reason, are in quarantine."""
        path = self.data_dir / "quarantine" / FOLDER / f"{uid}.zip"
        return path.is_file(), path.with_suffix(".json").is_file()

    def asked(self, *endpoints: str) -> list[str]:
        """Return the Series whose zips were requested, once for each request."""
        routes = endpoints or ("getImage", "getImageWithMD5Hash")
        last = [seen for seen in self.sandbox.requests.last if seen.endpoint in routes]
        return sorted(seen.parameters["SeriesInstanceUID"] for seen in last)

    # --- What must hold -------------------------------------------------------------------------

    def demand_sound(self) -> None:
        """Check that zips and manifest agree, and that nothing else is on disk."""
        zips = sorted(p for p in self.data_dir.rglob("*.zip") if "quarantine" not in p.parts)
        rows = {row["path"]: row for row in self.rows.values() if row["path"]}
        assert [str(p.relative_to(self.data_dir)) for p in zips] == sorted(rows)
        for path in zips:
            demand_as_recorded(path, rows[str(path.relative_to(self.data_dir))])
        for row in self.rows.values():
            assert (row["status"] == "complete") == (row["error"] is None)
        assert self.leftovers() == []

    def demand_complete(self) -> None:
        """Check that exactly what the sandbox has now is on disk, to the byte."""
        self.demand_sound()
        assert {uid: row["status"] for uid, row in self.rows.items()} == dict.fromkeys(
            self.uids, "complete"
        )
        for uid in self.uids:
            assert sorted(images_in(self.zip(uid)).values()) == self.true_md5s(uid), uid
            assert self.quarantined(uid) == (False, False)

    def true_md5s(self, uid: str) -> list[str]:
        """Return the MD5s of the images that the sandbox has of a Series now."""
        facts = self.sandbox.archive.find(uid)
        assert facts is not None
        return sorted(md5(content) for _, content in self.sandbox.archive.objects(facts))

    def leftovers(self) -> list[str]:
        """Return the files beside the zips that only a living run may have."""
        beside = [p for p in self.folder.glob(".*") if p.name != ".runs"]
        return sorted(p.name for p in [*beside, *journals_in(self.folder)])


def images_in(path: Path) -> dict[str, str]:
    """Return the MD5 of each image in a zip, by name, and check them with its MD5 list."""
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        names = set(file.namelist()) - {"LICENSE", "md5hashes.csv"}
        found = {name: md5(file.read(name)) for name in names}
        lines = file.read("md5hashes.csv").decode().splitlines()
    assert found == {row["Filename"]: row["MD5Hash"] for row in csv.DictReader(lines)}
    return found


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class _Moment(Fault):
    """Calls a function once, when a request arrives; the request itself succeeds."""

    happens: Callable[[], object] = int
    done: list[bool] = field(default_factory=list)

    def matches(self, dialect: str, endpoint: str, values: dict[str, str], *, returns: str) -> bool:
        del dialect, values, returns
        if endpoint == self.endpoint and not self.done:
            self.done.append(True)
            self.happens()
        return False


def demand_as_recorded(path: Path, row: Row) -> None:
    """Demand that a zip has the bytes and objects that its row of the manifest says."""
    body = path.read_bytes()
    assert hashlib.sha256(body).hexdigest() == row["sha256"]
    assert len(body) == row["archive_bytes"]
    assert len(images_in(path)) == row["image_count"]
