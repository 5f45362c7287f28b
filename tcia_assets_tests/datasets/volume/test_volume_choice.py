"""`volume.choose`: which volumes of a Series are used, and what is said about the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.volume.findings import NoVolume
from tcia_assets.datasets.volume.volume_choice import VolumeChoice
from tcia_assets.datasets.volume.volume_reader import open_volumes, read_volume
from tcia_assets_tests.datasets.volume.synthetic import finding_codes, one_finding
from tcia_assets_tests.datasets.volume.synthetic_volumes import values_of, volume, zipped


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Series: b 0, and b 800 in two directions, of which the second is longer."""
    directions = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    strong = [{"DiffusionBValue": 800.0, "DiffusionGradientOrientation": d} for d in directions]
    return zipped(
        tmp_path_factory.mktemp("diffusion"),
        volume(0, DiffusionBValue=0.0),
        volume(1, **strong[0]),
        volume(2, 8, **strong[1]),
    )


def chosen(path: Path, choice: VolumeChoice | None) -> tuple[list[int], list[str]]:
    """Return the places of the chosen volumes, and the codes of findings."""
    with open_volumes(path, choice) as volumes:
        return list(volumes.chosen), finding_codes(volumes)


@pytest.mark.parametrize(
    ("choice", "places", "codes"),
    [
        (None, [2], ["several_volumes"]),
        (VolumeChoice(pick="first"), [0], ["other_volumes"]),
        (VolumeChoice(pick="last"), [2], ["other_volumes"]),
        (VolumeChoice(pick="largest"), [2], ["other_volumes"]),
        (VolumeChoice(pick="all"), [0, 1, 2], []),
        (VolumeChoice((("b", "0"),)), [0], ["other_volumes"]),
        (VolumeChoice((("b", "800"),)), [2], ["several_volumes", "other_volumes"]),
        (VolumeChoice((("b", "800"),), "first"), [1], ["other_volumes"]),
        (VolumeChoice((("b", "800"),), "all"), [1, 2], ["other_volumes"]),
        (VolumeChoice((("type", "axial"),), "first"), [0], ["other_volumes"]),
    ],
)
def test_volumes_are_chosen(
    diffusion: Path, choice: VolumeChoice | None, places: list[int], codes: list[str]
) -> None:
    assert chosen(diffusion, choice) == (places, codes)


def test_findings_name_the_volumes(diffusion: Path) -> None:
    with open_volumes(diffusion) as volumes:
        found = one_finding(volumes, "several_volumes")
    assert found.numbers == {"volumes": 3}
    assert "DiffusionBValue 0 (6 slices); DiffusionBValue 800, " in found.message


@pytest.mark.parametrize(
    "criteria", [("b", "50"), ("time", "2"), ("echo", "3"), ("stack", "1"), ("type", "PHASE")]
)
def test_a_volume_that_is_not_there_is_said(diffusion: Path, criteria: tuple[str, str]) -> None:
    with pytest.raises(NoVolume, match=r"no volume that `volume\.choose` names") as caught:
        read_volume(diffusion, VolumeChoice((criteria,)))
    assert finding_codes(caught.value) == ["volume_not_found"]
    assert f"names: {criteria[0]}: {criteria[1]}; it has " in str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "choice", "place"),
    [
        ([{"TemporalPositionIdentifier": n} for n in (7, 8)], ("time", "2"), 1),
        ([{"AcquisitionNumber": n} for n in (3, 2)], ("time", "1"), 1),
        ([{"AcquisitionNumber": n} for n in (3, 2)], ("acquisition", "3"), 0),
        ([{"TriggerTime": t} for t in ("90", "30")], ("time", "2"), 0),
        ([{"EchoTime": t} for t in ("90", "30")], ("echo", "1"), 1),
        ([{"ImageType": ["DERIVED", "PRIMARY", t]} for t in "MP"], ("type", "P"), 1),
    ],
)
def test_a_volume_is_chosen_by_an_attribute(
    tmp_path: Path, attributes: list[dict[str, Any]], choice: tuple[str, str], place: int
) -> None:
    path = zipped(tmp_path, *(volume(n, **more) for n, more in enumerate(attributes)))
    found = read_volume(path, VolumeChoice((choice,)))
    assert np.array_equal(found.voxels, values_of(place))


@pytest.mark.parametrize("choice", [(), ("time", "1"), ("echo", "1")])
def test_a_series_of_one_volume_has_its_first_time_and_echo(
    tmp_path: Path, choice: tuple[str, str]
) -> None:
    path = zipped(tmp_path, volume(0, EchoTime="5", AcquisitionNumber=4))
    found = read_volume(path, VolumeChoice((choice,) if choice else ()))
    assert (finding_codes(found), found.number, found.name) == ([], 0, "")
