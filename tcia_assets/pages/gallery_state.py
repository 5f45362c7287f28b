"""What a gallery has made of the Series of a Collection: which files, and why one is missing.

It is kept as JSON beside the pages, so that the next run makes only what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcia_assets.pages import addresses
from tcia_assets.pages.bad_zips import SHORT_PROBLEMS
from tcia_assets.pages.series import MASKS, SeriesFacts
from tcia_assets.pages.series_page import Shown, Viewer, name_slice, related_to

State = dict[str, Any]
"""By UID: `pictures` and `volumes`, each with key and reason, and `lost`, problems of zips."""


def is_final(state: State) -> bool:
    """Return whether all that could be made was made; what fails for want of a library may not."""
    made = [*state.get("pictures", {}).values(), *state.get("volumes", {}).values()]
    return not state.get("lost") and all(each["key"] or not each["why"] for each in made)


def files_of(state: State) -> Iterator[str]:
    """Yield the paths of the files that a state of a Collection's gallery names."""
    for each in state.get("pictures", {}).values():
        if each["key"] and not each["why"]:
            yield addresses.picture(each["key"])
    for each in state.get("volumes", {}).values():
        if each["key"] and not each["why"]:
            key = each["key"]
            yield from (addresses.volume(key), addresses.slices(key), addresses.picture(key))


def show_state(found: dict[str, SeriesFacts], state: State) -> dict[str, Shown]:
    """Return what there is to see of each of these Series, of whose Collection the state is."""
    viewers = {
        uid: _viewer(made["viewer"]) for uid, made in state["volumes"].items() if made["viewer"]
    }
    pictures = {
        uid: addresses.picture(made["key"])
        for uid, made in state["pictures"].items()
        if made["key"] and not made["why"]
    }
    pictures |= {uid: viewer.picture for uid, viewer in viewers.items()}
    slices = {u: name_slice(f.zip.slice_number, f.zip.slice_count) for u, f in found.items()}
    slices |= {uid: viewer.slice_name for uid, viewer in viewers.items()}
    for uid, facts in found.items():
        # A mask is shown over its image.
        image = next((image for image in facts.images if image in viewers), None)
        if image and facts.modality in MASKS:
            pictures[uid] = viewers[image].picture
            slices[uid] = f"drawn on {slices[image] or 'its image'}"
    return {
        uid: Shown(
            picture=pictures.get(uid, ""),
            slice_name=slices[uid],
            viewer=viewers.get(uid),
            why=_why(uid, state),
            zip_problem=SHORT_PROBLEMS.get(_why_no_picture(uid, state), ""),
            related=related_to(facts, found, pictures, slices),
        )
        for uid, facts in found.items()
    }


def _viewer(saved: dict[str, Any]) -> Viewer:
    labels = tuple((name, color, value) for name, color, value in saved["labels"])
    low, high = saved["window"]
    return Viewer(**saved | {"labels": labels, "window": (low, high)})


def unpictured(state: State) -> int:
    """Return of how many Series a picture could not be made."""
    return sum(bool(each["why"]) for each in state.get("pictures", {}).values())


def _why_no_picture(uid: str, state: State) -> str:
    why: str = state["lost"].get(uid) or state["pictures"][uid]["why"]
    return why


def _why(uid: str, state: State) -> str:
    why = _why_no_picture(uid, state)
    if why in SHORT_PROBLEMS:
        return f"{why.capitalize()}."
    if why_no_volume := state["volumes"].get(uid, {}).get("why"):
        return f"The volume cannot be shown: {why_no_volume}"
    return f"There is no picture: {why}" if why else ""
