"""Read the header of each file of a folder, once, into a database on disk.

Memory does not grow with the folder: files and objects are rows of that database, written and read
some thousands at a time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.errors import StorageError, UsageError, escape_unprintable
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.sources.folder.headers import (
    SOP_INSTANCE_UID,
    LeftOut,
    NoObject,
    header_columns,
    read_object,
)
from tcia_assets.store import sql
from tcia_assets.store.files import sha256_of
from tcia_assets.units import counted

_MEMORY = "256MB"
_AT_ONCE = 5_000
_MOST_NAMED = 3
# A path is bytes: its name need not be text in any encoding.
_FILES = pa.schema(
    [
        ("path", pa.binary()),
        ("size_bytes", pa.int64()),
        ("modified_at", pa.timestamp("us", "UTC")),
        ("modified_ns", pa.int64()),
    ]
)
_REPEATED = """
    SELECT SOPInstanceUID, path, size_bytes FROM objects
    WHERE SOPInstanceUID IN (
        SELECT SOPInstanceUID FROM objects GROUP BY SOPInstanceUID HAVING count(*) > 1
    )
    ORDER BY SOPInstanceUID, path
"""

_UNIDENTIFIED = """
    SELECT count(DISTINCT SeriesInstanceUID) AS n FROM objects
    WHERE PatientID IS NULL OR StudyInstanceUID IS NULL
"""


def _objects_schema() -> pa.Schema:
    columns = [pa.field(c.name, c.kind.arrow_type) for c in header_columns()]
    return pa.schema([*_FILES, pa.field(SOP_INSTANCE_UID, pa.string()), *columns])


@dataclass(frozen=True)
class FolderContents:
    """How many files of a folder are what.

    Attributes:
        files: Number of files.
        objects: Number of DICOM objects, each once.
        object_bytes: Bytes of these.
        repeated: Number of files whose object another file has too, with the same bytes.
        left_out: Number of other files, by reason.
        examples: The path of one of these, by reason.
        unidentified: Number of Series without PatientID or StudyInstanceUID.
    """

    files: int
    objects: int
    object_bytes: int
    repeated: int
    unidentified: int = 0
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    examples: dict[LeftOut, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """The columns of `imports` that count."""
        return {
            "files": self.files,
            "objects": self.objects,
            "object_bytes": self.object_bytes,
            "repeated_files": self.repeated,
            "not_dicom": self.left_out[LeftOut.NOT_DICOM],
            "directories": self.left_out[LeftOut.DIRECTORY],
            "without_uid": self.left_out[LeftOut.WITHOUT_UID],
        }

    @property
    def notes(self) -> list[str]:
        """Lines about the files that are not imported, or only once."""
        lines = [
            f"left out: {counted(self.left_out[why], 'file')} ({why.value}), such as {example}"
            for why, example in self.examples.items()
        ]
        if self.repeated:
            lines.append(
                f"{counted(self.repeated, 'file')} repeat{'s' * (self.repeated == 1)} an object of "
                "another file, with the same bytes: each object is stored once"
            )
        if self.unidentified:
            lines.append(
                f"{self.unidentified} Series have no PatientID or no StudyInstanceUID: they are in "
                "no row of patients or studies, and no dataset can split them by patient"
            )
        return lines


class FolderScan:
    """The objects of a folder. Safe to share among threads once `run` has returned.

    Args:
        folder: The folder; files that its links lead to are read, folders are not.
        scratch: A folder for the database.
        skipped: A folder that is not looked into, although it may be below: the data folder.
    """

    def __init__(self, folder: Path, scratch: Path, skipped: Path) -> None:
        self._folder, self._skipped = folder.resolve(), skipped.resolve()
        self._database = sql.connect(scratch / "folder.duckdb", memory_limit=_MEMORY)
        self._left_out: Counter[LeftOut] = Counter()
        self._examples: dict[LeftOut, str] = {}

    def close(self) -> None:
        self._database.close()

    def run(self, report: ProgressCallback = ignore_progress) -> FolderContents:
        """Read all files.

        Args:
            report: Called with the number of files read and their total.

        Raises:
            UsageError: Two files have one SOPInstanceUID and different content, or a Series belongs
                to several patients or Studies. The text names the files.
            StorageError: A file cannot be read.
        """
        self._fill("files", _FILES, self._walk())
        [total] = self._column("SELECT count(*) AS n FROM files")
        self._fill("objects", _objects_schema(), self._read_all(total, report))
        repeated = self._remove_repeated()
        self._refuse_divided("PatientID", "patients")
        self._refuse_divided("StudyInstanceUID", "Studies")
        [row] = self.query(
            "SELECT count(*) AS n, coalesce(sum(size_bytes), 0)::BIGINT AS size FROM objects"
        ).to_pylist()
        return FolderContents(
            *(total, row["n"], row["size"], repeated, self._column(_UNIDENTIFIED)[0]),
            *(self._left_out, self._examples),
        )

    def query(self, statement: str, parameters: dict[str, Any] | None = None) -> pa.Table:
        """Return the result of a query over `objects`, a row each: path, size and header."""
        with self._database.cursor() as cursor:
            return sql.fetch_table(cursor, statement, parameters)

    def path(self, stored: bytes) -> Path:
        """Return the path of a file from its value in the column `path`."""
        return self._folder / os.fsdecode(stored)

    # --- Files --------------------------------------------------------------------------------

    def _walk(self) -> Iterator[dict[str, Any]]:
        for parent, folders, names in os.walk(self._folder, onerror=_raise_unreadable):
            folders[:] = sorted(f for f in folders if Path(parent, f) != self._skipped)
            for name in sorted(names):
                path = Path(parent, name)
                if not path.is_file():  # a socket, or a link that leads nowhere
                    continue
                with _reading(path):
                    stat = path.stat()
                yield {
                    "path": os.fsencode(path.relative_to(self._folder)),
                    "size_bytes": stat.st_size,
                    "modified_at": datetime.fromtimestamp(stat.st_mtime, UTC),
                    "modified_ns": stat.st_mtime_ns,
                }

    def _read_all(self, total: int, report: ProgressCallback) -> Iterator[dict[str, Any]]:
        files = self._rows("SELECT * FROM files ORDER BY path")
        for done, file in enumerate(files, start=1):
            path = self.path(file["path"])
            try:
                with _reading(path):
                    yield file | read_object(path)
            except NoObject as reason:
                self._left_out[reason.why] += 1
                self._examples.setdefault(reason.why, str(path))
            report(done, total)

    # --- Objects ------------------------------------------------------------------------------

    def _remove_repeated(self) -> int:
        """Keep one file of each object; returns how many others there were."""
        different: list[str] = []
        found = groupby(self._rows(_REPEATED), key=lambda row: str(row[SOP_INSTANCE_UID]))
        more = pa.schema([_FILES.field("path")])
        self._fill("repeated", more, self._find_same(found, different.append))
        if different:
            raise UsageError(
                f"keep the right file of each SOPInstanceUID; of {len(different)} there are files "
                f"with different content: {'; '.join(different[:_MOST_NAMED])}"
                + ("; ..." if len(different) > _MOST_NAMED else "")
            )
        [count] = self._column("SELECT count(*) AS n FROM repeated")
        self.query("DELETE FROM objects WHERE path IN (SELECT path FROM repeated)")
        return int(count)

    def _find_same(
        self,
        found: Iterable[tuple[str, Iterator[dict[str, Any]]]],
        on_different: Callable[[str], None],
    ) -> Iterator[dict[str, Any]]:
        for uid, rows in found:
            first = next(rows)
            sha256 = self._sha256(first)
            for row in rows:
                if row["size_bytes"] != first["size_bytes"] or self._sha256(row) != sha256:
                    pair = " and ".join(
                        f"{self._shown(each['path'])} of {each['size_bytes']:,} bytes"
                        for each in (first, row)
                    )
                    on_different(f"{pair} ({uid})")
                    break
                yield {"path": row["path"]}

    def _sha256(self, row: dict[str, Any]) -> str:
        path = self.path(row["path"])
        with _reading(path):
            return sha256_of(path)

    def _refuse_divided(self, column: str, noun: str) -> None:
        """Raise if a Series has several values of a column: its patient would be in two splits."""
        name = sql.identifier(column)
        found = self.query(
            f"""
            SELECT SeriesInstanceUID AS uid, arg_min(path, coalesce({name}, '')) AS first,
                arg_max(path, coalesce({name}, '')) AS last
            FROM objects GROUP BY SeriesInstanceUID
            HAVING count(DISTINCT coalesce({name}, '')) > 1 ORDER BY uid
            """
        ).to_pylist()
        if found:
            pair = f"{self._shown(found[0]['first'])} and {self._shown(found[0]['last'])}"
            raise UsageError(
                f"{len(found)} Series have objects of several {noun}, such as {pair} "
                f"(Series {found[0]['uid']}): {column} differs; correct the files, or take some out"
            )

    def _shown(self, stored: bytes) -> str:
        return escape_unprintable(str(self.path(stored)))

    # --- The database -------------------------------------------------------------------------

    def _fill(self, name: str, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
        with self._database.cursor() as cursor:
            cursor.register("batch", schema.empty_table())
            cursor.execute(f"CREATE TABLE {name} AS FROM batch")
            left = iter(rows)
            while some := list(islice(left, _AT_ONCE)):
                cursor.register("batch", pa.Table.from_pylist(some, schema=schema))
                cursor.execute(f"INSERT INTO {name} FROM batch")
            cursor.unregister("batch")

    def _rows(self, statement: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query, some thousands in memory at a time."""
        with self._database.cursor() as cursor:
            cursor.execute(statement)
            names = [each[0] for each in cursor.description or ()]
            while some := cursor.fetchmany(_AT_ONCE):
                yield from (dict(zip(names, row, strict=True)) for row in some)

    def _column(self, statement: str) -> list[Any]:
        values: list[Any] = self.query(statement).column(0).to_pylist()
        return values


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise StorageError for an OSError of the body, except the lack of an object in the file."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error


def _raise_unreadable(error: OSError) -> None:
    raise StorageError(f"{error.filename} cannot be read: {error.strerror}") from error
