"""A folder of DICOM files as a `Source`: rows from the headers, zips packed from the files."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pyarrow as pa

from tcia_assets.catalog import (
    COLLECTION_DESCRIPTIONS,
    COLLECTIONS,
    FILES_MD5,
    SERIES,
    VALUE_TABLES,
)
from tcia_assets.errors import Stopped, UnknownReply
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.settings import Settings
from tcia_assets.sources import (
    ClinicalTable,
    Connection,
    FetchedFile,
    ProbeResult,
    SampleReply,
    SourceRows,
    Strictness,
    Target,
)
from tcia_assets.sources.folder.packing import ScannedFile, pack
from tcia_assets.sources.folder.scan import FolderContents, FolderScan
from tcia_assets.sources.http.scratch import Scratch
from tcia_assets.sources.names import FOLDER_NAME, is_of_family
from tcia_assets.spec import Table
from tcia_assets.store import sql
from tcia_assets.store.conform import empty

_UID = SERIES.key[0]
# What no header says: expressions over the objects of a row, by column.
_COUNTED = {
    "ImageCount": "count(*)",
    "FileSize": "sum(size_bytes)::BIGINT",
    "MaxSubmissionTimestamp": "max(modified_at)",
    "SeriesCount": "count(DISTINCT SeriesInstanceUID)",
    FILES_MD5.name: "md5(string_agg(concat_ws(' ', SOPInstanceUID, size_bytes, modified_ns), ',' "
    "ORDER BY SOPInstanceUID))",
}


class FolderSource:
    """A folder of DICOM files as a `Source` (see there), which has one Collection.

    The folder is read once, by `scan` or the first method that needs it.

    Args:
        settings: The data folder, which is not looked into.
        folder: The folder.
        collection: The name of the Collection.
    """

    release = ""
    released_on = None
    hash_levels: tuple[str, ...] = ()
    zip_routes = ("files",)
    md5_routes: tuple[str, ...] = ()

    def __init__(self, settings: Settings, folder: Path, collection: str) -> None:
        self.settings, self._collection = settings, collection
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._scratch = Scratch()
        self._scan = FolderScan(folder, self._scratch.path, settings.root)
        self._contents: FolderContents | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        return FOLDER_NAME

    @property
    def connections(self) -> int:
        return self.settings.image_connections

    def scan(self, report: ProgressCallback = ignore_progress) -> FolderContents:
        """Read the folder, unless it was read; return how many files are what.

        Args:
            report: Called with the number of files read and their total.

        Raises:
            UsageError: As `FolderScan.run`.
            StorageError: As `FolderScan.run`.
        """
        with self._lock:
            if self._contents is None:
                self._contents = self._scan.run(report)
            return self._contents

    def of(self, _collection: str) -> FolderSource:
        return self

    def rows(self, table: Table, key: str = "", *, known: str = "") -> SourceRows:
        del known  # reading the folder is what takes time
        if table is COLLECTIONS:
            return SourceRows(pa.table({"Collection": [self._collection]}))
        if table is COLLECTION_DESCRIPTIONS:
            return SourceRows(empty(table))
        if key != self._collection:
            raise UnknownReply(f"the folder has no Collection {key!r}")
        found = self._rows(table)
        if table is SERIES and not found.table.num_rows:
            raise UnknownReply("the folder has no DICOM object")
        return found

    def _rows(self, table: Table, condition: str = "true", **parameters: object) -> SourceRows:
        """Return the rows of a table, each made from its objects, in the order of their UIDs."""
        self._require_running()
        identity = table.key[-1]
        columns = {
            c.name: _expression(c.name) for c in table.columns if c.tag or c.name in _COUNTED
        }
        columns["Collection"] = sql.literal(self._collection)
        columns[identity] = sql.identifier(identity)
        selected = ", ".join(f"{what} AS {sql.identifier(n)}" for n, what in columns.items())
        nulls = "true" if table in VALUE_TABLES else f"{sql.identifier(identity)} IS NOT NULL"
        rows = self._scan.query(
            f"SELECT {selected} FROM objects WHERE {nulls} AND ({condition}) "
            f"GROUP BY {sql.identifier(identity)} ORDER BY {sql.identifier(identity)}",
            parameters or None,
        )
        return SourceRows(rows, promised=tuple(columns))

    def expects(self, rows: pa.Table) -> pa.ChunkedArray:
        return is_of_family(rows["source"], self.name)

    def series_sizes(self, uids: Sequence[str]) -> SourceRows:
        # They are in `series`.
        return SourceRows(pa.table({_UID: pa.array(uids, pa.string())}))

    def rows_of(self, table: Table, by: str, uids: Sequence[str]) -> SourceRows:
        wanted = list(uids)
        found = self._rows(table, f"list_contains($uids, {sql.identifier(by)})", uids=wanted)
        absent = sorted(set(wanted) - set(found.table[by].to_pylist()))
        others = pa.table({by: pa.array(absent, pa.string())})
        rows = pa.concat_tables([found.table, others], promote_options="default")
        return SourceRows(rows, promised=found.promised)

    def changed_since(self, day: object) -> None:
        del day

    def gone_in(self, uids: Sequence[str]) -> dict[str, str]:
        del uids
        return {}

    def probe(
        self, collection: str, missing: pa.Table, listed: pa.Table, limit: int
    ) -> ProbeResult:
        del collection, listed
        self._require_running()
        uids = missing[_UID].to_pylist()[:limit]
        found = self._scan.query(
            "SELECT DISTINCT SeriesInstanceUID AS uid FROM objects "
            "WHERE list_contains($uids, SeriesInstanceUID)",
            {"uids": uids},
        )
        here = set(found["uid"].to_pylist())
        return ProbeResult(gone=[uid for uid in uids if uid not in here], probed=len(uids))

    def md5_hash(self, **node: str) -> str:
        raise UnknownReply(f"a folder has no hashes; asked for {node}")

    def fetch_zip(self, route: str, uid: str, target: Target) -> FetchedFile:
        del route
        self._require_running()
        rows = self._scan.query(
            "SELECT SOPInstanceUID, path, size_bytes, modified_ns FROM objects "
            "WHERE SeriesInstanceUID = $uid",
            {"uid": uid},
        ).to_pylist()
        if not rows:
            raise UnknownReply("the folder does not have this Series")
        objects = [
            ScannedFile(
                row["SOPInstanceUID"],
                self._scan.path(row["path"]),
                row["size_bytes"],
                row["modified_ns"],
            )
            for row in rows
        ]
        return pack(objects, uid, self._collection, target)

    def clinical_tables(self, collection: str) -> list[ClinicalTable]:
        del collection
        return []

    def clinical_rows(self, name: str) -> pa.Table:
        raise UnknownReply(f"a folder has no clinical table {name!r}")

    def object_uids(self, uid: str) -> None:
        del uid  # a zip is never completed with single objects: each is packed whole

    def fetch_object(self, uid: str, sop_instance_uid: str, target: Target) -> FetchedFile:
        del uid, target
        raise UnknownReply(f"a folder is not asked for object {sop_instance_uid} alone")

    def connect(self) -> Connection:
        raise UnknownReply("a folder has no connection")

    def sample(self, table: Table, **filters: str) -> SampleReply:
        return SampleReply(self.rows(table, filters.pop(table.partitioned_by, "")))

    def strictness(self) -> Strictness:
        return Strictness(refuses=True, declared=True)

    @contextmanager
    def waiting_until(self, deadline: float) -> Iterator[None]:
        del deadline  # nothing is retried
        yield

    def _require_running(self) -> None:
        if self._stopped.is_set():
            raise Stopped
        self.scan()

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._scan.close()
        self._scratch.close()


def _expression(name: str) -> str:
    """Return what a column is, over the objects of a row: the first one's value, if it has one."""
    return _COUNTED.get(name) or f"arg_min({sql.identifier(name)}, SOPInstanceUID)"
