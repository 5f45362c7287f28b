"""`SHA256SUMS` beside the zips of a Collection: their hashes, as other programs read them.

cd archives/LCTSC && sha256sum --check --quiet SHA256SUMS
rclone checksum sha256 SHA256SUMS remote:bucket/archives/LCTSC --one-way

In a folder, the SHA-256 of what was written last is in `warehouse/.marks`: only lines that this
package wrote are kept by a fetch, and only as long as no rows were removed since.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

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
        text = None if added is None else _text_with(added, name, collection, warehouse)
        if text is None:
            text = checksums_text(collection, warehouse)
        changed = warehouse.archives.put_text(name, text)
        _mark_written(text, collection, warehouse)
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


def _mark_written(text: str, collection: str, warehouse: Warehouse) -> None:
    if warehouse.archives.is_shared:
        return  # all lines are always made anew
    publish_hint(_mark_path(collection, warehouse), _sha256(text.encode()))


def _mark_path(collection: str, warehouse: Warehouse) -> Path:
    mark = mark_path(warehouse.root, IMAGE_ARCHIVES, collection)
    return mark.with_name(f"{FILE_NAME}.sha256")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _lines(rows: pa.Table) -> str:
    """Return a line for each zip on disk, sorted by UID: its SHA-256, two blanks, its name."""
    is_stored = pc.and_(pc.is_valid(rows["path"]), pc.is_valid(rows["sha256"]))
    rows = rows.select([UID, "sha256"]).filter(is_stored).sort_by(UID)
    names = pc.binary_join_element_wise(rows[UID], ".zip\n", "")
    lines = pc.binary_join_element_wise(rows["sha256"], names, "  ").combine_chunks()
    # In Arrow: 200,000 texts of Python would take 60 MB more.
    return str(pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "")[0])


# --- The lines of some Series in the text that there is -------------------------------------------


def _text_with(
    added: Collection[str], name: str, collection: str, warehouse: Warehouse
) -> str | None:
    """Return the stored text with new lines for some Series; None if all are to be made anew.

    They are if it is not the text that was written last.
    """
    if len(added) > _MOST_REPLACED or warehouse.archives.is_shared:
        return None
    try:
        with warehouse.archives.open(name) as file:
            content = file.read()
        written = _mark_path(collection, warehouse).read_text(errors="replace")
    except FileNotFoundError:
        return None
    if _sha256(content) != written:
        return None
    text = content.decode()
    if not added:
        return text
    uids = pa.chunked_array([sorted(added)], pa.string())
    rows = manifest.read_rows_of(warehouse, collection, uids)
    return _replace_lines(text, dict.fromkeys(added, "") | {u: _line(r) for u, r in rows.items()})


def _line(row: ManifestRow) -> str:
    is_stored = row.path is not None and row.sha256 is not None
    return f"{row.sha256}  {row.series_instance_uid}.zip\n" if is_stored else ""


def _replace_lines(text: str, new: dict[str, str]) -> str:
    """Return sorted lines in which those of some Series are replaced by others, or by none.

    >>> one, two = (f"{digit * 64}  1.{digit}.zip" + chr(10) for digit in "12")
    >>> _replace_lines(two, {"1.1": one}) == one + two
    True
    >>> _replace_lines(one + two, {"1.1": "", "1.3": ""}) == two
    True
    """
    pieces, done = [], 0
    for uid in sorted(new):
        places, key = range(len(text)), partial(_uid_at, text)
        start = bisect_left(places, uid, lo=done, key=key)
        pieces += [text[done:start], new[uid]]
        done = bisect_right(places, uid, lo=start, key=key)
    return "".join([*pieces, text[done:]])


def _uid_at(text: str, place: int) -> str:
    """Return the UID of the line at a place in the text."""
    begin, end = text.rfind("\n", 0, place) + 1, text.index("\n", place)
    return text[begin + _BEFORE_UID : end - _AFTER_UID]
