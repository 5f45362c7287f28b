"""Dagster partitions: adding keys, and runs over a range of neighbouring keys."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

# SQLite may be built with a lower limit on variables in one statement than Dagster assumes.
_MOST_KEYS_AT_ONCE = 5_000


def add_partitions(
    instance: dg.DagsterInstance, partitions: dg.DynamicPartitionsDefinition, keys: Sequence[str]
) -> int:
    """Add the keys that do not exist yet, in order, and return how many those were."""
    name = str(partitions.name)
    new = sorted(set(keys) - set(instance.get_dynamic_partitions(name)))
    for batch in batches(new):
        instance.add_dynamic_partitions(name, batch)
    return len(new)


def batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the keys in pieces that Dagster's storage can add in one statement."""
    for start in range(0, len(keys), _MOST_KEYS_AT_ONCE):
        yield keys[start : start + _MOST_KEYS_AT_ONCE]


def range_tags(first: str, last: str) -> dict[str, str]:
    """Return the tags of a run over the partitions from `first` to `last`, in Dagster's order."""
    return {RANGE_START: first, RANGE_END: last}


def ranges(keys: Sequence[str], order: Sequence[str]) -> list[list[str]]:
    """Group keys that are neighbours in Dagster's order, since a run covers only neighbours.

    >>> ranges(["a", "b", "d"], ["a", "b", "c", "d"])
    [['a', 'b'], ['d']]
    """
    places = sorted(order.index(key) for key in keys)
    groups: list[list[str]] = []
    for last, place in zip([None, *places], places, strict=False):
        if last is None or place != last + 1:
            groups.append([])
        groups[-1].append(order[place])
    return groups


def keys_of_run(tags: Mapping[str, str], order: Sequence[str]) -> set[str]:
    """Return the partition keys of a run with these tags; empty if it has none that are known."""
    if PARTITION in tags:
        return {tags[PARTITION]}
    first, last = tags.get(RANGE_START), tags.get(RANGE_END)
    if first in order and last in order:
        return set(order[order.index(first) : order.index(last) + 1])
    return set()
