"""Partitions: added in batches, and grouped into ranges of neighbours."""

from __future__ import annotations

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.defs import partitions
from tcia_assets.defs.partitions import (
    PARTITION,
    add_partitions,
    batches,
    keys_of_run,
    range_tags,
    ranges,
)
from tcia_assets_tests.examples import examples

ORDER = [str(number) for number in range(12)]


@settings(max_examples=examples(50))
@given(st.sets(st.sampled_from(ORDER)))
def test_ranges_hold_each_key_once_and_only_neighbours(keys: set[str]) -> None:
    groups = ranges(sorted(keys), ORDER)

    assert sorted(key for group in groups for key in group) == sorted(keys)
    for group in groups:
        first, last = ORDER.index(group[0]), ORDER.index(group[-1])
        assert group == ORDER[first : last + 1]
    # No two of them could be one run.
    ends = {ORDER.index(group[-1]) + 1 for group in groups}
    assert not ends & {ORDER.index(group[0]) for group in groups}


@pytest.mark.parametrize(
    ("tags", "keys"),
    [
        ({PARTITION: "3"}, {"3"}),
        (range_tags("2", "4"), {"2", "3", "4"}),
        (range_tags("2", "removed"), set()),
        ({}, set()),
    ],
)
def test_the_keys_of_a_run_follow_from_its_tags(tags: dict[str, str], keys: set[str]) -> None:
    assert keys_of_run(tags, ORDER) == keys


def test_only_new_keys_are_added_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "_MOST_KEYS_AT_ONCE", 2)
    dynamic = dg.DynamicPartitionsDefinition(name="some")
    with dg.DagsterInstance.ephemeral() as instance:
        assert add_partitions(instance, dynamic, ["b", "a", "c"]) == 3
        assert add_partitions(instance, dynamic, ["c", "d"]) == 1

        assert instance.get_dynamic_partitions("some") == ["a", "b", "c", "d"]
    assert [list(batch) for batch in batches(["a", "b", "c"])] == [["a", "b"], ["c"]]
