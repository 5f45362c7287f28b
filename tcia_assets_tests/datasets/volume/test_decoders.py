"""One decoder for each transfer syntax, and it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import JPEG2000Lossless, RLELossless

from tcia_assets.datasets.volume import decoders
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import Series, noise, write_zip


def compressed(syntax: Any, values: Any = None) -> list[Any]:
    """Return the objects of a Series, compressed."""
    objects = Series(noise((3, 34, 36)) if values is None else values).objects()
    for each in objects:
        each.compress(syntax, generate_instance_uid=False)
    return objects


def test_a_volume_names_its_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    assert read_volume(write_zip(path, Series().objects())).decoder == ""
    assert read_volume(write_zip(path, compressed(JPEG2000Lossless))).decoder == "pylibjpeg"
    mixed = [*compressed(RLELossless)[:2], compressed(JPEG2000Lossless)[2]]
    assert read_volume(write_zip(path, mixed)).decoder == "pydicom, pylibjpeg"


def test_what_a_dataset_is_made_with_names_decoders_and_versions() -> None:
    found = decoders.made_with()
    assert "pylibjpeg (JPEGBaseline8Bit, " in found["decoders"]
    assert "pydicom (RLELossless)" in found["decoders"]
    assert found["pylibjpeg-openjpeg"] == decoders.installed("pylibjpeg-openjpeg") != ""
    # It is installed for pictures, and decodes nothing where pylibjpeg is.
    assert "pillow" not in found


def test_another_set_of_installed_decoders_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with_all = decoders.made_with()
    only = property(lambda _: ("pillow",))
    monkeypatch.setattr(Decoder, "available_plugins", only)
    assert decoders.made_with() != with_all
    assert decoders.made_with()["pillow"] == decoders.installed("pillow")
