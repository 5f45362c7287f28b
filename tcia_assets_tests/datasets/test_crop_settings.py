"""The keys `volume.crop` and `volume.size`."""

from __future__ import annotations

from typing import Any

import pytest

from tcia_assets.datasets.crop_settings import CropSettings
from tcia_assets.datasets.declaration import parse_declaration
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.errors import BadDeclaration

BASE = "title: T\ncohort: {collections: [X]}\nsplit: {fractions: {train: 1}}\n"


def test_a_crop_is_a_text_or_keys() -> None:
    assert _volume(crop="label").crop == CropSettings(to="label")
    crop = _volume(crop={"to": "foreground", "margin": "7.5", "above": "-300"}).crop
    assert crop is not None
    assert (crop.margin, crop.above) == (7.5, -300)


def test_a_size_may_keep_an_axis() -> None:
    settings = _volume(size=["96", "96", "native"])
    assert settings.size == (96, 96, None)
    assert settings.content["size"] == [96, 96, None]
    assert settings.is_cut and not _volume().is_cut


def test_what_is_not_declared_is_not_among_the_settings() -> None:
    assert not {"crop", "size", "grid"} & parse(BASE)["volume"].keys()
    assert not {"nothing_to_crop_to", "padded_to_size"} & parse(BASE)["qc"].keys()
    cut = parse(BASE + "volume: {crop: foreground}")
    assert cut["volume"]["crop"] == {"to": "foreground", "margin": 0.0, "above": None}
    assert cut["qc"]["nothing_to_crop_to"] == "keep"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("volume: {crop: lung}", "'lung' is not a crop; valid: 'foreground', 'label'"),
        ("volume: {crop: [10, 10, 10]}", "write 'label', 'foreground' or {to: label, margin: 10}"),
        ("volume: {crop: {margin: 10}}", "the key 'to' is missing; 'foreground' or 'label'"),
        ("volume: {crop: {to: foreground, margin: -1}}", "a length in mm of at least 0"),
        ("volume: {crop: {to: foreground, threshold: 0}}", "write: {above: 0}"),
        ("volume: {crop: {to: label, above: 0}}", "it belongs to 'to: foreground'"),
        ("volume: {crop: label}", "there are no labels: it needs a target"),
        ("volume: {size: 128}", "a cube is [128, 128, 128]"),
        ("volume: {size: [1.5, 2, 2]}", "[1.5, 2, 2] is not three whole numbers from 1"),
        ("volume: {shape: [1, 2, 2]}", "write: {size: [128, 128, 64]}"),
        ("volume: {margin: 10}", "write: {crop: {to: label, margin: 10}}"),
        ("crop: label", "it belongs below 'volume'"),
    ],
)
def test_what_is_guessed_wrongly_gets_a_hint(text: str, problem: str) -> None:
    with pytest.raises(BadDeclaration) as error:
        parse(BASE + text)
    assert problem in str(error.value)


def _volume(**keys: Any) -> VolumeSettings:
    return VolumeSettings.model_validate(keys)


def parse(text: str) -> dict[str, Any]:
    return parse_declaration(text, "a").settings
