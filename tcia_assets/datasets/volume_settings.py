"""The section `volume` of a declaration: how volumes are chosen and written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from tcia_assets.datasets.crop_settings import Crop, Size
from tcia_assets.datasets.declaration_types import (
    Section,
    check_group,
    did_you_mean,
    problem,
    read_choice,
    read_number,
    read_numbers,
    read_text,
    shown,
    text,
    unlike,
    whole_number,
)
from tcia_assets.datasets.volume.intensities import UNITS
from tcia_assets.datasets.volume.volume_choice import CRITERIA, PICKS, VolumeChoice
from tcia_assets.errors import UnknownName

NATIVE = "native"
DTYPES = (NATIVE, "int16", "uint8", "float32")
ORIENTATIONS = (NATIVE, "RAS", "LPS", "RPS", "LAS", "LPI", "RAI", "RPI", "LAI")
WINDOWS: Mapping[str, tuple[float, float]] = {
    "lung": (-1350, 150),
    "soft_tissue": (-160, 240),
    "mediastinum": (-125, 225),
    "liver": (-45, 105),
    "bone": (-500, 1300),
    "brain": (0, 80),
}
"""Windows of CT by name, in HU: widths and levels that viewers commonly offer."""

_AXES = 3
_LATER_KEYS = frozenset({"crop", "size", "units", "grid"})
# Criteria of a volume: texts with their attributes, and values of attributes; others are counts.
_TEXTS = {"stack": "StackID", "type": "ImageType"}
_VALUES = frozenset({"b", "acquisition"})


Spacing = tuple[float | None, float | None, float | None]
"""Millimetres along x, y and z; None along an axis that keeps its own."""


def _read_spacing(value: Any) -> tuple[float | None, ...] | None:
    if value == NATIVE:
        return None
    wanted = "'native', or three lengths in mm above 0, each of which may be 'native': [1, 1, 1.5]"
    if not isinstance(value, list) or len(value) != _AXES:
        is_one = isinstance(value, str)
        advice = f"; one length for all axes is [{value}, {value}, {value}]" if is_one else ""
        raise problem(f"{shown(value)} is not {wanted}{advice}")
    lengths = [None if each == NATIVE else float(read_number(each, wanted)) for each in value]
    if min((each for each in lengths if each is not None), default=1) <= 0:
        raise problem(f"[{', '.join(map(str, value))}] is not {wanted}")
    return tuple(lengths) if any(each is not None for each in lengths) else None


def _read_window(value: Any) -> tuple[float, ...]:
    named = ", ".join(WINDOWS)
    wanted = f"a lower and an upper end, such as [-1000, 400], or the name of one ({named})"
    if value in tuple(WINDOWS):
        return WINDOWS[value]
    if isinstance(value, str):
        raise problem(f"{shown(value)} is not {wanted}{did_you_mean(value, WINDOWS)}")
    low, high = map(float, read_numbers(value, 2, wanted))
    if low >= high:
        raise problem(f"[{low:g}, {high:g}] is not {wanted}")
    return low, high


def _choice_or_native(valid: Collection[str], what: str) -> BeforeValidator:
    def read(value: Any) -> str | None:
        chosen = read_choice(value, valid, what)
        return None if chosen == NATIVE else chosen

    return BeforeValidator(read)


def _read_choice_of_volumes(value: Any) -> VolumeChoice | None:
    """Read `first`, or values such as {b: 0}, with `pick` for several volumes that have them."""
    if isinstance(value, VolumeChoice):
        return value
    if not isinstance(value, dict):
        wanted = f"choice of volumes; or write a group with {', '.join(CRITERIA)}"
        return VolumeChoice(pick=read_choice(value, PICKS, wanted))
    if not value:
        raise problem(f"it needs one of {', '.join(CRITERIA)}")
    known = (*CRITERIA, "pick")
    for name in value:
        if name not in known:
            raise problem(str(UnknownName("key", name, known)), key=name)
    pick = read_choice(value["pick"], PICKS, "pick") if "pick" in value else ""
    criteria = tuple((key, _read_criterion(key, value[key])) for key in CRITERIA if key in value)
    return VolumeChoice(criteria, pick)


def _read_criterion(key: str, value: Any) -> str:
    """Return the value of a key; an error has the line of that key."""
    try:
        if key in _TEXTS:
            return read_text(value, f"a value of {_TEXTS[key]}")
        wanted = "a number" if key in _VALUES else "a number from 1, in the order of time or echoes"
        number = read_number(value, wanted)
        if key not in _VALUES and (number < 1 or number.denominator != 1):
            raise unlike(value, wanted)
    except PydanticCustomError as error:
        raise problem((error.context or {})["problem"], key=key) from None
    return f"{float(number):.12g}"


def _read_units(value: Any) -> dict[str, str]:
    for modality, unit in check_group(value).items():
        if modality not in UNITS:
            valid = ", ".join(UNITS)
            raise problem(f"only {valid} have units to choose: others are as stored", key=modality)
        try:
            read_choice(unit, UNITS[modality], f"unit of {modality}")
        except PydanticCustomError as error:
            raise problem((error.context or {})["problem"], key=modality) from None
    return dict(value)


def check_dtype(dtype: str | None, window: tuple[float, float] | None) -> None:
    """Raise an error if most values of an image do not fit into the dtype."""
    if dtype == "uint8" and window is None:
        advice = "'uint8' needs a window: most values of an image do not fit into it"
        raise problem(advice, key="dtype")


Dtype = Annotated[str | None, _choice_or_native(DTYPES, "dtype")]
Window = Annotated[tuple[float, float] | None, BeforeValidator(_read_window)]
Choice = Annotated[
    VolumeChoice | None,
    BeforeValidator(_read_choice_of_volumes),
    PlainSerializer(lambda choice: None if choice is None else choice.content),
]
"""Types of keys that volumes and channels have in common."""


class VolumeSettings(Section):
    """How volumes are written; None leaves a property as the Series has it.

    Attributes:
        spacing: In mm along x, y, z; an axis that is `native` keeps its own, as in
            `[1, 1, native]`.
        orientation: The ends to which x, y, z rise, such as RAS.
        dtype: Of the voxels.
        window: Lower and upper end, in the units of the Series, or the name of a window of CT;
            mapped to the range of the dtype, or to 0 to 1 for float32.
        least_slices: A Series with fewer slices has the finding `too_few_slices`.
        choose: Which volumes of a Series that has several; without it, such a Series has the
            finding `several_volumes`.
        crop: To what the grid is cropped, before `size`: text such as `label`, or keys.
        size: Voxels along x, y, z as written: cropped or padded about the centre; an axis that is
            `native` keeps its own.
        units: For a Modality the unit of its voxels, where it is not the default: HU for CT and
            SUVbw for PT.
        grid: The channel on whose grid all channels and labels are; by default the reference.
    """

    hints = (
        dict.fromkeys(("shape", "patch_size"), "write: {size: [128, 128, 64]}")
        | dict.fromkeys(("margin", "above"), "write: {crop: {to: label, margin: 10}}")
        | dict.fromkeys(
            ("pad", "padding"), "'size' pads what is smaller: write {size: [128, 128, 64]}"
        )
        | {"unit": "write: {units: {PT: Bq/ml}}"}
        | {"resample": "write: {spacing: [1, 1, 3]}", "modality": "write 'channels'"}
    )

    spacing: Annotated[Spacing | None, BeforeValidator(_read_spacing)] = None
    orientation: Annotated[str | None, _choice_or_native(ORIENTATIONS, "orientation")] = None
    dtype: Dtype = None
    window: Window = None
    least_slices: Annotated[int, whole_number(1, 100_000)] = 3
    choose: Choice = None
    crop: Crop = None
    size: Size = None
    units: Annotated[dict[str, str], BeforeValidator(_read_units)] = Field(default_factory=dict)
    grid: Annotated[str, text("the name of a channel")] = ""

    @model_validator(mode="after")
    def _check_dtype(self) -> Self:
        check_dtype(self.dtype, self.window)
        return self

    @property
    def is_cut(self) -> bool:
        """Whether a part of the grid is written, or more than it."""
        return self.crop is not None or self.size is not None

    @property
    def content(self) -> dict[str, Any]:
        """The settings as JSON can hold them.

        Keys that earlier versions did not have are left out where they change nothing.
        """
        content = self.model_dump(mode="json")
        return {n: value for n, value in content.items() if value or n not in _LATER_KEYS}
