"""Grey levels are those that a viewer shows: pydicom's and by hand, and higher is brighter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from tcia_assets.datasets.frame.display import to_display
from tcia_assets_tests.datasets.frame.objects import frame_object

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def shown(window: Any, bits: int = 8, values: Any = RAMP, **header: Any) -> Any:
    made = frame_object(values, BitsStored=12, HighBit=11, **header)
    return to_display(values, made, window, bits)


def test_a_declared_window_is_linear_and_clipped() -> None:
    made = shown((1024.0, 3072.0))
    assert made.shown_by == "window 1024 to 3072"
    assert made.pixels.dtype == np.uint8
    assert (made.pixels[RAMP <= 1024] == 0).all() and (made.pixels[RAMP >= 3072] == 255).all()
    assert made.pixels[RAMP == 2048] == 128
    assert shown((1024.0, 3072.0), 16).pixels[RAMP == 2048] == 32768


@pytest.mark.parametrize("function", ["", "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_window_of_the_header_is_that_of_pydicom(function: str) -> None:
    header = {"WindowCenter": [2000, 40], "WindowWidth": [1000, 80], "VOILUTFunction": function}
    header = {name: value for name, value in header.items() if value}
    made = shown("header", 16, **header)
    wanted = apply_windowing(RAMP, frame_object(RAMP, BitsStored=12, HighBit=11, **header))
    assert np.abs(made.pixels / 65535 - wanted / 4095).max() < 1e-4
    assert made.shown_by.startswith("window 2000/1000 of the header")
    assert ("SIGMOID" in made.shown_by) == (function == "SIGMOID")


def test_a_lookup_table_of_the_header_is_applied() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTExplanation = [4096, 0, 16], "inverse"
    entries = (65535 - 16 * np.arange(4096)).astype("<u2").tobytes()
    table.add_new("LUTData", "OW", entries)
    made = shown("header", 16, VOILUTSequence=[table])
    assert made.shown_by == "VOI LUT of the header"
    assert np.abs(made.pixels.astype(int) - (65535 - 16 * RAMP.astype(int))).max() <= 1


def test_low_values_of_monochrome1_are_bright() -> None:
    made = shown((0.0, 4095.0), PhotometricInterpretation="MONOCHROME1")
    assert (made.pixels[0, 0], made.pixels[-1, -1]) == (255, 1)
    assert made.shown_by.endswith(", inverted")


def test_without_a_window_the_whole_range_is_shown_but_not_padding() -> None:
    values = RAMP.copy()
    values[0, :4] = 4000
    values[1, 0] = 0
    full = to_display(values, frame_object(values, PixelPaddingValue=4000), "header", 8)
    assert full.shown_by == "whole range, 0 to 4080"
    values[values > 3000] = 4000
    full = to_display(values, frame_object(values, PixelPaddingValue=4000), "full", 8)
    assert full.shown_by == "whole range, 0 to 2992" and full.pixels.max() == 255


def test_bytes_without_a_window_are_shown_as_they_are() -> None:
    values = np.arange(100, dtype=np.uint8).reshape(10, 10)
    made = to_display(values, frame_object(values), "header", 8)
    assert made.shown_by == "stored range, 0 to 255" and (made.pixels == values).all()
    assert to_display(values, frame_object(values), "full", 8).pixels.max() == 255


@pytest.mark.parametrize("width", [0, -1, [1, 2, 3]])
def test_a_window_that_means_nothing_is_not_used(width: Any) -> None:
    assert shown("header", WindowCenter=100, WindowWidth=width).shown_by.startswith(
        ("whole range", "window 100/1 ")
    )


def test_an_image_of_one_value_is_black() -> None:
    assert not shown("full", values=np.full((4, 4), 7, np.uint16)).pixels.any()
