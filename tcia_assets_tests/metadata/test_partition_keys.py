"""Only names that Dagster, a folder and a path can hold become partitions."""

from __future__ import annotations

import pytest

from tcia_assets.errors import UnknownName
from tcia_assets.metadata.partition_keys import allowed_collections, is_valid_key


@pytest.mark.parametrize("name", ["4D-Lung", "a/b", "Ünïcode", "100%", "x" * 200, "...", "肺" * 25])
def test_a_name_that_can_be_a_key(name: str) -> None:
    assert is_valid_key(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a|b", "a,b", "[a]", "a\nb", "x" * 201, "肺" * 26])
def test_a_name_that_cannot_be_a_key(name: str) -> None:
    assert not is_valid_key(name)


def test_without_an_allow_list_all_valid_names_are_allowed() -> None:
    assert allowed_collections(["b", "a|b", "a"], ()) == ["b", "a"]


def test_an_allow_list_may_have_stored_collections_that_are_not_listed_now() -> None:
    assert allowed_collections(["a", "b"], ("b", "c"), stored=["c"]) == ["b"]
    with pytest.raises(UnknownName, match=r"TCIA_COLLECTIONS.*'c'"):
        allowed_collections(["a", "b"], ("b", "c"))
