"""Combine drawings of the same label: several readers may have drawn the same structure.

Two drawings of a label are of the same structure if they share a voxel and are from different
objects, or share at least half of the smaller one and are from the same object. All others, such as
two tumours, have nothing to do with each other. A structure of one drawing stays as it is. How
several are combined is the user's choice: `READERS`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.datasets.volume.drawings import (
    Box,
    Drawing,
    box_around,
    shared_voxels,
    unite_masks,
)
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.errors import MissingExtra

UNION, FIRST, EACH, MAJORITY, STAPLE = "union", "first", "each", "majority", "staple"
READERS: Mapping[str, str] = {
    UNION: "the voxels of any reader",
    FIRST: "those of the reader who drew first",
    EACH: "the labels of each reader on their own, along a fourth axis",
    MAJORITY: "the voxels of more than half of the readers who drew the structure",
    STAPLE: "the voxels that STAPLE finds to be at least as likely inside as outside; "
    "needs SimpleITK",
}
"""How drawings of the same structure by several readers are combined."""

_HALF = 0.5


@dataclass(frozen=True, eq=False)
class LabelMask:
    """The voxels of a label, [z, y, x], in a box of the volume."""

    label: int
    box: Box
    mask: Voxels


# Whether, and when the object was drawn; its UID; the number of the reader in the object.
_Identity = tuple[bool, str, str, int]


@dataclass(frozen=True, eq=False)
class _Reader:
    """What one reader drew of one structure; readers are sorted by their identities."""

    identity: _Identity
    drawings: tuple[Drawing, ...]

    def mask(self, box: Box) -> Voxels:
        return unite_masks(self.drawings, box)


@dataclass(frozen=True, eq=False)
class _Structure:
    label: int
    readers: tuple[_Reader, ...]

    @property
    def box(self) -> Box:
        return box_around(drawing for reader in self.readers for drawing in reader.drawings)

    def masks(self) -> list[Voxels]:
        return [reader.mask(self.box) for reader in self.readers]


@dataclass(frozen=True, eq=False)
class CombinedLabels:
    """Drawings after they were combined.

    Attributes:
        layers: The masks of each reader; one layer, unless readers are kept apart.
        readers: The SOPInstanceUIDs of the objects of each layer.
        findings: What is known about readers.
    """

    layers: tuple[tuple[LabelMask, ...], ...]
    readers: tuple[tuple[str, ...], ...]
    findings: tuple[Finding, ...]


def combine_drawings(drawings: Sequence[Drawing], readers: str) -> CombinedLabels:
    """Combine the drawings of each label.

    Args:
        drawings: Of all labels, in any order.
        readers: A key of `READERS`.

    Raises:
        MissingExtra: SimpleITK is not installed, and STAPLE is chosen.
    """
    ordered = sorted(drawings, key=lambda drawing: _identity(drawing, drawing.number))
    structures = [
        structure
        for label in sorted({drawing.label for drawing in ordered})
        for structure in _structures([each for each in ordered if each.label == label])
    ]
    findings = tuple(_findings(structures, readers))
    if readers == EACH:
        layers = _layers(structures)
        masks = tuple(_layer_masks(structures, layer) for layer in layers)
        uids = tuple(tuple(sorted({uid for *_, uid, _ in layer})) for layer in layers)
        return CombinedLabels(masks or ((),), uids, findings)
    combine = _COMBINE[readers]
    layer = tuple(
        LabelMask(structure.label, structure.box, combine(structure.masks()))
        for structure in structures
    )
    return CombinedLabels((layer,), (), findings)


def _identity(drawing: Drawing, rank: int) -> _Identity:
    source = drawing.source
    # A drawing without a date comes last.
    return (not source.drawn_at, source.drawn_at, source.sop_instance_uid, rank)


# --- Which drawings are of the same structure -----------------------------------------------------


def _structures(drawings: Sequence[Drawing]) -> Iterator[_Structure]:
    """Yield the structures of one label, each with its readers in order."""
    linked = [
        (one, other)
        for one, other in combinations(range(len(drawings)), 2)
        if _is_same_structure(drawings[one], drawings[other])
    ]
    ranks = _ranks(drawings, linked)
    for members in _connected(len(drawings), linked):
        by_reader: dict[_Identity, list[Drawing]] = defaultdict(list)
        for member in members:
            drawing = drawings[member]
            by_reader[_identity(drawing, ranks[member])].append(drawing)
        readers = tuple(_Reader(key, tuple(drawn)) for key, drawn in sorted(by_reader.items()))
        yield _Structure(drawings[0].label, readers)


def _is_same_structure(one: Drawing, other: Drawing) -> bool:
    shared = shared_voxels(one, other)
    if one.source.sop_instance_uid != other.source.sop_instance_uid:
        return shared > 0
    smaller = min(np.count_nonzero(one.mask), np.count_nonzero(other.mask))
    return bool(shared >= _HALF * smaller)


def _ranks(drawings: Sequence[Drawing], linked: Iterable[tuple[int, int]]) -> list[int]:
    """Return 0, 1, ... for the readers within an object who drew the same structure."""
    ranks = [0] * len(drawings)
    for one, other in sorted(linked, key=lambda pair: (pair[1], pair[0])):
        if drawings[one].source.sop_instance_uid == drawings[other].source.sop_instance_uid:
            ranks[other] = max(ranks[other], ranks[one] + 1)
    return ranks


def _connected(count: int, linked: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the members of each group that links connect, in order."""
    group_of = list(range(count))
    for one, other in linked:
        old, new = group_of[other], group_of[one]
        group_of = [new if group == old else group for group in group_of]
    groups: dict[int, list[int]] = {}
    for member, group in enumerate(group_of):
        groups.setdefault(group, []).append(member)
    return list(groups.values())


# --- One layer for each reader --------------------------------------------------------------------


def _layers(structures: Sequence[_Structure]) -> list[set[_Identity]]:
    """Return readers by layer: no layer has two of the same structure.

    Objects of different structures may share a layer, because an archive may keep each structure of
    a reader in an object of its own.
    """
    rivals: dict[_Identity, set[_Identity]] = {}
    for structure in structures:
        identities = [reader.identity for reader in structure.readers]
        for identity in identities:
            rivals.setdefault(identity, set()).update(identities)
    layers: list[set[_Identity]] = []
    for identity, its_rivals in sorted(rivals.items()):
        layer = next((layer for layer in layers if not layer & (its_rivals - {identity})), None)
        if layer is None:
            layers.append({identity})
        else:
            layer.add(identity)
    return layers


def _layer_masks(structures: Sequence[_Structure], layer: set[_Identity]) -> tuple[LabelMask, ...]:
    return tuple(
        LabelMask(structure.label, structure.box, reader.mask(structure.box))
        for structure in structures
        for reader in structure.readers
        if reader.identity in layer
    )


# --- One layer for all readers --------------------------------------------------------------------


def _unite(masks: list[Voxels]) -> Voxels:
    return np.asarray(np.logical_or.reduce(masks))


def _first(masks: list[Voxels]) -> Voxels:
    return masks[0]


def _majority(masks: list[Voxels]) -> Voxels:
    return np.asarray(np.sum(masks, axis=0) > _HALF * len(masks))


def _staple(masks: list[Voxels]) -> Voxels:
    if len(masks) == 1:
        return masks[0]
    try:
        import SimpleITK  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("SimpleITK", "resample", "STAPLE") from None
    itk: Any = SimpleITK  # partly typed
    images = [itk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    likely = itk.GetArrayFromImage(itk.STAPLE(images, 1.0))
    return np.asarray(likely >= _HALF)


_COMBINE: Mapping[str, Callable[[list[Voxels]], Voxels]] = {
    UNION: _unite,
    FIRST: _first,
    MAJORITY: _majority,
    STAPLE: _staple,
}


def _findings(structures: Sequence[_Structure], readers: str) -> Iterator[Finding]:
    """Yield a finding for each label with structures that several readers drew."""
    for label in sorted({structure.label for structure in structures}):
        several = [s for s in structures if s.label == label and len(s.readers) > 1]
        if several:
            yield _several_readers(label, several, readers)


def _several_readers(label: int, structures: Sequence[_Structure], readers: str) -> Finding:
    drawings = [d for s in structures for reader in s.readers for d in reader.drawings]
    masks = [structure.masks() for structure in structures]
    by_any = sum(int(np.count_nonzero(np.logical_or.reduce(each))) for each in masks)
    by_all = sum(int(np.count_nonzero(np.logical_and.reduce(each))) for each in masks)
    most = max(map(len, masks))
    names = ", ".join(sorted({repr(drawing.name) for drawing in drawings}))
    detail = f"{names}: up to {most} readers, who agree on {by_all} of {by_any} voxels: {readers}"
    return make_finding(
        "several_readers",
        detail,
        (drawing.source.sop_instance_uid for drawing in drawings),
        label=label,
        readers=most,
        structures=len(structures),
        voxels_of_all=by_all,
        voxels_of_any=by_any,
    )
