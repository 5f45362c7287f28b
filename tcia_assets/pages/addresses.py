"""Where each page lies in the catalogue's folder: names that are plain in every file system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 80
_DIGITS = 8
# File names that Windows keeps for devices.
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])([.].*)?")


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Return a file name, without ending, for each name.

    Letters beyond ASCII, blanks and the like become "-". Names that would then have the same file,
    where upper case is ignored, have the start of their hash in it.

    >>> list(slugs(["RIDER Lung CT", "a/b", "A b", ".."]).values())
    ['RIDER-Lung-CT', 'a-b-c14cddc0', 'A-b-a760b0e1', '-5ec1f7e7']
    """
    names = list(dict.fromkeys(names))
    plain = {name: _ODD.sub("-", name).strip(".-")[:_LONGEST] for name in names}
    taken: dict[str, int] = {}
    for slug in plain.values():
        taken[slug.casefold()] = taken.get(slug.casefold(), 0) + 1
    return {
        name: slug if _is_fit(slug) and taken[slug.casefold()] == 1 else f"{slug}-{_digest(name)}"
        for name, slug in plain.items()
    }


def collection_page(slug: str) -> str:
    """Return the path of the page of a Collection."""
    return f"collections/{slug}.html"


def collection_rows(slug: str) -> str:
    """Return the path of the rows of its Series."""
    return f"collections/{slug}.rows.js"


def series_page(slug: str, uid: str) -> str:
    """Return the path of the page of a Series; a UID has only digits and dots."""
    return f"series/{slug}/{uid}.html"


def picture(key: str) -> str:
    """Return the path of a picture, by its key."""
    return f"pictures/{key[:2]}/{key}.jpg"


def volume(key: str) -> str:
    """Return the path of the script with a volume, by its key."""
    return f"volumes/{key[:2]}/{key}.js"


def slices(key: str) -> str:
    """Return the path of the picture with all slices of a volume, by its key."""
    return f"volumes/{key[:2]}/{key}.jpg"


def dataset_page(slug: str) -> str:
    """Return the path of the page of a dataset."""
    return f"datasets/{slug}.html"


def _is_fit(slug: str) -> bool:
    return bool(slug) and not _RESERVED.fullmatch(slug)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
