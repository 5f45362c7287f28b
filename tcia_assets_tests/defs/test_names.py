"""Names: all follow from the prefix."""

from __future__ import annotations

import pytest

from tcia_assets import catalog
from tcia_assets.defs.names import Names
from tcia_assets.errors import UsageError


def test_all_names_have_the_prefix() -> None:
    names = Names.chosen(["imaging", "nlst"], None, ["team:imaging"])

    assert names.key(catalog.SERIES).path == ["imaging", "nlst", "series"]
    assert (names.resource, names.io) == ("imaging_nlst", "imaging_nlst_io")
    assert (names.group, names.owners) == ("imaging_nlst", ("team:imaging",))
    assert names.collections.name == "imaging_nlst_collections"


def test_a_table_is_found_by_its_key_only() -> None:
    names, other = Names(), Names(("other",))

    for table in catalog.TABLES:
        assert names.table(names.key(table)) is table
        assert names.table(other.key(table)) is None


def test_partitions_follow_from_the_declaration() -> None:
    names = Names()

    assert names.partitions(catalog.COLLECTIONS) is None
    assert names.partitions(catalog.SERIES) is names.collections
    assert names.partitions(catalog.SHARED_LISTS) is names.shared_lists


@pytest.mark.parametrize("prefix", ["", [], "a b", ["x", "y/z"]])
def test_a_prefix_that_cannot_be_a_name_is_refused(prefix: str | list[str]) -> None:
    with pytest.raises(UsageError, match="key_prefix"):
        Names.chosen(prefix, None, [])
