"""Divide the frames of a Series into its volumes, by the attributes that distinguish them.

Frames at one place belong to several volumes. An attribute that differs between them divides all
frames: by its values, or, if it changes along the slices too (such as the time of each slice), by
their order at each place. Volumes whose slices lie between each other's are divided in the same
way. What no attribute distinguishes stays together; `slice_steps.py` has findings about it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from tcia_assets.datasets.volume.findings import Finding
from tcia_assets.datasets.volume.frames import Frame
from tcia_assets.datasets.volume.slice_geometry import heights_of, select_frames
from tcia_assets.datasets.volume.traits import STACK, TRAITS, Trait, Value

# Volumes overlap if they share this part of the shorter one's way from its first slice to its last.
_OVERLAP = 0.5

_Values = Mapping[Value, list[Frame]]
_Places = Mapping[int, float]


@dataclass(frozen=True)
class VolumeGroup:
    """The frames of one volume, in any order.

    `distinct` has the attributes by which it differs from the other volumes of its Series;
    `numbers` its number, from 1, in the order of time (`time`) and of echoes (`echo`).
    """

    frames: tuple[Frame, ...]
    distinct: Mapping[str, Value] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What distinguishes it, as text; "" for the only volume of a Series."""
        return ", ".join(f"{name} {_shown(value)}" for name, value in self.distinct.items())

    def values(self, trait: str) -> set[Value]:
        """Return the values of a trait in its frames."""
        return {frame.traits[trait] for frame in self.frames}


def find_volumes(frames: Iterable[Frame]) -> tuple[list[VolumeGroup], list[Finding]]:
    """Return the volumes of a Series, the first one first, and findings about frames left out.

    The order is that of time, b-value and echo; otherwise that of InstanceNumber.
    """
    groups: list[VolumeGroup] = []
    findings: list[Finding] = []
    for stack in _divide_by_stack(VolumeGroup(tuple(frames))):
        placed, left_out = select_frames(stack.frames)
        findings += left_out
        groups += divide(replace(stack, frames=tuple(placed))) if placed else ()
    return groups, findings


def divide(group: VolumeGroup) -> list[VolumeGroup]:
    """Divide frames of one orientation, size and spacing into volumes, the first one first."""
    heights = heights_of(group.frames)
    groups = [group]
    for trait in TRAITS:
        groups = [part for each in groups for part in _divide(each, trait, heights)]
    return groups


def _divide_by_stack(group: VolumeGroup) -> list[VolumeGroup]:
    """Divide by StackID, whatever the orientation is; not if it is missing or numbers frames."""
    values = _by_value(group.frames, STACK)
    are_stacks = None not in values and any(len(frames) > 1 for frames in values.values())
    return _parts(group, STACK, values) if are_stacks else [group]


def _divide(group: VolumeGroup, trait: Trait, heights: _Places) -> list[VolumeGroup]:
    values = _by_value(group.frames, trait)
    if len(values) > 1:
        if _are_volumes(group, trait, values, heights):
            return _parts(group, trait, values)
        if trait.is_time and (ranked := _by_order(group.frames, trait, heights)):
            return _parts(group, trait, ranked)
    return [group]


def _by_value(frames: Iterable[Frame], trait: Trait) -> dict[Value, list[Frame]]:
    values: dict[Value, list[Frame]] = defaultdict(list)
    for frame in frames:
        values[frame.traits[trait.name]].append(frame)
    return values


def _are_volumes(group: VolumeGroup, trait: Trait, values: _Values, heights: _Places) -> bool:
    """Return whether the frames with each value are a volume of their own."""
    places = [{heights[id(frame)] for frame in frames} for frames in values.values()]
    is_shared = len(set().union(*places)) < sum(map(len, places))
    if trait.decides:
        # An attribute that numbers the slices distinguishes no volumes.
        return is_shared or any(len(each) > 1 for each in places)
    if is_shared:
        return all(one & other for one, other in combinations(places, 2))
    return _are_interleaved(group, places)


def _are_interleaved(group: VolumeGroup, places: Sequence[set[float]]) -> bool:
    """Return whether parts are volumes whose slices lie between each other's.

    One volume of an MR may be acquired in such parts too: then its slices are as far apart as they
    are declared to be.
    """
    if not all(_do_overlap(one, other) for one, other in combinations(places, 2)):
        return False
    declared = group.frames[0].declared_step or group.frames[0].thickness
    if not group.frames[0].is_mr:
        return True
    whole, own = _step(set().union(*places)), min(map(_step, places))
    return not declared or abs(own - declared) <= abs(whole - declared)


def _do_overlap(one: set[float], other: set[float]) -> bool:
    shared = min(max(one), max(other)) - max(min(one), min(other))
    shorter = min(max(one) - min(one), max(other) - min(other))
    return shorter > 0 and shared >= _OVERLAP * shorter


def _step(places: set[float]) -> float:
    """Return the mean distance between neighbours, in mm."""
    return (max(places) - min(places)) / max(len(places) - 1, 1)


def _by_order(frames: Sequence[Frame], trait: Trait, heights: _Places) -> dict[Value, list[Frame]]:
    """Divide by the order of values at each place; empty if places have different numbers."""
    levels: dict[float, dict[Value, list[Frame]]] = defaultdict(lambda: defaultdict(list))
    for frame in frames:
        levels[heights[id(frame)]][frame.traits[trait.name]].append(frame)
    counts = {len(values) for values in levels.values()}
    if len(counts) > 1 or counts == {1}:
        return {}
    ranked: dict[Value, list[Frame]] = defaultdict(list)
    for values in levels.values():
        for rank, value in enumerate(sorted(values, key=_sort_key), start=1):
            ranked[f"number {rank}"] += values[value]
    return ranked


def _parts(group: VolumeGroup, trait: Trait, values: _Values) -> list[VolumeGroup]:
    if len(values) == 1:
        return [group]

    def order(item: tuple[Value, list[Frame]]) -> Any:
        # Texts and directions have no order of their own: the one that was numbered first is first.
        value, frames = item
        number = value if isinstance(value, int | float) else None
        return (_sort_key(number), min(frame.number for frame in frames))

    parts = []
    for number, (value, frames) in enumerate(sorted(values.items(), key=order), start=1):
        numbers = {trait.counts: number} if trait.counts else {}
        distinct = {**group.distinct, trait.name: value}
        parts.append(VolumeGroup(tuple(frames), distinct, {**numbers, **group.numbers}))
    return parts


def _sort_key(value: Value) -> Any:
    return (value is not None, 0 if value is None else value)


def _shown(value: Value) -> str:
    if value is None:
        return "missing"
    if isinstance(value, tuple):
        return "\\".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, int | float) else value
