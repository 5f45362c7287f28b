"""The NBIA REST API as a source: which endpoints a dialect needs for what the mirror wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from tcia_assets.catalog import SERIES_SIZES
from tcia_assets.settings import Settings
from tcia_assets.sources import FetchedFile, ProbeResult, SourceRows
from tcia_assets.sources.nbia.client import Client
from tcia_assets.sources.nbia.probe import probe
from tcia_assets.sources.pacing import Pacing
from tcia_assets.spec import Table

_HASHES, _UPDATES, _OBJECT_UIDS = "getMD5Hierarchy", "getUpdatedSeries", "getSOPInstanceUIDs"


class NbiaSource:
    """A `Source` (see there) over an NBIA server."""

    def __init__(self, settings: Settings, *, pacing: Pacing | None = None) -> None:
        self.settings = settings
        self.client = Client(settings, pacing=pacing)
        self._dialect = self.client.dialect

    @property
    def name(self) -> str:
        return self.settings.source

    @property
    def connections(self) -> int:
        return self.client.connections

    @property
    def hash_levels(self) -> tuple[str, ...]:
        if not self._dialect.has(_HASHES):
            return ()
        return tuple(p.name for p in self._dialect.endpoint(_HASHES).parameters)

    @property
    def zip_routes(self) -> tuple[str, ...]:
        return self._dialect.zip_endpoints

    def rows(self, table: Table, key: str = "") -> SourceRows:
        return self.client.get_rows(
            table.endpoint, **({table.partitioned_by: key} if table.partitioned_by else {})
        )

    def series_sizes(self, uids: Sequence[str]) -> SourceRows:
        return self.client.get_rows_for_each(SERIES_SIZES.endpoint, "SeriesInstanceUID", uids)

    def changed_since(self, day: date) -> SourceRows | None:
        if not self._dialect.has(_UPDATES):
            return None
        return self.client.get_rows_if_any(_UPDATES, since=day)

    def probe(
        self, collection: str, missing: pa.Table, listed: pa.Table, limit: int
    ) -> ProbeResult:
        return probe(self.client, collection, missing, listed, limit)

    def md5_hash(self, **node: str) -> str:
        return self.client.get_hash(_HASHES, **node)

    def fetch_zip(
        self,
        route: str,
        uid: str,
        path: Path,
        *,
        max_bytes: int | None,
        on_bytes: Callable[[int], None],
    ) -> FetchedFile:
        return self.client.download(
            route, path, max_bytes=max_bytes, on_bytes=on_bytes, SeriesInstanceUID=uid
        )

    def object_uids(self, uid: str) -> frozenset[str] | None:
        if not (self._dialect.serves_single_images and self._dialect.lists_sop_instance_uids):
            return None
        rows = self.client.get_rows(_OBJECT_UIDS, SeriesInstanceUID=uid).table
        return frozenset(rows["SOPInstanceUID"].to_pylist())

    def fetch_object(
        self,
        uid: str,
        sop_instance_uid: str,
        path: Path,
        *,
        max_bytes: int | None,
        on_bytes: Callable[[int], None],
    ) -> FetchedFile:
        return self.client.download(
            "getSingleImage",
            path,
            max_bytes=max_bytes,
            on_bytes=on_bytes,
            SeriesInstanceUID=uid,
            SOPInstanceUID=sop_instance_uid,
        )

    def waiting_until(self, deadline: float) -> AbstractContextManager[None]:
        return self.client.waiting_until(deadline)

    def stop(self) -> None:
        self.client.stop()

    def close(self) -> None:
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()
