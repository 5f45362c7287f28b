"""The Imaging Data Commons as a source: rows from an index release, images from public buckets."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import (
    COLLECTION_DESCRIPTIONS,
    DESCRIPTION_URI,
    IDC_COLLECTIONS,
    IDC_DOI_URL,
    IDC_WIDE,
    SERIES,
    SERIES_SIZES,
    TCIA_DOI,
)
from tcia_assets.errors import Stopped, UnknownReply, UnreadableReply
from tcia_assets.formats.md5_list import combined_md5
from tcia_assets.settings import Settings
from tcia_assets.sources import (
    ClinicalTable,
    Connection,
    Cost,
    FetchedFile,
    ProbeResult,
    SampleReply,
    SourceRows,
    Strictness,
    Target,
)
from tcia_assets.sources.http.rate_limit import of_process
from tcia_assets.sources.http.scratch import Scratch
from tcia_assets.sources.http.transport import Transport
from tcia_assets.sources.idc.bucket import NOT_PUBLIC, SeriesFolder
from tcia_assets.sources.idc.clinical import ClinicalExport
from tcia_assets.sources.idc.index import Index
from tcia_assets.sources.idc.packing import fetch_series, list_series
from tcia_assets.sources.idc.release import index_place, release_of
from tcia_assets.sources.idc.remote_index import RemoteIndex
from tcia_assets.sources.names import releases_of
from tcia_assets.sources.pacing import Pacing
from tcia_assets.spec import Table
from tcia_assets.store.conform import empty

_UID = SERIES.key[0]
# The bucket that has most Series, to try a connection.
_BUCKET = "idc-open-data"
_MOST_SAMPLED = 100
# What is needed to fetch a Series.
_PLACE = (
    "SeriesInstanceUID, Collection, ImageCount, FileSize, LicenseName, LicenseURI, "
    "DataDescriptionURI, aws_bucket, crdc_series_uuid"
)


class IdcSource:
    """The Imaging Data Commons as a `Source` (see there).

    The index release is opened by the first method that needs it, and stays the same until `close`.

    Args:
        settings: Which index release, which buckets, with how many connections.
        pacing: Timeouts and retries.
    """

    def __init__(self, settings: Settings, *, pacing: Pacing | None = None) -> None:
        self.settings = settings
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._scratch: Scratch | None = None
        self._opened: Index | None = None
        self._transport = Transport(
            settings.idc_connections,
            pacing or Pacing(),
            not_public=NOT_PUBLIC,
            rate_limit=of_process(settings.max_bytes_per_second),
            address="TCIA_IDC_BASE_URL",
        )
        self._index_transport = Transport(
            1,
            pacing or Pacing(),
            rate_limit=of_process(settings.max_bytes_per_second),
            address="TCIA_IDC_INDEX",
        )
        # Its threads start with the first object.
        self._pool = ThreadPoolExecutor(settings.idc_connections, "tcia-idc")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def index(self) -> Index:
        """The index release, opened."""
        if self._stopped.is_set():
            raise Stopped
        with self._lock:
            if self._opened is None:
                place = index_place(self.settings)
                folder = place if isinstance(place, Path) else self._remote(place).folder()
                self._scratch = self._scratch or Scratch()
                is_whole = self.settings.idc_scope == "all"
                self._opened = Index(folder, self._scratch.path, is_whole=is_whole)
            return self._opened

    @property
    def name(self) -> str:
        return f"idc-v{self.index.version}@{self.settings.idc_host}"

    @property
    def release(self) -> str:
        if self._opened is None:
            # The index need not be opened for it, and one behind a URL not be downloaded.
            place = index_place(self.settings)
            if isinstance(place, Path):
                return self._with_scope(release_of(place))
            return self._with_scope(self._remote(place).newest())
        return self._with_scope(self._opened.release)

    def _with_scope(self, release: str) -> str:
        # With another scope, other Series are listed.
        return f"{release}{IDC_WIDE}" if self.settings.idc_scope == "all" else release

    def expects(self, rows: pa.Table) -> pa.ChunkedArray:
        releases = releases_of(rows["source"])
        # What a newer release has added is in none of the older ones.
        is_known = pc.less_equal(releases, int(self.index.version))
        is_known = pc.fill_null(is_known, fill_value=False)
        if self.settings.idc_scope == "all":
            return is_known
        of_tcia = pc.starts_with(rows[DESCRIPTION_URI.name], f"{IDC_DOI_URL}{TCIA_DOI}")
        return pc.and_(is_known, pc.fill_null(of_tcia, fill_value=False))

    def _remote(self, url: str) -> RemoteIndex:
        return RemoteIndex(url, self.settings.root / "idc-index", self._index_transport)

    @property
    def released_on(self) -> date | None:
        return self.index.released_on

    def gone_in(self, uids: Sequence[str]) -> dict[str, str]:
        return self.index.gone_in(uids)

    @property
    def connections(self) -> int:
        return self._transport.connections

    @property
    def hash_levels(self) -> tuple[str, ...]:
        return (_UID,)

    @property
    def zip_routes(self) -> tuple[str, ...]:
        return ("objects",)

    @property
    def md5_routes(self) -> tuple[str, ...]:
        # To fetch a Series again would prove no more than the first time.
        return ()

    def of(self, _collection: str) -> IdcSource:
        return self

    def rows(self, table: Table, key: str = "", *, known: str = "") -> SourceRows:
        # All rows of a release stay the same.
        digest = self.index.digest
        if known == digest:
            return SourceRows(empty(table), digest=digest, is_known=True)
        found = replace(self.index.rows(table, key), digest=digest)
        if not found.table.num_rows and table is not COLLECTION_DESCRIPTIONS:
            raise UnknownReply(
                f"index release {self.index.release} has no {table.name} of {key or 'anything'!r}"
            )
        return found

    def series_sizes(self, uids: Sequence[str]) -> SourceRows:
        return self._rows_of(SERIES_SIZES, _UID, uids)

    def rows_of(self, table: Table, by: str, uids: Sequence[str]) -> SourceRows:
        return self._rows_of(table, by, uids)

    def _rows_of(self, table: Table, by: str, uids: Sequence[str]) -> SourceRows:
        """Return the rows of these, and a row with nothing else for each that there is not."""
        found = self.index.rows_of(table, by, uids)
        wanted = pa.array(uids, pa.string())
        is_absent = pc.invert(pc.is_in(wanted, value_set=found.table[by].combine_chunks()))
        absent = pa.table({by: wanted.filter(is_absent)})
        rows = pa.concat_tables([found.table, absent], promote_options="default")
        return SourceRows(rows, promised=found.promised, unreadable=found.unreadable)

    def changed_since(self, day: date) -> None:
        del day

    def probe(
        self, collection: str, missing: pa.Table, listed: pa.Table, limit: int
    ) -> ProbeResult:
        del listed, limit  # a look into the index costs nothing
        uids = missing[_UID].to_pylist()
        rows = self.index.rows_of(SERIES, _UID, uids).table
        homes = dict(zip(rows[_UID].to_pylist(), rows["Collection"].to_pylist(), strict=True))
        return ProbeResult(
            # What no earlier release had either may be a mistake in this one.
            gone=[*self.gone_in([uid for uid in uids if uid not in homes])],
            elsewhere={uid: home for uid, home in homes.items() if home != collection},
            probed=len(uids),
        )

    def md5_hash(self, **node: str) -> str:
        series = self._series(node[_UID])
        objects = list_series(self._folder(series), series, Cost())
        if not all(each.md5 for each in objects):
            raise UnreadableReply("the bucket does not list the MD5 of each object of this Series")
        return combined_md5(each.md5 for each in objects)

    def fetch_zip(self, route: str, uid: str, target: Target) -> FetchedFile:
        del route
        series = self._series(uid)
        return fetch_series(self._folder(series), series, self._pool, target)

    def _series(self, uid: str) -> dict[str, Any]:
        """Return the row of a Series in the index."""
        found = self.index.find(uid, _PLACE)
        if found is None:
            raise UnknownReply(f"index release {self.index.release} does not have this Series")
        return found

    def _folder(self, series: dict[str, Any]) -> SeriesFolder:
        bucket, uuid = series["aws_bucket"] or "", series["crdc_series_uuid"] or ""
        return SeriesFolder(self._transport, self.settings.idc_base_url, bucket, uuid)

    def clinical_tables(self, collection: str) -> list[ClinicalTable]:
        named = self.index.query(
            f"SELECT collection_id AS id FROM {IDC_COLLECTIONS.name} WHERE collection_name = $name",
            {"name": collection},
        )["id"].to_pylist()
        return [table for name in named for table in self._clinical.tables(name)]

    def clinical_rows(self, name: str) -> pa.Table:
        return self._clinical.rows(name)

    @cached_property
    def _clinical(self) -> ClinicalExport:
        return ClinicalExport(self._transport, self.settings.idc_base_url, self.index.version)

    def object_uids(self, uid: str) -> None:
        del uid  # only the objects themselves have their UIDs

    def fetch_object(self, uid: str, sop_instance_uid: str, target: Target) -> FetchedFile:
        del uid, target
        raise UnknownReply(f"the IDC cannot be asked for object {sop_instance_uid} alone")

    def connect(self) -> Connection:
        url = self.settings.idc_base_url.replace("{bucket}", _BUCKET)
        return self._transport.connect(url, {"list-type": "2", "max-keys": "1"})

    def sample(self, table: Table, **filters: str) -> SampleReply:
        found = self.rows(table, filters.pop(table.partitioned_by, ""))
        rows = found.table
        for name, value in filters.items():
            rows = rows.filter(pc.equal(rows[name], value))
        return SampleReply(replace(found, table=rows.slice(0, _MOST_SAMPLED)))

    def strictness(self) -> Strictness:
        # A query with a column that the index does not have is an error.
        return Strictness(refuses=True, declared=True)

    @contextmanager
    def waiting_until(self, deadline: float) -> Iterator[None]:
        with (
            self._transport.waiting_until(deadline),
            self._index_transport.waiting_until(deadline),
        ):
            yield

    def stop(self) -> None:
        self._stopped.set()
        self._transport.stop()
        self._index_transport.stop()

    def close(self) -> None:
        self._pool.shutdown()
        self._transport.close()
        self._index_transport.close()
        if self._opened:
            self._opened.close()
        if self._scratch:
            self._scratch.close()
