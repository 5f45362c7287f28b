"""Rows of the manifest that machines with warehouses of their own pass to each other.

Only where they share a store of zips. Each run puts its rows there, as a file of lines of JSON:

    journal/<Collection>/<time>-<token>.jsonl

Such a file never changes. Every warehouse merges each once: a copy in its work folder shows which,
and, for a run that wants the rows of a shard only, a file with that shard in its name.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

from tcia_assets.images.journal import parse_rows
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.zip_files import collection_folder
from tcia_assets.store.archives import Archives, StoredFile
from tcia_assets.store.files import publish_text

FOLDER = "journal"
# A warehouse that has not merged them by then finds the zips themselves, one by one.
_KEPT = timedelta(days=30)
_SUFFIX = ".jsonl"


def share_rows(archives: Archives, collection: str, rows: Iterable[ManifestRow]) -> None:
    """Pass rows to the other warehouses; this one has them.

    Raises:
        StorageError: The store fails.
    """
    text = "".join(f"{row.to_json()}\n" for row in rows)
    if text and archives.is_shared:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}{_SUFFIX}"
        archives.put_text(f"{_folder(collection)}/{name}", text)


def collections_with_shared_rows(archives: Archives) -> list[str]:
    """Return the Collections with rows of any machine, sorted; one request."""
    return [unquote(name) for name in archives.folders(FOLDER)] if archives.is_shared else []


def merge_shared_rows(
    archives: Archives,
    collection: str,
    shard: Shard,
    merge: Callable[[list[ManifestRow]], None],
) -> bool:
    """Merge the rows that other machines have passed since, and remove old files.

    Args:
        archives: The store.
        collection: The Collection.
        shard: The part whose rows are wanted: whoever fetches one would have to read the zips of
            the others.
        merge: Called with the rows of each file; older rows than those that are stored are
            no news.

    Returns:
        Whether there were new ones.

    Raises:
        DataError: A file has a line that is no row.
        StorageError: The store fails.
    """
    if not archives.is_shared:
        return False
    found, files = False, archives.list(_folder(collection))
    for file in files:
        if not _is_merged(archives, file, shard):
            found |= _merge_file(archives, file, shard, merge)
        elif _is_old(file.published_at) and archives.work_folder(file.name).is_file():
            archives.put_text(file.name, "")
    _remove_copies(archives, collection, {file.name for file in files})
    return found


def _is_merged(archives: Archives, file: StoredFile, shard: Shard) -> bool:
    """Return whether this warehouse has the rows of a shard."""
    copy = archives.work_folder(file.name)
    return copy.is_file() or (shard.is_part and _of_shard(copy, shard).is_file())


def _of_shard(copy: Path, shard: Shard) -> Path:
    """Return the file that shows that the rows of a shard were merged."""
    return copy.with_name(f"{copy.name}.{shard}")


def _is_old(at: datetime) -> bool:
    return datetime.now(UTC) - at > _KEPT


def _remove_copies(archives: Archives, collection: str, listed: set[str]) -> None:
    """Remove copies of files that another machine has removed."""
    folder = _folder(collection)
    for path in archives.work_folder(folder).glob(f"*{_SUFFIX}*"):
        name = f"{folder}/{path.name.partition(_SUFFIX)[0]}{_SUFFIX}"
        with suppress(FileNotFoundError):  # another run has just removed it
            if name not in listed and _is_old(datetime.fromtimestamp(path.stat().st_mtime, UTC)):
                path.unlink()


def _merge_file(
    archives: Archives,
    file: StoredFile,
    shard: Shard,
    merge: Callable[[list[ManifestRow]], None],
) -> bool:
    """Merge the rows of a shard; returns whether there were any."""
    try:
        with closing(archives.open(file.name)) as opened:
            text = opened.read().decode(errors="replace")
    except FileNotFoundError:  # another machine has just removed it
        return False
    rows = parse_rows(archives.address(file.name), text)
    wanted = [row for row in rows if shard.contains(row.series_instance_uid)]
    if wanted:
        merge(wanted)
    copy = archives.work_folder(file.name)
    if len(wanted) == len(rows):
        publish_text(copy, text)
    else:  # a run without shards still needs the others
        publish_text(_of_shard(copy, shard), "")
    return bool(wanted)


def _folder(collection: str) -> str:
    return f"{FOLDER}/{collection_folder(collection)}"
