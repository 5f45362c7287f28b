"""Series that a selection names one by one, of Collections that were not refreshed."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import SERIES
from tcia_assets.errors import RunFailed, UsageError
from tcia_assets.metadata.named_series import NamedSeries, add_named_series, find_named_series
from tcia_assets.metadata.selection import Selection
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day


def test_what_is_named_and_not_known_is_stored_and_nothing_else(mirror: SandboxMirror) -> None:
    first, second = mirror.uids(SMALL, 2)
    selection = Selection(series=(first, "9.9.9"))
    named = find_named_series(selection, mirror.warehouse)
    assert (named.unknown, named.unknown_count) == ([first, "9.9.9"], 2)

    [line] = add_named_series(selection, named, mirror.source, mirror.warehouse, day(1))
    assert line.startswith("9.9.9 is not known")
    assert mirror.warehouse.read(SERIES)["SeriesInstanceUID"].to_pylist() == [first]
    assert find_named_series(Selection(series=(first,)), mirror.warehouse).is_complete
    assert find_named_series(selection, mirror.warehouse).unknown == ["9.9.9"]
    # Of a Collection that is named too, a Series that it does not have is not selected.
    both = Selection(collections=(SMALL,), series=(second,))
    assert find_named_series(both, mirror.warehouse).is_complete


def test_a_selection_of_which_nothing_is_known_fails(mirror: SandboxMirror) -> None:
    selection = Selection(series=("9.9.8", "9.9.9"))
    named = find_named_series(selection, mirror.warehouse)
    with pytest.raises(RunFailed, match=r"9\.9\.8 is not known"):
        add_named_series(selection, named, mirror.source, mirror.warehouse, day(1))


def test_versions_of_the_imaging_data_commons_are_looked_up_there_only() -> None:
    named = NamedSeries([], ["0a1b"], {})
    named.check_source("idc")
    with pytest.raises(UsageError, match=r"1 version of Series .* such as 0a1b, .* TCIA_SOURCE"):
        named.check_source("nbia")
