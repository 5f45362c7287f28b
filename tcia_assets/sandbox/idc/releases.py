"""The Series of each release of the Imaging Data Commons (IDC) that the sandbox plays.

The first release is that of `first_release.py`. Later changes of the archive reach the IDC with the
next one: `publish`.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.idc import first_release
from tcia_assets.store import files, sql

_RELEASES = "releases"  # in the metadata of the file that keeps them
_MEMORY = "1GB"  # to sort half a million rows
_PAGE_SIZE = 1000
# The columns of the archive that are kept as they were at the time of a release.
_OF_ARCHIVE = """
    SELECT now.* EXCLUDE (state, bytes), original.Collection AS file_collection
    FROM archive.{rows} AS now JOIN archive.catalogue AS original USING (row_number)
"""
_SAME_FILES = "v.revision = n.revision AND v.ImageCount = n.ImageCount"


@dataclass(frozen=True)
class StoredSeries:
    """A version of a Series that the buckets have: its row, and what its files are made from."""

    crdc_series_uuid: str
    bucket: str
    row: dict[str, Any]
    source: dict[str, Any] | None
    revision: int

    @property
    def uid(self) -> str:
        """The SeriesInstanceUID."""
        return str(self.row["SeriesInstanceUID"])

    @property
    def is_in_parts(self) -> bool:
        """Whether the ETags of its objects are no MD5."""
        return self.row["Modality"] in first_release.IN_PARTS


class Releases:
    """The releases over an archive; safe to use from many threads.

    Args:
        archive: The archive that the IDC copies.
        file: Keeps the releases; those that it has are there at the start.

    Attributes:
        archive: The same.
        page_size: The most objects on a page of a listing.
        state: A number that is different after each change, for what is made from the versions.
    """

    def __init__(self, archive: Archive, *, file: Path | None = None) -> None:
        self.archive, self.state, self._file = archive, 0, file
        self.page_size = _PAGE_SIZE
        self._is_changed = False
        self._folder = tempfile.TemporaryDirectory(prefix="tcia-sandbox-idc-")
        self._lock = threading.RLock()
        self._connection: sql.Connection | None = None
        self._releases: list[str] = []

    # --- Reading --------------------------------------------------------------------------------

    @property
    def release(self) -> str:
        """The current release, such as "25.0.5"; the number of its version is before the dot."""
        return self.releases[-1]

    @property
    def releases(self) -> tuple[str, ...]:
        """The releases whose index is served, the oldest first."""
        with self._opened():
            return tuple(self._releases)

    def query(self, statement: str, parameters: Any = None) -> pa.Table:
        """Return the result of a query over `versions`: each version of each Series."""
        with self._opened() as connection, connection.cursor() as cursor:
            return sql.fetch_table(cursor, statement, parameters)

    def find(self, crdc_series_uuid: str) -> StoredSeries | None:
        """Return a version of a Series that the buckets have, or None."""
        found = self.query(
            "SELECT * EXCLUDE (file_collection), file_collection AS Collection_ FROM versions "
            "WHERE crdc_series_uuid = ? AND NOT is_deleted",
            [crdc_series_uuid],
        ).to_pylist()
        if not found:
            return None
        (row,) = found
        row["Collection"] = row.pop("Collection_")  # a move changes no file
        return StoredSeries(
            crdc_series_uuid, row["aws_bucket"], row, self._source(row), row["revision"]
        )

    def _source(self, row: dict[str, Any]) -> dict[str, Any] | None:
        if row["source_row"] is not None:
            found = self.archive.rows(
                "FROM archive.catalogue WHERE row_number = ?", [row["source_row"]]
            )
            return found[0]
        if row["row_number"] is None:
            return None
        return self.archive.referenced(row["row_number"], row["Modality"])

    def uuids(self, bucket: str, prefix: str, after: str = "") -> list[str]:
        """Return the uuids that a bucket has with this prefix, from `after` on, sorted."""
        rows = self.query(
            "SELECT crdc_series_uuid AS uuid FROM versions WHERE aws_bucket = $bucket "
            "AND starts_with(crdc_series_uuid, $prefix) AND crdc_series_uuid >= $after "
            "AND NOT is_deleted ORDER BY uuid",
            {"bucket": bucket, "prefix": prefix, "after": after},
        )
        return [str(uuid) for uuid in rows["uuid"].to_pylist()]

    def uuid_of(self, uid: str) -> str:
        """Return the current uuid of a Series.

        Raises:
            UnknownName: The current release does not have it.
        """
        statement = (
            "SELECT crdc_series_uuid AS uuid FROM versions "
            "WHERE SeriesInstanceUID = ? AND last_version IS NULL"
        )
        for row in self.query(statement, [uid]).to_pylist():
            return str(row["uuid"])
        raise UnknownName("Series of the IDC", uid, ())

    # --- Changes --------------------------------------------------------------------------------

    def publish(
        self, release: str = "", *, revised: Iterable[str] = (), without: Iterable[str] = ()
    ) -> str:
        """Make the next release from the Series that the archive shows now; return its name.

        Args:
            release: Its name; by default the next version, as "26.0.0".
            revised: Series that get a new uuid though the archive did not change them.
            without: Series that it lacks.
        """
        with self._opened() as connection:
            old = int(self.release.partition(".")[0])
            release = release or f"{old + 1}.0.0"
            version = release.partition(".")[0]
            if not version.isdecimal() or int(version) <= old:
                raise UsageError(f"a release after {self.release} is not {release!r}")
            self._write_changes(connection, old, [*revised], [*without])
            self._releases.append(release)
            self._changed()
            return release

    def _changed(self) -> None:
        self.state += 1
        self._is_changed = True
        if self._file:
            files.publish(self._file, self._save)

    def _save(self, draft: Path) -> None:
        table = self.query("FROM versions")
        releases = {_RELEASES: ",".join(self.releases)}
        pq.write_table(table.replace_schema_metadata(releases), draft)

    def _write_changes(
        self, connection: sql.Connection, old: int, revised: list[str], without: list[str]
    ) -> None:
        (shown,) = self.archive.tables([_OF_ARCHIVE.format(rows="series")])
        connection.register("shown", shown)
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE listed AS FROM shown "
            "WHERE SeriesInstanceUID NOT IN (SELECT unnest($without)) AND SeriesInstanceUID "
            "NOT IN (SELECT SeriesInstanceUID FROM versions WHERE is_deleted)",
            {"without": without},
        )
        connection.unregister("shown")
        connection.execute(
            f"UPDATE versions AS v SET last_version = $old WHERE last_version IS NULL "
            "AND (row_number IS NOT NULL OR is_deleted) AND "
            "(v.SeriesInstanceUID IN (SELECT unnest($revised)) OR NOT EXISTS ("
            f"FROM listed AS n WHERE n.SeriesInstanceUID = v.SeriesInstanceUID AND {_SAME_FILES}))",
            {"old": old, "revised": revised},
        )
        connection.execute(
            "UPDATE versions AS v SET Collection = n.Collection FROM listed AS n "
            "WHERE v.SeriesInstanceUID = n.SeriesInstanceUID AND v.last_version IS NULL"
        )
        connection.execute(
            f"INSERT INTO versions BY NAME SELECT {first_release.VERSION_COLUMNS}, "
            "$new AS first_version, $new AS revised_version FROM listed WHERE SeriesInstanceUID "
            "NOT IN (SELECT SeriesInstanceUID FROM versions WHERE last_version IS NULL)",
            {"new": old + 1},
        )
        connection.execute(
            "UPDATE versions AS v SET generation = o.last + 1, first_version = o.first "
            "FROM (SELECT SeriesInstanceUID, max(generation) AS last, min(first_version) AS first "
            "FROM versions WHERE last_version IS NOT NULL GROUP BY ALL) AS o "
            "WHERE v.SeriesInstanceUID = o.SeriesInstanceUID AND v.crdc_series_uuid IS NULL"
        )
        first_release.name_versions(connection)

    def redact(self, uids: Iterable[str]) -> list[str]:
        """Delete the objects of Series, in all versions; later releases lack them."""
        chosen = [*uids]
        for uid in chosen:
            self.uuid_of(uid)
        with self._opened() as connection:
            connection.execute(
                "UPDATE versions SET is_deleted = true "
                "WHERE SeriesInstanceUID IN (SELECT unnest($uids))",
                {"uids": chosen},
            )
            self._changed()
        return chosen

    def reset(self) -> None:
        """Restore the first release."""
        with self._lock:
            self.page_size = _PAGE_SIZE
            if self._is_changed:
                self._close()
                self.state += 1
                self._is_changed = False
                if self._file:
                    self._file.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the database and remove its files."""
        with self._lock:
            self._close()
        self._folder.cleanup()

    # --- The first release ----------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[sql.Connection]:
        """Yield the database; most tests need none, so it is made when it is asked for."""
        with self._lock:
            if self._connection is None:
                self._connection = self._first()
                self._releases = [first_release.FIRST_RELEASE]
                if self._file and self._file.is_file():
                    self._load(self._connection, self._file)
            yield self._connection

    def _first(self) -> sql.Connection:
        path = Path(self._folder.name) / "releases.duckdb"
        path.unlink(missing_ok=True)
        connection = sql.connect(path, memory_limit=_MEMORY)
        (original,) = self.archive.tables([_OF_ARCHIVE.format(rows="catalogue")])
        first_release.create(connection, original)
        return connection

    def _load(self, connection: sql.Connection, file: Path) -> None:
        connection.execute("DELETE FROM versions")
        connection.execute(
            f"INSERT INTO versions BY NAME FROM read_parquet({sql.literal(str(file))})"
        )
        self._releases = pq.read_metadata(file).metadata[_RELEASES.encode()].decode().split(",")
        self._is_changed = True
