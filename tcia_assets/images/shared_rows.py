"""Rows of the manifest that machines with warehouses of their own pass to each other.

Only where they share a store of zips. Each run puts its rows there, as a file of lines of JSON:

    journal/<Collection>/<time>-<token>.jsonl

Such a file never changes. Every warehouse merges each once: a copy in its work folder shows which.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
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


def share_rows(archives: Archives, collection: str, rows: Iterable[ManifestRow]) -> None:
    """Pass rows to the other warehouses; this one has them.

    Raises:
        StorageError: The store fails.
    """
    text = "".join(f"{row.to_json()}\n" for row in rows)
    if text and archives.is_shared:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}.jsonl"
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
    found = False
    for file in archives.list(_folder(collection)) if archives.is_shared else ():
        copy = archives.work_folder(file.name)
        if not copy.is_file():
            found |= _merge_file(archives, file, shard, merge)
        elif datetime.now(UTC) - file.published_at > _KEPT:
            archives.put_text(file.name, "")
    return found


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
    if len(wanted) == len(rows):
        # Otherwise a run without shards still needs the others.
        publish_text(archives.work_folder(file.name), text)
    return bool(wanted)


def _folder(collection: str) -> str:
    return f"{FOLDER}/{collection_folder(collection)}"
