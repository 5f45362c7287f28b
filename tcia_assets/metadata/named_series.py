"""Series that a selection names one by one, and the metadata of those that are not known.

Where the selection names Collections too, a Series that these do not have is not selected, so none
is requested.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tcia_assets.errors import RunFailed, UsageError
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.single_series import (
    VERSION,
    add_single_series,
    add_sizes,
    find_unknown,
    find_unknown_versions,
    find_unsized,
)
from tcia_assets.sources import Source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted


@dataclass(frozen=True)
class NamedSeries:
    """What the warehouse lacks of the Series that a selection names.

    Attributes:
        unknown: SeriesInstanceUIDs of those that it does not have, or as withdrawn.
        unknown_versions: The same, of those that are named by their crdc_series_uuid.
        unsized: Those whose size was never requested, by partial Collection.
    """

    unknown: list[str]
    unknown_versions: list[str]
    unsized: dict[str, list[str]]

    @property
    def unknown_count(self) -> int:
        """The number of Series of which nothing is known."""
        return len(self.unknown) + len(self.unknown_versions)

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing to request."""
        return not (self.unknown_count or self.unsized)

    def check_source(self, source: str) -> None:
        """Raise UsageError if the source of this name, nbia or idc, cannot look them up."""
        if self.unknown_versions and source != "idc":
            raise UsageError(
                f"{counted(len(self.unknown_versions), 'version')} of Series in a manifest of the "
                f"Imaging Data Commons, such as {self.unknown_versions[0]}, are not in the "
                "warehouse; set TCIA_SOURCE=idc, by which they can be looked up"
            )


def find_named_series(selection: Selection, warehouse: Warehouse) -> NamedSeries:
    """Return what the warehouse lacks of the Series that a selection names."""
    uids, unknown, versions = selection.named_series, [], []
    if not selection.collections:
        unknown = find_unknown(uids, warehouse)
        versions = find_unknown_versions(selection.named_versions, warehouse)
    return NamedSeries(unknown, versions, find_unsized(uids, warehouse))


def add_named_series(
    selection: Selection, named: NamedSeries, source: Source, warehouse: Warehouse, at: datetime
) -> list[str]:
    """Request what the warehouse lacks of the Series that a selection names, and store it.

    Args:
        selection: The selection.
        named: What `find_named_series` returned for it.
        source: Where the rows come from.
        warehouse: Where they are stored.
        at: The time of the request, with a time zone.

    Returns:
        Lines about Series that were not stored, and why; the others are.

    Raises:
        RunFailed: None of the Series that the selection names is known now, and it names no shared
            list.
    """
    failures = add_single_series(named.unknown, source, warehouse, at)
    failures += add_single_series(named.unknown_versions, source, warehouse, at, by=VERSION)
    # Again, because the Series that were just added have no sizes either.
    unsized = find_unsized(selection.named_series, warehouse)
    failures += add_sizes(unsized, source, warehouse, at)
    total = len(selection.named_series) + len(selection.named_versions)
    still_unknown = find_named_series(selection, warehouse).unknown_count
    if failures and still_unknown == total and not selection.shared_lists:
        raise RunFailed(failures)
    return failures
