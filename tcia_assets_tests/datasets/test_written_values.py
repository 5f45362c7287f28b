"""Values are mapped by the window, and a volume without any difference left is a finding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.volume.arrays import Volume
from tcia_assets.datasets.volume.findings import make_finding
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.datasets.written_values import convert_values
from tcia_assets.errors import BadValue


def volume(*values: float, **more: Any) -> Volume:
    voxels = np.array(values, np.float32).reshape(1, 1, -1)
    return Volume(voxels, np.eye(4), "1.2", "1.3", "PT", "SUVbw", **more)


def converted(volume: Volume, **settings: Any) -> tuple[list[float], list[str]]:
    """Return the values, and the codes of findings."""
    done, findings = convert_values(
        volume, VolumeSettings.model_validate(settings), volume.voxels.dtype
    )
    return done.voxels.ravel().tolist(), [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({}, [0, 2.5, 5, 9]),
        ({"window": ["0", "5"]}, [0, 0.5, 1, 1]),
        ({"window": ["0", "5"], "dtype": "uint8"}, [0, 128, 255, 255]),
        ({"dtype": "int16"}, [0, 2, 5, 9]),
    ],
)
def test_values_are_converted(settings: dict[str, Any], values: list[float]) -> None:
    assert converted(volume(0, 2.5, 5, 9), **settings) == (values, [])


def test_a_volume_that_a_window_makes_constant_is_a_finding() -> None:
    counts = volume(2000, 9000, 32000)
    window = {"window": ["0", "5"], "dtype": "uint8"}
    assert converted(counts, **window) == ([255, 255, 255], ["zero_variance"])
    _, (finding,) = convert_values(
        counts, VolumeSettings.model_validate(window), counts.voxels.dtype
    )
    assert finding.message.endswith("255, after the window from 0 to 5")
    assert converted(volume(0.1, 0.2), dtype="int16") == ([0, 0], ["zero_variance"])


def test_a_volume_that_was_constant_before_has_one_finding() -> None:
    found = (make_finding("zero_variance"),)
    assert converted(volume(3, 3, findings=found), window=["0", "5"])[1] == []


def test_values_beyond_the_dtype_are_refused() -> None:
    with pytest.raises(BadValue, match="from 0 to 40000 do not fit into int16"):
        converted(volume(0, 40000), dtype="int16")
