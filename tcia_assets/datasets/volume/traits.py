"""The attributes that distinguish the volumes of a Series: time, b-value, echo, acquisition.

They are read for each frame, from the functional groups of enhanced objects or from the header of
classic ones. `volume_groups.py` divides frames by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.attributes import (
    first_item,
    read_number,
    read_numbers,
    read_text,
    read_texts,
)


class Groups(Protocol):
    """The functional groups of a frame; see `frames.FunctionalGroups`."""

    @property
    def header(self) -> Dataset:
        """The object itself."""

    @property
    def is_empty(self) -> bool:
        """Whether the object has no functional groups, as classic objects."""

    def holder(self, sequence: str) -> Dataset:
        """Return the item of a functional group, or the object itself if there is none."""


Value = float | str | tuple[float, ...] | tuple[str, ...] | None
Traits = Mapping[str, Value]

TIME, ECHO = "time", "echo"

# Classic objects that were converted to enhanced ones keep other attributes here.
_CONVERTED = (
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)
_CONTENT, _DIFFUSION = "FrameContentSequence", "MRDiffusionSequence"
_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
_DIRECTION_LENGTH = 3
# GE writes 1000000000 + the b-value.
_GE_OFFSET = 1_000_000


@dataclass(frozen=True)
class Trait:
    """An attribute, or several that say the same.

    Attributes:
        name: As findings show it; a DICOM keyword.
        read: Its value in a frame; None without one.
        decides: Frames with different values are never one volume, wherever they are. Other
            attributes may change along the slices of one volume: only frames at one place show that
            they are different volumes.
        counts: What its values number: `time` or `echo`. Of times, the k-th value at each place
            belongs to the k-th volume.
    """

    name: str
    read: Callable[[Groups], Value]
    decides: bool = False
    counts: str = ""

    @property
    def is_time(self) -> bool:
        """Whether its order is an order in time."""
        return self.counts == TIME


def read_traits(groups: Groups) -> Traits:
    """Return the value of each trait in a frame."""
    return {trait.name: trait.read(groups) for trait in (STACK, *TRAITS)}


def _number(places: Mapping[str, tuple[str, ...]], digits: int = 3) -> Callable[[Groups], Value]:
    """Return a reader of the first of some numbers, by their keywords and sequences."""

    def read(groups: Groups) -> Value:
        for keyword, sequences in places.items():
            for holder in _holders(groups, sequences):
                if (number := read_number(holder, keyword)) is not None:
                    return round(number, digits)
        return None

    return read


def _holders(groups: Groups, sequences: tuple[str, ...] = ()) -> Iterator[Dataset]:
    if not groups.is_empty:
        yield from (groups.holder(sequence) for sequence in (*sequences, *_CONVERTED))
    yield groups.header


def _stack(groups: Groups) -> Value:
    return read_text(groups.holder(_CONTENT), "StackID") or None


def _image_type(groups: Groups) -> Value:
    for sequence in () if groups.is_empty else _FRAME_TYPES:
        if found := read_texts(groups.holder(sequence), "FrameType"):
            return found
    return read_texts(groups.header, "ImageType") or None


def _kernel(groups: Groups) -> Value:
    holders = _holders(groups, ("CTReconstructionSequence",))
    return next(filter(None, (read_texts(each, "ConvolutionKernel") for each in holders)), None)


def _acquired_at(groups: Groups) -> Value:
    # A DT, or a DA and a TM; equal forms within a Series sort as texts.
    if text := read_text(groups.holder(_CONTENT), "FrameAcquisitionDateTime"):
        return text
    for item in _holders(groups):
        text = read_text(item, "AcquisitionDateTime")
        text = text or read_text(item, "AcquisitionDate") + read_text(item, "AcquisitionTime")
        if text:
            return text
    return None


# --- Diffusion ------------------------------------------------------------------------------------

_standard_b_value = _number({"DiffusionBValue": (_DIFFUSION,)}, 0)


def _b_value(groups: Groups) -> Value:
    if (found := _standard_b_value(groups)) is not None:
        return found
    for group, creator, element in (
        (0x0019, "SIEMENS MR HEADER", 0x0C),
        (0x0043, "GEMS_PARM_01", 0x39),
        (0x2001, "Philips Imaging DD 001", 0x03),
    ):
        numbers = _private_numbers(groups.header, group, creator, element)
        if numbers:
            return round(numbers[0] % _GE_OFFSET)
    return None


def _direction(groups: Groups) -> Value:
    numbers: tuple[float, ...] = ()
    for item in _holders(groups, (_DIFFUSION,)):
        nested = first_item(item, "DiffusionGradientDirectionSequence")
        holder = item if nested is None else nested
        found = read_numbers(holder, "DiffusionGradientOrientation", _DIRECTION_LENGTH)
        numbers = numbers or found or ()
    numbers = numbers or _private_numbers(groups.header, 0x0019, "SIEMENS MR HEADER", 0x0E)
    is_direction = len(numbers) == _DIRECTION_LENGTH and any(numbers)
    return tuple(round(number, 3) for number in numbers) if is_direction else None


def _private_numbers(header: Dataset, group: int, creator: str, element: int) -> tuple[float, ...]:
    """Return the numbers of a private attribute, also where its VR is not known."""
    # Most headers have none, and pydicom takes long to say so.
    if all(tag >> 16 != group for tag in header.keys()):  # noqa: SIM118 - else it parses each value
        return ()
    try:
        value = header.private_block(group, creator)[element].value
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace").strip(" \0").split("\\")
        return tuple(map(float, [value] if isinstance(value, int | float | str) else value))
    except (KeyError, TypeError, ValueError):
        return ()


STACK = Trait("StackID", _stack, decides=True)
"""The stacks of enhanced objects, which may have different orientations."""
TRAITS = (
    Trait(
        "TemporalPositionIdentifier",
        _number({"TemporalPositionIndex": (_CONTENT,), "TemporalPositionIdentifier": ()}),
        decides=True,
        counts=TIME,
    ),
    Trait("DiffusionBValue", _b_value, decides=True),
    Trait("DiffusionGradientOrientation", _direction),
    Trait(
        "EchoTime",
        _number({"EffectiveEchoTime": ("MREchoSequence",), "EchoTime": ()}, 2),
        decides=True,
        counts=ECHO,
    ),
    Trait("ImageType", _image_type),
    Trait("ConvolutionKernel", _kernel),
    Trait(
        "AcquisitionNumber",
        _number({"FrameAcquisitionNumber": (_CONTENT,), "AcquisitionNumber": ()}),
        counts=TIME,
    ),
    Trait(
        "TriggerTime",
        _number(
            {
                "NominalCardiacTriggerDelayTime": ("CardiacSynchronizationSequence",),
                "TriggerTime": (),
            }
        ),
        counts=TIME,
    ),
    Trait("FrameReferenceTime", _number({"FrameReferenceTime": ()}), counts=TIME),
    Trait("AcquisitionTime", _acquired_at, counts=TIME),
)
"""In the order in which they are tried: the surest first."""
