"""Write the catalogue: all pages of a mirror, of which only changed ones are written again.

What a Collection's pages were made from is saved beside them with the identity of its tables. Where
that is the same, nothing of the Collection is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcia_assets.catalog import SERIES, TABLES
from tcia_assets.metadata.selection import Selection
from tcia_assets.pages import addresses, rendering
from tcia_assets.pages.changes import changes_feed, changes_page, read_changes
from tcia_assets.pages.collection_facts import CollectionFacts
from tcia_assets.pages.collection_page import choose_thumbnails, collection_page
from tcia_assets.pages.collections import read_collections
from tcia_assets.pages.datasets import DatasetPages
from tcia_assets.pages.folder import DEFAULT, CatalogueFolder
from tcia_assets.pages.gallery import DEFAULT_VOLUMES, Gallery
from tcia_assets.pages.gallery_state import files_of, is_final, unpictured
from tcia_assets.pages.overview import overview_page, read_state
from tcia_assets.pages.rows import rows_script, series_columns
from tcia_assets.pages.series import SeriesFacts, read_series
from tcia_assets.pages.series_page import Shown, series_page
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.warehouse import Warehouse

# Tables that change with each refresh, and of which only the overview shows something.
_OF_ALL = ("snapshots",)
INDEX = "index.html"

_CHANGES = "changes.html"
_STRIP = 4
_State = dict[str, Any]


@dataclass(frozen=True)
class Catalogue:
    """A catalogue on disk, and what the run did.

    Attributes:
        folder: Where it is.
        pages: Number of its pages.
        written: Number of files that are new or have changed.
        removed: Number of files of what is gone.
        bytes_written: The bytes of the files that were written.
        unpictured: Number of Series whose picture could not be made.
        bad_zips: Number of these whose zip is missing or damaged.
    """

    folder: Path
    pages: int
    written: int
    removed: int
    bytes_written: int
    unpictured: int = 0
    bad_zips: int = 0

    @property
    def index(self) -> Path:
        """The page to open."""
        return self.folder / INDEX

    @property
    def bytes(self) -> int:
        """The bytes of all its files, counted now."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def build_catalogue(
    warehouse: Warehouse,
    to: Path | None = None,
    *,
    selection: Selection | None = None,
    volumes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Catalogue:
    """Write the catalogue of a mirror, or bring it up to date.

    Args:
        warehouse: The mirror.
        to: The folder: a new or an empty one, or that of a catalogue; by default `catalogue` in the
            data folder.
        selection: What counts as selected for images.
        volumes: How many volumes of a Collection can be opened, first of Series with masks; by
            default as many as the last time, at first `gallery.DEFAULT_VOLUMES`.
        report: Called with what is done and what there is to do: Collections that have changed, and
            their Series on disk.

    Raises:
        UsageError: The folder is not ours. Nothing in it was changed.
        StorageError: A file cannot be written. Each file is whole, in its old or its new version.
        Busy: Another run has been writing it for ten minutes.
    """
    folder = CatalogueFolder((to or warehouse.root / DEFAULT).absolute())
    with folder.opened(warehouse.root):
        return _Build(warehouse, folder, selection, volumes, report).run()


class _Build:
    def __init__(
        self,
        warehouse: Warehouse,
        folder: CatalogueFolder,
        selection: Selection | None,
        volumes: int | None,
        report: ProgressCallback,
    ) -> None:
        self._warehouse, self._folder = warehouse, folder
        self._selection, self._report = selection, report
        self._slugs = addresses.slugs(warehouse.keys(SERIES))
        self._volumes = self._chosen(volumes)
        self._gallery = Gallery(warehouse, folder, self._volumes)
        self._done = self._total = 0

    def _chosen(self, volumes: int | None) -> int:
        """Return the number of volumes that was given, or that of the last run."""
        options = self._folder.options()
        chosen = options.get("volumes", DEFAULT_VOLUMES) if volumes is None else volumes
        self._folder.save_options({"volumes": chosen})
        return int(chosen)

    def run(self) -> Catalogue:
        for name, content in rendering.assets():
            self._folder.write(name, content)
        states = list(self._update_collections())
        self._remove_gone()
        facts = [CollectionFacts(**state["facts"]) for state in states]
        known = sorted(facts, key=lambda each: each.name.casefold())
        strips = {state["name"]: state["strip"] for state in states}
        state = read_state(self._warehouse)
        self._folder.write(INDEX, overview_page(known, state, self._slugs, strips))
        if self._total or self._folder.removed or not self._folder.has(_CHANGES):
            self._write_changes(states)
        datasets = DatasetPages(self._warehouse.root, self._folder).write()
        return Catalogue(
            folder=self._folder.path,
            pages=2 + datasets + len(known) + sum(len(state["series"]) for state in states),
            written=len(self._folder.written),
            removed=len(self._folder.removed),
            bytes_written=self._folder.bytes_written,
            unpictured=sum(unpictured(state["gallery"]) for state in states),
            bad_zips=sum(each.bad_zips for each in known),
        )

    def _write_changes(self, states: Sequence[_State]) -> None:
        pages = {state["name"]: state["series"] for state in states}
        days = read_changes(self._warehouse, self._slugs, pages)
        self._folder.write(_CHANGES, changes_page(days))
        self._folder.write("changes.atom", changes_feed(days))

    # --- Collections ------------------------------------------------------------------------------

    def _update_collections(self) -> Iterator[_State]:
        """Yield the state of each Collection, after its pages are as its tables are."""
        identities = {name: self._identity(name) for name in self._slugs}
        states = {name: self._folder.state(slug) for name, slug in self._slugs.items()}
        stale = [n for n in identities if states[n].get("identity") != identities[n]]
        yield from (states[name] for name in identities if name not in stale)
        collections = read_collections(self._warehouse, stale, self._selection)
        self._total = len(stale) + sum(facts.on_disk for facts in collections)
        self._report(0, self._total)
        # The largest first: the memory that it leaves is enough for the others.
        for facts in sorted(collections, key=lambda each: -each.series):
            state = self._write_collection(facts, states[facts.name], identities[facts.name])
            self._folder.save(self._slugs[facts.name], state)
            self._step()
            yield state

    def _step(self) -> None:
        self._done += 1
        self._report(min(self._done, self._total), self._total)

    def _write_collection(self, facts: CollectionFacts, before: _State, identity: str) -> _State:
        slug = self._slugs[facts.name]
        found = read_series(self._warehouse, facts.name) if facts.on_disk else {}
        self._gallery.pair(found)
        shown, gallery = self._gallery.show(found, before.get("gallery", {}), self._step)
        bad_zips = sum(bool(each.zip_problem) for each in shown.values())
        facts = facts.model_copy(update={"bad_zips": bad_zips})
        hashes = self._write_series(facts.name, found, shown, before.get("series", {}))
        rows = rows_script(series_columns(self._warehouse, facts.name))
        self._folder.write(addresses.collection_rows(slug), rows)
        thumbnails = choose_thumbnails(found, shown, slug)
        page = collection_page(facts, slug, thumbnails, why_none=self._gallery.missing)
        self._folder.write(addresses.collection_page(slug), page)
        return {
            "name": facts.name,
            "identity": identity if is_final(gallery) else "",
            "facts": facts.model_dump(mode="json"),
            "series": hashes,
            "gallery": gallery,
            "strip": [(each.picture, each.alt) for each in thumbnails[:_STRIP]],
        }

    def _write_series(
        self,
        collection: str,
        found: Mapping[str, SeriesFacts],
        shown: Mapping[str, Shown],
        before: Mapping[str, str],
    ) -> dict[str, str]:
        """Write the pages of Series that have changed; return a hash of what each was made from."""
        slug = self._slugs[collection]
        hashes = {uid: self._series_hash(found[uid], shown[uid]) for uid in found}
        for uid, facts in found.items():
            name = addresses.series_page(slug, uid)
            if before.get(uid) != hashes[uid] or not self._folder.has(name):
                self._folder.write(name, series_page(facts, collection, slug, shown[uid]))
        for uid in before.keys() - found.keys():
            self._folder.remove(addresses.series_page(slug, uid))
        return hashes

    def _series_hash(self, facts: SeriesFacts, shown: Shown) -> str:
        content = repr((rendering.look(), facts, shown))
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]

    def _identity(self, collection: str) -> str:
        """Return what differs after a table of the Collection or the look of pages changed."""
        tables = [t for t in TABLES if t.partitioned_by == "Collection" and t.name not in _OF_ALL]
        stats = [
            [_stat(path) for path in self._warehouse.files(table, collection).paths()]
            for table in tables
        ]
        content: Mapping[str, Any] = {
            "look": rendering.look(),
            "stats": stats,
            "selection": repr(self._selection),
            "slug": self._slugs[collection],
            "gallery": (self._volumes, self._gallery.missing),
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _remove_gone(self) -> None:
        """Remove the pages of Collections that the warehouse does not have any more."""
        for slug in set(self._folder.states()) - set(self._slugs.values()):
            state = self._folder.state(slug)
            names = [addresses.collection_page(slug), addresses.collection_rows(slug)]
            names += [addresses.series_page(slug, uid) for uid in state.get("series", {})]
            for name in (*names, *files_of(state.get("gallery", {}))):
                self._folder.remove(name)
            self._folder.forget(slug)


def _stat(path: Path) -> tuple[int, int] | None:
    """Return what differs after a file was replaced; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size
