"""Pictures and volumes of Series on disk: which are made, which are there, and why one is missing.

A file is named by a hash of the zips that it was made from, so it is made once. Pictures are made
of all Series on disk; volumes of some Series of a Collection, because each takes seconds and two
megabytes: first of those with masks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib import import_module
from typing import Any

from tcia_assets.errors import BadArchive, MissingExtra, TciaError, shorten
from tcia_assets.images.zip_files import name_at
from tcia_assets.pages import addresses
from tcia_assets.pages.bad_zips import (
    DAMAGED_ZIP,
    MISSING_ZIP,
    advise_repair,
    find_bad_zips,
)
from tcia_assets.pages.folder import CatalogueFolder
from tcia_assets.pages.gallery_state import State, files_of, show_state
from tcia_assets.pages.series import MASKS, VOLUMES, SeriesFacts, Zip, add_pairs, target_names
from tcia_assets.pages.series_page import Shown, Viewer
from tcia_assets.store.warehouse import Warehouse

DEFAULT_VOLUMES = 8
"""How many volumes a Collection has, unless another number is chosen."""

_WORKERS = 2
_LEAST_SLICES = 3
_MAX_BYTES = 1_500_000_000
_MAX_REASON = 300
# The record of a picture or a volume in a state.
_Made = dict[str, Any]


class Gallery:
    """Makes what there is to see of the Series of Collections.

    Args:
        warehouse: The mirror.
        folder: Where pictures and volumes are written.
        volumes: How many volumes a Collection has at most.
    """

    def __init__(self, warehouse: Warehouse, folder: CatalogueFolder, volumes: int) -> None:
        self._warehouse, self._folder, self._volumes = warehouse, folder, volumes
        self.missing = ""
        try:
            # An optional extra.
            self._pictures = import_module("tcia_assets.pages.pictures")
            self._volume_module = import_module("tcia_assets.pages.volumes")
        except MissingExtra as error:
            self.missing = str(error)

    def pair(self, found: dict[str, SeriesFacts]) -> None:
        """Add to the Series of a Collection what is drawn on what."""
        masks = [uid for uid, facts in found.items() if facts.modality in MASKS]
        if masks and not self.missing:
            from tcia_assets.datasets.pairing import find_pairs  # noqa: PLC0415 - an extra

            add_pairs(found, find_pairs(self._warehouse, masks))

    def show(
        self, found: dict[str, SeriesFacts], known: State, report: Callable[[], None]
    ) -> tuple[dict[str, Shown], State]:
        """Make what is missing of the Series of a Collection.

        Args:
            found: Its Series on disk, paired.
            known: What an earlier call returned.
            report: Called after each Series.

        Returns:
            What there is to see of each Series, and what the next call has to know.
        """
        if self.missing:
            whys = dict.fromkeys(found, Shown(why=f"There is no picture: {self.missing}."))
            return whys, {}
        chosen = self._choose(found)
        state: State = {
            "pictures": {},
            "volumes": {},
            "lost": find_bad_zips(found, self._warehouse),
        }
        with ThreadPoolExecutor(_WORKERS) as pool:
            for uid, made in pool.map(lambda f: self._picture(f, known), found.values()):
                state["pictures"][uid] = made
                report()
        for uid in chosen:
            state["volumes"][uid] = self._volume(found[uid], found, known, state["lost"])
        self._remove_old(known, state)
        shown = show_state(found, state)
        return {uid: self._explain(found[uid], each) for uid, each in shown.items()}, state

    def _choose(self, found: dict[str, SeriesFacts]) -> list[str]:
        """Return the Series whose volumes are made; the same ones each time."""
        fit = [facts for facts in found.values() if _may_be_volume(facts)]
        fit.sort(key=lambda facts: (not facts.masks, hashlib.sha256(facts.uid.encode()).digest()))
        return [facts.uid for facts in fit[: self._volumes]]

    def _explain(self, facts: SeriesFacts, shown: Shown) -> Shown:
        if shown.zip_problem:
            return advise_repair(facts, shown)
        if shown.viewer or shown.why or not _may_be_volume(facts):
            return shown
        text = (
            "The volume of this Series cannot be opened here: the catalogue has those of "
            f"{self._volumes} Series of a Collection, first of those with masks. For more:"
        )
        advice = f"tcia-assets catalogue --volumes {max(4 * self._volumes, 40)}"
        return replace(shown, why=text, advice=advice)

    # --- Pictures ---------------------------------------------------------------------------------

    def _picture(self, facts: SeriesFacts, known: State) -> tuple[str, _Made]:
        """Return the UID of a Series, and the key of its picture or why there is none."""
        if facts.zip.middle_entry is None:
            return facts.uid, {"key": "", "why": ""}
        parts = (self._pictures.VERSION, facts.zip.sha256, facts.zip.middle_entry)
        key = _key("picture", *parts)
        before = known.get("pictures", {}).get(facts.uid, {})
        if before.get("key") == key and (before["why"] or self._folder.has(addresses.picture(key))):
            return facts.uid, before
        why, lasts = self._try(lambda: self._make_picture(facts.zip, key))
        return facts.uid, {"key": key if lasts else "", "why": why}

    def _make_picture(self, zip_: Zip, key: str) -> None:
        with self._warehouse.archives.local(name_at(zip_.path), zip_.sha256) as path:
            content = self._pictures.picture_of(path, zip_.middle_entry or "")
        self._folder.write(addresses.picture(key), content)

    def _try(self, make: Callable[[], object]) -> tuple[str, bool]:
        """Return why something was not made, "" if it was, and whether that stays so."""
        try:
            make()
        except MissingExtra as error:
            return str(error), False
        # Their texts have paths of this machine, and the zip may be replaced by an equal one.
        except FileNotFoundError:
            return MISSING_ZIP, False
        except BadArchive:
            return DAMAGED_ZIP, False
        except OSError as error:
            return f"a file cannot be read ({error.strerror or type(error).__name__})", False
        except (TciaError, self._pictures.NoPicture) as error:
            return shorten(str(error), _MAX_REASON), True
        return "", True

    # --- Volumes ----------------------------------------------------------------------------------

    def _volume(
        self,
        facts: SeriesFacts,
        found: dict[str, SeriesFacts],
        known: State,
        lost: Collection[str],
    ) -> _Made:
        """Return the key of a volume and its viewer, or why there is none."""
        masks = [found[uid] for uid in facts.masks]
        made = self._known_volume(facts, masks, known)
        return made or self._new_volume(facts, [each for each in masks if each.uid not in lost])

    def _known_volume(
        self, facts: SeriesFacts, masks: Sequence[SeriesFacts], known: State
    ) -> _Made | None:
        """Return what an earlier call made of the same zips, if it is still there."""
        before: _Made = known.get("volumes", {}).get(facts.uid, {})
        key = self._volume_key(facts, masks)
        if before.get("key") != key:
            return None
        files = (addresses.volume(key), addresses.slices(key), addresses.picture(key))
        return before if before["why"] or all(map(self._folder.has, files)) else None

    def _new_volume(self, facts: SeriesFacts, masks: Sequence[SeriesFacts]) -> _Made:
        key, names = self._volume_key(facts, masks), target_names(masks)
        made: _Made = {}
        why, lasts = self._try(lambda: made.update(self._make_volume(facts, masks, names, key)))
        return {"key": key if lasts else "", "why": why, "viewer": made or None}

    def _volume_key(self, facts: SeriesFacts, masks: Sequence[SeriesFacts]) -> str:
        zips = (facts.zip.sha256, *(mask.zip.sha256 for mask in masks))
        return _key("volume", self._volume_module.VERSION, *zips, *target_names(masks))

    def _make_volume(
        self, facts: SeriesFacts, masks: Sequence[SeriesFacts], names: Sequence[str], key: str
    ) -> _Made:
        with ExitStack() as stack:
            paths = [
                stack.enter_context(self._warehouse.archives.local(name_at(z.path), z.sha256))
                for z in (facts.zip, *(mask.zip for mask in masks))
            ]
            shown = self._volume_module.show_volume(paths[0], paths[1:], names)
        self._folder.write(addresses.volume(key), shown.script)
        self._folder.write(addresses.slices(key), shown.slices)
        self._folder.write(addresses.picture(key), shown.picture)
        return asdict(
            Viewer(
                picture=addresses.picture(key),
                slices=addresses.slices(key),
                script=addresses.volume(key),
                columns=self._volume_module.COLUMNS,
                count=shown.count,
                depth=shown.depth,
                best=shown.best,
                window=shown.window,
                window_name=shown.window_name,
                labels=shown.labels,
            )
        )

    def _remove_old(self, known: State, state: State) -> None:
        for name in sorted(set(files_of(known)) - set(files_of(state))):
            self._folder.remove(name)


def _may_be_volume(facts: SeriesFacts) -> bool:
    if facts.modality not in VOLUMES or (facts.archive["image_bytes"] or 0) > _MAX_BYTES:
        return False
    return bool(facts.masks) or (facts.archive["image_count"] or 0) >= _LEAST_SLICES


def _key(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]
