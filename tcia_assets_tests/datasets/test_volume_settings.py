"""The section `volume` of a declaration, as a value."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tcia_assets.datasets.volume.volume_choice import VolumeChoice
from tcia_assets.datasets.volume_settings import VolumeSettings


def test_native_leaves_a_property_as_it_is() -> None:
    native = {"spacing": "native", "orientation": "native", "dtype": "native"}
    assert VolumeSettings.model_validate(native) == VolumeSettings()


@pytest.mark.parametrize(
    ("written", "choice", "content"),
    [
        ("first", VolumeChoice(pick="first"), "first"),
        ("all", VolumeChoice(pick="all"), "all"),
        ({"b": "0"}, VolumeChoice((("b", "0"),)), {"b": "0"}),
        ({"b": "1000.0"}, VolumeChoice((("b", "1000"),)), {"b": "1000"}),
        (
            {"type": "W", "time": "2", "pick": "last"},
            VolumeChoice((("time", "2"), ("type", "W")), "last"),
            {"time": "2", "type": "W", "pick": "last"},
        ),
    ],
)
def test_a_choice_of_volumes_is_read_and_shown_as_it_was_declared(
    written: Any, choice: VolumeChoice, content: Any
) -> None:
    settings = VolumeSettings.model_validate({"choose": written})
    assert settings.choose == choice
    assert settings.model_dump(mode="json")["choose"] == content
    assert VolumeSettings().model_dump(mode="json")["choose"] is None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("biggest", "'first', 'last', 'largest', 'all'"),
        ({"bvalue": "0"}, "no key 'bvalue'"),
        ({"b": "low"}, "'low' is not a number"),
        ({"time": "0"}, "'0' is not a number from 1"),
        ({"echo": "1.5"}, "'1.5' is not a number from 1"),
        ({"pick": "biggest"}, "is not a pick"),
        ({}, "it needs one of b, time, echo, acquisition, stack, type"),
        (None, "nothing is not a choice of volumes"),
    ],
)
def test_an_invalid_choice_names_what_is_valid(written: Any, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        VolumeSettings.model_validate({"choose": written})
    assert said in str(caught.value)


def test_an_axis_may_keep_its_spacing_and_a_window_may_have_a_name() -> None:
    written = {"spacing": ["1", "1.5", "native"], "window": "brain"}
    settings = VolumeSettings.model_validate(written)
    assert (settings.spacing, settings.window) == ((1, 1.5, None), (0, 80))
    assert settings.model_dump(mode="json")["spacing"] == [1, 1.5, None]
    assert VolumeSettings.model_validate({"spacing": ["native"] * 3}).spacing is None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"spacing": "1"}, "one length for all axes is [1, 1, 1]"),
        ({"spacing": ["1", "1", "0"]}, "[1, 1, 0] is not 'native'"),
        ({"spacing": ["1", "1", "x"]}, "'x' is not 'native'"),
        ({"window": "lungs"}, "or the name of one (lung, soft_tissue"),
        ({"window": "lungs"}, "; did you mean 'lung'?"),
        ({"units": "SUV"}, "is not a group of keys"),
        ({"units": {"MR": "HU"}}, "only CT, PT have units to choose"),
        ({"units": {"PT": "SUV"}}, "valid: 'SUVbw', 'Bq/ml', 'stored'"),
        ({"unit": "HU"}, "write: {units: {PT: Bq/ml}}"),
    ],
)
def test_an_invalid_property_names_what_is_valid(written: Any, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        VolumeSettings.model_validate(written)
    assert said in str(caught.value)
