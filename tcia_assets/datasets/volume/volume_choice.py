"""Which volumes of a Series are used: `volume.choose` of a declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tcia_assets.datasets.volume.traits import ECHO, TIME
from tcia_assets.datasets.volume.volume_groups import VolumeGroup

FIRST, LAST, LARGEST, ALL = "first", "last", "largest", "all"
PICKS: Mapping[str, str] = {
    FIRST: "the first one by time, b-value, echo or number",
    LAST: "the last one",
    LARGEST: "the one with most slices; of equal ones the first",
    ALL: "each is a sample",
}
"""Ways to pick one volume, or all, out of several."""


def _is_only(trait: str, wanted: str, group: VolumeGroup) -> bool:
    """Return whether all frames have this value, written as text or as a number."""
    values = group.values(trait)
    if len(values) != 1 or None in values:
        return False
    (value,) = values
    return value == float(wanted) if isinstance(value, int | float) else str(value) == wanted


def _has_type(wanted: str, group: VolumeGroup) -> bool:
    types = group.values("ImageType")
    return all(isinstance(each, tuple) and wanted.upper() in each for each in types)


def _has_number(kind: str, wanted: str, group: VolumeGroup) -> bool:
    # A Series with one time has time 1.
    return group.numbers.get(kind, 1) == int(wanted)


CRITERIA: Mapping[str, Callable[[str, VolumeGroup], bool]] = {
    "b": lambda wanted, group: _is_only("DiffusionBValue", wanted, group),
    "time": lambda wanted, group: _has_number(TIME, wanted, group),
    "echo": lambda wanted, group: _has_number(ECHO, wanted, group),
    "acquisition": lambda wanted, group: _is_only("AcquisitionNumber", wanted, group),
    "stack": lambda wanted, group: _is_only("StackID", wanted, group),
    "type": _has_type,
}
"""What a volume may be chosen by, with the test of a value."""


@dataclass(frozen=True)
class VolumeChoice:
    """A choice out of the volumes of a Series.

    Attributes:
        criteria: Values by the keys of `CRITERIA`, all of which a volume must have. `time` and
            `echo` are numbers from 1; `b` is in s/mm2; `type` is one of the values of ImageType.
        pick: A key of `PICKS`, for several volumes that have these values; "" for none.
    """

    criteria: tuple[tuple[str, str], ...] = ()
    pick: str = ""

    @property
    def content(self) -> str | dict[str, str]:
        """The choice, as a declaration has it."""
        if not self.criteria:
            return self.pick
        return dict(self.criteria) | ({"pick": self.pick} if self.pick else {})

    def __str__(self) -> str:
        named = [f"{key}: {value}" for key, value in self.criteria]
        return ", ".join([*named, self.pick] if self.pick else named)

    def select(self, groups: Sequence[VolumeGroup]) -> tuple[VolumeGroup, ...]:
        """Return the chosen volumes: none, one, or several if the choice leaves them open."""
        found = [
            group
            for group in groups
            if all(CRITERIA[key](wanted, group) for key, wanted in self.criteria)
        ]
        if not found or self.pick in ("", ALL):
            return tuple(found)
        if self.pick == LARGEST:
            return (max(found, key=lambda group: len(group.frames)),)
        return (found[0] if self.pick == FIRST else found[-1],)
