"""`SHA256SUMS` beside the zips of a Collection: their hashes, as other programs read them.

cd archives/LCTSC && sha256sum --check --quiet SHA256SUMS
rclone checksum sha256 SHA256SUMS remote:bucket/archives/LCTSC --one-way

In a folder, the SHA-256 of what was written last is in `warehouse/.marks`: only lines that this
package wrote are kept by a fetch, and only as long as no rows were removed since.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.images import manifest
from tcia_assets.images.manifest_row import UID, ManifestRow
from tcia_assets.images.zip_files import collection_folder
from tcia_assets.store.files import publish_hint
from tcia_assets.store.marks import mark_path
from tcia_assets.store.warehouse import Warehouse

FILE_NAME = "SHA256SUMS"
# To replace more lines one by one takes as long as to make all of them.
_MOST_REPLACED = 1_000
_PART = "checksums"
_BEFORE_UID, _AFTER_UID = 64 + 2, len(".zip")
# A UID has at most 64 characters; whatever is longer was not written here.
_LONGEST_LINE, _PIECE_BYTES = 256, 1 << 20
_NOTHING = hashlib.sha256().hexdigest()


def write_checksums(
    collection: str, warehouse: Warehouse, added: Collection[str] | None = None
) -> bool:
    """Bring the file up to date with the manifest; without zips it is removed.

    It holds a lock of its own, so that a run with older knowledge does not overwrite a newer file.

    Args:
        collection: The Collection.
        warehouse: Where the manifest is, and the zips.
        added: Only the lines of these Series may differ; None if any may.

    Returns:
        Whether the file changed. One with the same content is left in place.

    Raises:
        StorageError: The file cannot be written, and is as it was.
        Busy: Another run has been writing it for ten minutes.
    """
    name = f"{collection_folder(collection)}/{FILE_NAME}"
    with warehouse.lock(IMAGE_ARCHIVES, collection, part=_PART):
        if added is not None:
            with suppress(_NotAsWritten):
                return _replace_some(added, name, collection, warehouse)
        text = checksums_text(collection, warehouse)
        changed = warehouse.archives.put_text(name, text)
        _mark_written(hashlib.sha256(text.encode()).hexdigest(), collection, warehouse)
        return changed


def checksums_text(collection: str, warehouse: Warehouse) -> str:
    """Return what the file has to have: a line for each zip of the manifest; "" without zips."""
    return _lines(manifest.read_manifest(warehouse, collection, [UID, "path", "sha256"]))


@contextmanager
def removing_lines(collection: str, warehouse: Warehouse) -> Iterator[None]:
    """Hold the lock of the file while rows of its zips are removed.

    Until `write_checksums` is called after it, also by a later run, the file does not count as
    written.

    Raises:
        Busy: Another run has been writing it for ten minutes.
    """
    with warehouse.lock(IMAGE_ARCHIVES, collection, part=_PART):
        _mark_path(collection, warehouse).unlink(missing_ok=True)
        yield


def is_written(collection: str, warehouse: Warehouse) -> bool:
    """Return whether the file was written after rows were removed last; of a bucket, true."""
    return warehouse.archives.is_shared or _mark_path(collection, warehouse).exists()


def _mark_written(sha256: str, collection: str, warehouse: Warehouse) -> None:
    if warehouse.archives.is_shared:
        return  # all lines are always made anew
    publish_hint(_mark_path(collection, warehouse), sha256)


def _mark_path(collection: str, warehouse: Warehouse) -> Path:
    mark = mark_path(warehouse.root, IMAGE_ARCHIVES, collection)
    return mark.with_name(f"{FILE_NAME}.sha256")


def _lines(rows: pa.Table) -> str:
    """Return a line for each zip on disk, sorted by UID: its SHA-256, two blanks, its name."""
    is_stored = pc.and_(pc.is_valid(rows["path"]), pc.is_valid(rows["sha256"]))
    rows = rows.select([UID, "sha256"]).filter(is_stored).sort_by(UID)
    names = pc.binary_join_element_wise(rows[UID], ".zip\n", "")
    lines = pc.binary_join_element_wise(rows["sha256"], names, "  ").combine_chunks()
    # In Arrow: 200,000 texts of Python would take 60 MB more.
    return str(pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "")[0])


# --- The lines of some Series in the text that there is -------------------------------------------


class _NotAsWritten(Exception):
    """The file is not the one that was written last, so all lines are made anew."""


def _replace_some(added: Collection[str], name: str, collection: str, warehouse: Warehouse) -> bool:
    """Replace the lines of some Series in the stored file; return whether it changed.

    Raises:
        _NotAsWritten: All lines are to be made anew; nothing was changed.
    """
    if len(added) > _MOST_REPLACED or warehouse.archives.is_shared:
        raise _NotAsWritten
    new = _lines_of(added, collection, warehouse)
    try:
        written = _mark_path(collection, warehouse).read_text(errors="replace")
        with warehouse.archives.open(name) as file:
            lines = _NewLines(file, new, written)
            changed = warehouse.archives.put_text(name, lines)
    except FileNotFoundError:
        raise _NotAsWritten from None
    _mark_written(lines.sha256, collection, warehouse)
    return changed


def _lines_of(series: Collection[str], collection: str, warehouse: Warehouse) -> dict[str, bytes]:
    """Return the line of each of these Series, empty without a zip."""
    if not series:
        return {}
    uids = pa.chunked_array([sorted(series)], pa.string())
    rows = manifest.read_rows_of(warehouse, collection, uids)
    return dict.fromkeys(series, b"") | {uid: _line(row) for uid, row in rows.items()}


def _line(row: ManifestRow) -> bytes:
    is_stored = row.path is not None and row.sha256 is not None
    return f"{row.sha256}  {row.series_instance_uid}.zip\n".encode() if is_stored else b""


class _NewLines:
    """A file of sorted lines in which those of some Series are replaced by others, or by none.

    Iterated once, a piece at a time: the file of 200,000 zips has 25 MB.

    Args:
        file: The file.
        new: The line of each of these Series.
        written: The SHA-256 that the file has if it is the one that was written last.

    >>> one, two = (f"{digit * 64}  1.{digit}.zip{chr(10)}".encode() for digit in "12")
    >>> def replaced(text, new):
    ...     return b"".join(_NewLines(io.BytesIO(text), new, hashlib.sha256(text).hexdigest()))
    >>> replaced(two, {"1.1": one}) == one + two
    True
    >>> replaced(one + two, {"1.1": b"", "1.3": b""}) == two
    True
    """

    def __init__(self, file: BinaryIO, new: Mapping[str, bytes], written: str) -> None:
        self._file, self._new, self._written = file, new, written
        self._before, self._after = hashlib.sha256(), hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the pieces, when all were yielded."""
        return self._after.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces.

        Raises:
            _NotAsWritten: After the last one: the file is a different one, or no line is left.
        """
        size, done = self._file.seek(0, io.SEEK_END), 0
        places = range(size)
        for uid in sorted(self._new):
            start = bisect_left(places, uid, lo=done, key=self._uid_at)
            yield from self._kept(done, start)
            self._after.update(self._new[uid])
            yield self._new[uid]
            done = bisect_right(places, uid, lo=start, key=self._uid_at)
            for piece in self._read(start, done):
                self._before.update(piece)
        yield from self._kept(done, size)
        if self._before.hexdigest() != self._written or self.sha256 == _NOTHING:
            raise _NotAsWritten

    def _kept(self, start: int, end: int) -> Iterator[bytes]:
        for piece in self._read(start, end):
            self._before.update(piece)
            self._after.update(piece)
            yield piece

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        self._file.seek(start)
        while start < end and (piece := self._file.read(min(_PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece

    def _uid_at(self, place: int) -> str:
        """Return the UID of the line at a place in the file; "" where there is none."""
        begin = max(0, place - _LONGEST_LINE)
        self._file.seek(begin)
        around = self._file.read(2 * _LONGEST_LINE)
        first = around.rfind(b"\n", 0, place - begin) + 1
        line = around[first : around.find(b"\n", place - begin)]
        return line[_BEFORE_UID:-_AFTER_UID].decode(errors="replace")
