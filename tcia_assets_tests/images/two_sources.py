"""A data folder whose images come from the sandbox's buckets, from its NBIA, or from both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tcia_assets.images.fetch import FetchResult, fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.idc.index_files import write_index
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_image_sources, open_source
from tcia_assets_tests.images.place import COLLECTION, Place, calling


@dataclass
class TwoSources(Place):
    """A place with the settings of both sources."""

    kind: str = "nbia"
    image_sources: tuple[str, ...] = ()
    idc_connections: int = 8
    max_connections: int = 8

    @property
    def settings(self) -> Settings:
        return super().settings.replace(
            source=self.kind,
            image_sources=self.image_sources,
            idc_index=str(self.data_dir / "index"),
            idc_base_url=self.sandbox.idc_base_url,
            idc_connections=self.idc_connections,
            max_connections=self.max_connections,
        )

    def write_index(self) -> None:
        write_index(self.sandbox.idc, self.data_dir / "index")

    @contextmanager
    def sources(self, **pacing: float) -> Iterator[tuple[Source, ...]]:
        retries = replace(self.pacing, **pacing)
        with (
            open_source(self.settings, pacing=retries) as source,
            open_image_sources(source, pacing=retries) as sources,
        ):
            yield sources

    def fetch(
        self, *uids: str, retry: bool = False, callbacks: Any = None, **pacing: float
    ) -> FetchResult:
        session = FetchSession(Selection(collections=(COLLECTION,), series=uids), retry=retry)
        with self.sources(**pacing) as (first, *others):
            listener = calling(**(callbacks or {}))
            return fetch_images(COLLECTION, session, first, self.warehouse, listener, others)

    def add_fault(self, kind: str, **settings: Any) -> None:
        """Add a fault of the buckets."""
        self.sandbox.faults.add(Fault(kind, dialect="idc", **({"times": 0} | settings)))

    def asked_of(self, *endpoints: str) -> list[str]:
        """Return the Series that were requested, once for each request."""
        last = [seen for seen in self.sandbox.requests.last if seen.endpoint in endpoints]
        return sorted(seen.parameters.get("SeriesInstanceUID", "") for seen in last)
