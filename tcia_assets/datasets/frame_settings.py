"""The section `frames` of a declaration: two-dimensional images, and how they are written."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from tcia_assets.datasets.declaration_types import (
    Section,
    choice,
    problem,
    read_numbers,
    shown,
)
from tcia_assets.datasets.frame.frame_choice import MIDDLE, PICKS

PNG, NIFTI = "png", "nifti"
FILES = {
    PNG: "grey levels of 8 or 16 bits, or RGB: as a viewer shows the image",
    NIFTI: "real values, with the spacing: as the detector measured them",
}
HEADER, FULL = "header", "full"
WINDOWS = {
    HEADER: "the first lookup table or window of the header; without one, bytes as they are, and "
    "the whole range of other values",
    FULL: "the whole range of values of the image, without padding",
}
BITS = (8, 16)
# The units of grey levels and colours.
DISPLAY = "display"


def _read_window(value: Any) -> str | tuple[float, float]:
    if isinstance(value, str) and value in WINDOWS:
        return value
    wanted = f"one of {', '.join(WINDOWS)}, or a lower and an upper end, such as [0, 4095]"
    if not isinstance(value, list | tuple):
        raise problem(f"{shown(value)} is not {wanted}")
    low, high = map(float, read_numbers(list(value), 2, wanted))
    if low >= high:
        raise problem(f"[{low:g}, {high:g}] is not {wanted}")
    return low, high


def _read_bits(value: Any) -> int:
    wanted = " or ".join(map(str, BITS))
    if str(value) not in {str(each) for each in BITS}:
        raise problem(f"{shown(value)} is not {wanted}")
    return int(value)


class FrameSettings(Section):
    """How two-dimensional images are written; each frame is a sample.

    Attributes:
        file: The kind of file.
        bits: Of a grey level in PNG; colours have 8 bits each.
        window: Which values are black and white in PNG: `header`, `full`, or a lower and an upper
            end.
        choose: Which frames of an object that has several, such as a cine of ultrasound.
    """

    hints = dict.fromkeys(("spacing", "size"), "images keep their own grid")

    file: Annotated[str, choice(FILES, "kind of file")] = PNG
    bits: Annotated[int, BeforeValidator(_read_bits)] = 8
    window: Annotated[str | tuple[float, float], BeforeValidator(_read_window)] = HEADER
    choose: Annotated[str, choice(PICKS, "choice of frames")] = MIDDLE

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        given = self.model_fields_set & {"bits", "window"}
        if self.file == NIFTI and given:
            reason = "NIfTI holds real values: it is of PNG only"
            raise problem(reason, key=min(given))
        return self

    @property
    def ending(self) -> str:
        """The end of the names of the files."""
        return ".png" if self.file == PNG else ".nii.gz"
