"""The keys `volume.crop` and `volume.size` of a declaration: which part of a grid is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from tcia_assets.datasets.declaration_types import (
    Section,
    choice,
    problem,
    read_number,
    shown,
)

FOREGROUND, LABEL, NATIVE = "foreground", "label", "native"
CROPS: Mapping[str, str] = {
    FOREGROUND: "to the voxels of the image that are above `above`",
    LABEL: "to the voxels that have a label",
}
"""What a grid may be cropped to."""

_AXES = 3
_MOST_VOXELS = 32_767


def _read_margin(value: Any) -> float:
    wanted = "a length in mm of at least 0, such as 10"
    length = float(read_number(value, wanted))
    if length < 0:
        raise problem(f"{shown(value)} is not {wanted}")
    return length


def _read_above(value: Any) -> float | None:
    return None if value is None else float(read_number(value, "a number"))


class CropSettings(Section):
    """To what a grid is cropped; written as text, such as `crop: label`, it has no margin.

    Attributes:
        to: `foreground` or `label`.
        margin: Millimetres around it, as far as the grid reaches.
        above: With `foreground`, the value above which voxels count; by default -500 for CT in
            HU, else 0.
    """

    hints = dict.fromkeys(("margin_mm", "pad"), "write: {margin: 10}") | {
        "threshold": "write: {above: 0}"
    }

    to: Annotated[str, choice(CROPS, "crop")] = Field(description="'foreground' or 'label'")
    margin: Annotated[float, BeforeValidator(_read_margin)] = 0.0
    above: Annotated[float | None, BeforeValidator(_read_above)] = None

    @model_validator(mode="after")
    def _check_above(self) -> Self:
        if self.above is not None and self.to != FOREGROUND:
            raise problem("it belongs to 'to: foreground'", key="above")
        return self


def read_crop(value: Any) -> Any:
    """Return a group of keys, also of a crop that is written as text."""
    if isinstance(value, list) or value is None:
        example = "{to: label, margin: 10}"
        raise problem(f"{shown(value)} is not a crop: write 'label', 'foreground' or {example}")
    return {"to": value} if isinstance(value, str) else value


def read_size(value: Any) -> tuple[int | None, ...]:
    """Return voxels along x, y, z, None along an axis that keeps its own."""
    wanted = f"three whole numbers from 1 to {_MOST_VOXELS:,}, each of which may be 'native'"
    if not isinstance(value, list) or len(value) != _AXES:
        advice = "" if isinstance(value, list) else "; a cube is [128, 128, 128]"
        raise problem(f"{shown(value)} is not {wanted}{advice}")
    numbers = [None if each == NATIVE else read_number(each, wanted) for each in value]
    for each in numbers:
        if each is not None and not (each.denominator == 1 and 1 <= each <= _MOST_VOXELS):
            raise problem(f"[{', '.join(map(str, value))}] is not {wanted}")
    return tuple(None if each is None else int(each) for each in numbers)


Crop = Annotated[CropSettings | None, BeforeValidator(read_crop)]
Size = Annotated[tuple[int | None, int | None, int | None] | None, BeforeValidator(read_size)]
