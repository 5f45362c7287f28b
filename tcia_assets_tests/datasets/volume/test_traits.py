"""The attributes that distinguish volumes are read, whatever form they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.frames import FunctionalGroups
from tcia_assets.datasets.volume.traits import read_traits


@dataclass
class Header:
    """A classic header with some attributes."""

    attributes: dict[str, Any]

    @property
    def traits(self) -> Any:
        header = Dataset()
        for keyword, value in self.attributes.items():
            setattr(header, keyword, value)
        return read_traits(FunctionalGroups(header, Dataset(), Dataset()))


def test_a_header_without_them_has_no_values() -> None:
    assert set(Header({}).traits.values()) == {None}


@pytest.mark.parametrize(
    ("attributes", "trait", "value"),
    [
        ({"EchoTime": "4.9200001"}, "EchoTime", 4.92),
        ({"ImageType": ["ORIGINAL", "PRIMARY "]}, "ImageType", ("ORIGINAL", "PRIMARY")),
        ({"ImageType": ""}, "ImageType", None),
        ({"DiffusionBValue": 999.6}, "DiffusionBValue", 1000),
        ({"DiffusionGradientOrientation": [0.0, 0.0, 0.0]}, "DiffusionGradientOrientation", None),
        ({"AcquisitionDate": "20200101", "AcquisitionTime": "12"}, "AcquisitionTime", "2020010112"),
        ({"AcquisitionDateTime": "20200101120000.5"}, "AcquisitionTime", "20200101120000.5"),
    ],
)  # fmt: skip
def test_a_value_is_rounded_and_normalised(
    attributes: dict[str, Any], trait: str, value: object
) -> None:
    assert Header(attributes).traits[trait] == value


def test_a_private_b_value_may_have_an_unknown_vr() -> None:
    header = Dataset()
    header.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(
        0x39, "UN", b"1000000700\\8\\0\\0"
    )
    traits = read_traits(FunctionalGroups(header, Dataset(), Dataset()))
    assert traits["DiffusionBValue"] == 700
