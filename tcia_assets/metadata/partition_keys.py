"""Which names of Collections and shared lists can be partition keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import quote

from tcia_assets.catalog import IMPORTS, SERIES
from tcia_assets.errors import UnknownName
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse

_MAX_KEY_LENGTH = 200
# Percent-encoded, with the column name before it, it is a folder's name: 255 bytes at most.
_MAX_ENCODED_LENGTH = 230
# Dagster takes any key, but these break its range syntax, its multi-partitions, or a path.
_INVALID_CHARACTERS = frozenset("|,[]")


def is_valid_key(name: str) -> bool:
    """Return whether a Collection's or list's name can be a partition key as it is.

    >>> [is_valid_key(n) for n in ("CT Lymph Nodes", "a|b", "..", "", "肺" * 56)]
    [True, False, False, False, False]
    """
    return (
        0 < len(name) <= _MAX_KEY_LENGTH
        and len(quote(name, safe="")) <= _MAX_ENCODED_LENGTH
        and name.isprintable()
        and name not in {".", ".."}
        and not _INVALID_CHARACTERS & set(name)
    )


def mirrored_collections(
    listed: Iterable[str], settings: Settings, warehouse: Warehouse
) -> list[str]:
    """Return the listed Collections that the source in use mirrors, as `allowed_collections`.

    Args:
        listed: The Collections that the source lists now.
        settings: Has TCIA_COLLECTIONS.
        warehouse: Has those that were listed before, or imported.

    Raises:
        UnknownName: A name of TCIA_COLLECTIONS is neither listed nor stored.
    """
    stored, imported = warehouse.keys(SERIES), warehouse.keys(IMPORTS)
    return allowed_collections(listed, settings.collections, stored, imported)


def allowed_collections(
    listed: Iterable[str],
    allow_list: tuple[str, ...],
    stored: Iterable[str] = (),
    imported: Collection[str] = (),
) -> list[str]:
    """Return the listed Collections that may become partitions.

    Args:
        listed: The Collections that the source lists now.
        allow_list: The Collections of TCIA_COLLECTIONS; all if it is empty.
        stored: The Collections in the warehouse. Such a name is allowed even if the source does
            not list it now: it may do so again.
        imported: The Collections that were imported from folders, which no source refreshes.

    Raises:
        UnknownName: A name of the allow-list is neither listed nor stored.
    """
    names = list(listed)
    for name in allow_list:
        if name not in {*names, *stored}:
            raise UnknownName("Collection (TCIA_COLLECTIONS)", name, names)
    return [
        name
        for name in names
        if is_valid_key(name) and name in (allow_list or names) and name not in imported
    ]
