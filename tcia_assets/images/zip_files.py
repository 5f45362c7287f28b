"""The files of series zips: their names, and the claim with which one run works on them.

A zip has a name in the store of zips (`store/archives/`) and a path in the manifest, which begins
with `archives/` wherever the store is. Drafts, claims and parts lie in a folder of this machine,
under names that begin with that of the zip.
"""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import Busy
from tcia_assets.images.journal import is_tidy, mark_tidy
from tcia_assets.store.archives import Archives, StoredFile
from tcia_assets.store.files import link_or_copy, make_folder
from tcia_assets.store.locks import open_locked
from tcia_assets.store.warehouse import Warehouse

_PREFIX = "archives/"
_SUFFIX = ".zip"
# Of a zip that the manifest lists and that is not there.
LOST = "it is gone; `tcia-assets verify` marks its row, and the next fetch replaces it"

_PARTS = ".parts"
_PARTS_KEPT_S = 7 * 24 * 3600.0


def collection_folder(collection: str) -> str:
    """Return the folder with the zips of a Collection, in the store of zips.

    >>> collection_folder("RIDER Lung CT")
    'RIDER%20Lung%20CT'
    """
    return quote(collection, safe="")


def work_folder(collection: str, warehouse: Warehouse) -> Path:
    """Return the folder of this machine with the drafts, claims and journals of a Collection."""
    return warehouse.archives.work_folder(collection_folder(collection))


def zip_name(collection: str, series_instance_uid: str) -> str:
    """Return the name of the zip of a Series in the store of zips."""
    return f"{collection_folder(collection)}/{series_instance_uid}{_SUFFIX}"


def zip_path(collection: str, series_instance_uid: str) -> str:
    """Return the path of the zip of a Series, as in the manifest."""
    return _PREFIX + zip_name(collection, series_instance_uid)


def name_at(path: str) -> str:
    """Return the name of the zip with this path in the manifest."""
    return path.removeprefix(_PREFIX)


def stored_zips(collection: str, warehouse: Warehouse) -> list[StoredFile]:
    """Return the zips in the store, sorted by name, whether or not the manifest lists them."""
    files = warehouse.archives.list(collection_folder(collection))
    return [file for file in files if file.name.endswith(_SUFFIX)]


def series_of(file: StoredFile) -> str:
    """Return the SeriesInstanceUID of a stored zip."""
    return file.name.rpartition("/")[2].removesuffix(_SUFFIX)


def quarantine_path(collection: str, series_instance_uid: str) -> str:
    """Return the path of a refused zip below the data root; a `.json` beside it has the reason."""
    return f"quarantine/{quote(collection, safe='')}/{series_instance_uid}.zip"


def collections_on_disk(warehouse: Warehouse) -> list[str]:
    """Return, sorted, the Collections with a manifest, or with zips whose manifest is lost.

    This lists all zips of the latter.
    """
    with_manifest = warehouse.keys(IMAGE_ARCHIVES)
    others = set(map(unquote, warehouse.archives.folders())).difference(with_manifest)
    return sorted([*with_manifest, *(name for name in others if stored_zips(name, warehouse))])


def collections_with_work(warehouse: Warehouse) -> list[str]:
    """Return, sorted, the Collections with a work folder on this machine; nothing is requested."""
    folders = warehouse.archives.work_folder("").glob("*/")
    return sorted(unquote(folder.name) for folder in folders)


@contextmanager
def open_zip(
    archives: Archives, name: str, sha256: str, archive_bytes: int
) -> Iterator[zipfile.ZipFile]:
    """Open a zip that the manifest lists with this SHA-256 and size.

    Raises:
        ValueError: It has another size, or is gone.
    """
    with ExitStack() as stack:
        try:
            path = stack.enter_context(archives.local(name, sha256))
            size = path.stat().st_size
        except FileNotFoundError:
            raise ValueError(LOST) from None
        if size != archive_bytes:
            raise ValueError(f"it has {size} bytes, but image_archives has {archive_bytes}")
        with zipfile.ZipFile(path) as opened:
            yield opened


# --- Claims --------------------------------------------------------------------------------------


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold the claim on a zip; the system releases it when the process ends, however it ends.

    Args:
        path: The zip in the work folder, which is created.

    Raises:
        Busy: Another run holds the claim.
        StorageError: The folder cannot be made, or is that of another Collection.
    """
    claim_file = path.with_name(f".{path.name}.claim")
    make_folder(claim_file.parent)
    try:
        descriptor = open_locked(claim_file, wait=False)
    except BlockingIOError:
        raise Busy(f"{claim_file.name}: another run is working on it") from None
    try:
        yield
    finally:
        # Removed before the lock is released, so that a waiting run sees that its file is gone.
        claim_file.unlink(missing_ok=True)
        os.close(descriptor)


def draft_path(path: Path) -> Path:
    """Return the path under which a zip is written before it gets its final path."""
    return path.with_name(f".{path.name}.draft")


def second_draft_path(path: Path) -> Path:
    """Return the path of another download of a zip, while the first one is at `draft_path`."""
    return path.with_name(f".{path.name}.second")


def parts_path(path: Path) -> Path:
    """Return the folder with the parts of a zip that a source sends in parts.

    It survives the end of a run: the next one continues with what is in it.
    """
    return path.with_name(f".{path.name}{_PARTS}")


def parts_bytes(folder: Path) -> int:
    """Return the bytes of all parts in a work folder."""
    files = (file for parts in folder.glob(f".*{_PARTS}") for file in parts.iterdir())
    return sum(file.stat().st_size for file in files)


def publish_copy(
    archives: Archives, source: str, name: str, sha256: str, replaces: str = ""
) -> None:
    """Give a zip the bytes of another zip in the store, whole or not at all.

    Args:
        archives: The store.
        source: The name of the other zip, which stays.
        name: Of the zip; the caller holds its claim.
        sha256: Of these bytes.
        replaces: SHA-256 of the zip that the store has already under this name.
    """
    folder, _, file_name = name.rpartition("/")
    draft = draft_path(archives.work_folder(folder) / file_name)
    draft.unlink(missing_ok=True)
    try:
        with archives.local(source, sha256) as path:
            link_or_copy(path, draft)
        archives.put(draft, name, sha256, replaces=replaces)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def single_images_dir(path: Path) -> Iterator[Path]:
    """Make an empty folder for images that are downloaded one by one; it is removed at the end."""
    folder = _single_images_path(path)
    # A run that was killed after this one started may have left it.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _single_images_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.singles")


def tidy(folder: Path) -> None:
    """Remove what killed runs left in a Collection's folder; call it while a run has a journal.

    This lists all zips, which takes long on a network file system: it is done once a day, and
    after a run was killed.
    """
    if not is_tidy(folder):
        remove_abandoned_drafts(folder)
        mark_tidy(folder)


def remove_abandoned_drafts(folder: Path) -> None:
    """Remove what killed runs left in a work folder: drafts, single images and claims.

    And parts to which nothing was added for a week.
    """
    for leftover in folder.glob(".*.zip.*"):
        path = leftover.with_name(leftover.stem.removeprefix("."))
        try:
            with claim(path):
                draft_path(path).unlink(missing_ok=True)
                second_draft_path(path).unlink(missing_ok=True)
                shutil.rmtree(_single_images_path(path), ignore_errors=True)
                parts = parts_path(path)
                if parts.is_dir() and time.time() - parts.stat().st_mtime > _PARTS_KEPT_S:
                    shutil.rmtree(parts, ignore_errors=True)
        except Busy:
            continue  # a living run holds the claim
