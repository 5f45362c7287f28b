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
from tcia_assets.pages.collection_page import collection_page
from tcia_assets.pages.collections import CollectionFacts, read_collections
from tcia_assets.pages.folder import DEFAULT, CatalogueFolder
from tcia_assets.pages.overview import overview_page, read_state
from tcia_assets.pages.rows import rows_script, series_columns
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.warehouse import Warehouse

# Tables that change with each refresh, and of which only the overview shows something.
_OF_ALL = ("snapshots",)
INDEX = "index.html"


@dataclass(frozen=True)
class Catalogue:
    """A catalogue on disk, and what the run did.

    Attributes:
        folder: Where it is.
        pages: Number of its pages.
        written: Number of files that are new or have changed.
        removed: Number of files of what is gone.
        bytes_written: The bytes of the files that were written.
    """

    folder: Path
    pages: int
    written: int
    removed: int
    bytes_written: int

    @property
    def index(self) -> Path:
        """The page to open."""
        return self.folder / INDEX


def build_catalogue(
    warehouse: Warehouse,
    to: Path | None = None,
    *,
    selection: Selection | None = None,
    report: ProgressCallback = ignore_progress,
) -> Catalogue:
    """Write the catalogue of a mirror, or bring it up to date.

    Args:
        warehouse: The mirror.
        to: The folder: a new or an empty one, or that of a catalogue; by default `catalogue` in the
            data folder.
        selection: What counts as selected for images.
        report: Called with the number of Collections that are done and of all that have changed.

    Raises:
        UsageError: The folder is not ours. Nothing in it was changed.
        StorageError: A file cannot be written. Each file is whole, in its old or its new version.
        Busy: Another run has been writing it for ten minutes.
    """
    folder = CatalogueFolder((to or warehouse.root / DEFAULT).absolute())
    with folder.opened(warehouse.root):
        return _Build(warehouse, folder, selection, report).run()


class _Build:
    def __init__(
        self,
        warehouse: Warehouse,
        folder: CatalogueFolder,
        selection: Selection | None,
        report: ProgressCallback,
    ) -> None:
        self._warehouse, self._folder = warehouse, folder
        self._selection, self._report = selection, report
        self._slugs = addresses.slugs(warehouse.keys(SERIES))

    def run(self) -> Catalogue:
        for name, content in rendering.assets():
            self._folder.write(name, content)
        states = dict(self._update_collections())
        self._remove_gone()
        facts = [CollectionFacts(**state["facts"]) for state in states.values()]
        known = sorted(facts, key=lambda each: each.name.casefold())
        state = read_state(self._warehouse)
        self._folder.write(INDEX, overview_page(known, state, self._slugs, {}))
        return Catalogue(
            folder=self._folder.path,
            pages=1 + len(known),
            written=len(self._folder.written),
            removed=len(self._folder.removed),
            bytes_written=self._folder.bytes_written,
        )

    # --- Collections ------------------------------------------------------------------------------

    def _update_collections(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the state of each Collection, after its pages are as its tables are."""
        identities = {name: self._identity(name) for name in self._slugs}
        states = {name: self._folder.state(slug) for name, slug in self._slugs.items()}
        stale = [n for n in identities if states[n].get("identity") != identities[n]]
        yield from ((name, states[name]) for name in identities if name not in stale)
        self._report(0, len(stale))
        for done, facts in enumerate(self._read(stale), start=1):
            state = {
                "name": facts.name,
                "identity": identities[facts.name],
                "facts": facts.model_dump(mode="json"),
            }
            self._write_collection(facts)
            self._folder.save(self._slugs[facts.name], state)
            self._report(done, len(stale))
            yield facts.name, state

    def _read(self, names: Sequence[str]) -> Sequence[CollectionFacts]:
        return read_collections(self._warehouse, names, self._selection)

    def _write_collection(self, facts: CollectionFacts) -> None:
        slug = self._slugs[facts.name]
        rows = rows_script(series_columns(self._warehouse, facts.name))
        self._folder.write(addresses.collection_rows(slug), rows)
        self._folder.write(addresses.collection_page(slug), collection_page(facts, slug, []))

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
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _remove_gone(self) -> None:
        """Remove the pages of Collections that the warehouse does not have any more."""
        for slug in set(self._folder.states()) - set(self._slugs.values()):
            self._folder.remove(addresses.collection_page(slug))
            self._folder.remove(addresses.collection_rows(slug))
            self._folder.forget(slug)


def _stat(path: Path) -> tuple[int, int] | None:
    """Return what differs after a file was replaced; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size
