"""The section `channels`: each channel has a condition, and its own way of being written."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.channel_settings import ChannelSettings
from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.errors import BadDeclaration

BASE = "title: T\ncohort: {collections: [X]}\nsplit: {fractions: {train: 1}}\n"
CT = "channels: {ct: {where: \"Modality = 'CT'\"}, pet: {where: \"Modality = 'PT'\"}}\n"


def parse(text: str) -> Declaration:
    return parse_declaration(BASE + text, "pet_ct")


def test_channels_keep_their_order_and_are_part_of_the_query() -> None:
    declaration = parse(CT)
    assert [name for name, _ in declaration.settings["channels"]] == ["ct", "pet"]
    assert declaration.cohort_settings["channels"] == [
        ["ct", "Modality = 'CT'"],
        ["pet", "Modality = 'PT'"],
    ]


def test_a_dataset_without_channels_has_the_settings_of_before() -> None:
    settings = parse("volume: {spacing: [1, 1, 1]}").settings
    assert settings.keys() == {
        *("title", "cohort", "split", "target", "classes", "volume", "licenses", "formats", "qc")
    }
    assert settings["volume"].keys() == {
        *("spacing", "orientation", "dtype", "window", "least_slices", "choose")
    }
    assert not any(code.startswith("channel_") for code in settings["qc"])
    assert "channels" not in parse("").cohort_settings


def test_a_channel_overrides_what_all_volumes_have() -> None:
    others = VolumeSettings.model_validate({"dtype": "int16", "choose": "first"})
    channel = ChannelSettings.model_validate(
        {"where": "true", "dtype": "native", "window": ["0", "5"], "choose": {"b": "1000"}}
    )
    own = channel.volume(others)
    assert (own.dtype, own.window, str(own.choose)) == (None, (0, 5), "b: 1000")
    plain = ChannelSettings.model_validate({"where": "true"})
    assert plain.volume(others) == others
    assert plain.content == {"where": "true"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("channels: [ct, pet]", "a list is not a group of channels: each has a name and a cond"),
        ("channels: {ct: Modality = 1}", "is not a group of keys, such as {ct: {where:"),
        ("channels: {ct: {modality: CT}}", "write: {where: \"Modality = 'CT'\"}"),
        ("channels: {ct: {description: flair}}", "SeriesDescription ILIKE '%flair%'"),
        ("channels: {dwi: {where: a, b: 1000}}", "write: {choose: {b: 1000}}"),
        ("channels: {ct: {where: a, spacing: [1, 1, 1]}}", "it belongs below 'volume'"),
        ("channels: {ct: {where: a, missing: drop_case}}", "did you mean 'drop'?"),
        ("channels: {ct: {where: a, choose: all}}", "a channel is one volume"),
        ("channels: {ct: {where: a; b}}", "it must be one SQL condition"),
        ("channels: {ct: {where: a}, reference: ct}", "a key that belongs beside 'channels'"),
        ("channels: {c t: {where: a}}", "is not a name for a channel"),
        (CT + "reference: mr", "no channel 'mr'"),
        (CT + "volume: {grid: mr}", "no channel 'mr'"),
        (CT + "volume: {window: lung}", "channels have units of their own, and windows too: ct:"),
        (CT + "volume: {choose: all}", "a channel is one volume"),
        (CT + "qc: {channel_missing: keep}", "there is nothing to keep"),
        ("reference: ct", "there is no section 'channels'"),
    ],
)
def test_what_is_guessed_wrongly_gets_a_hint(text: str, problem: str) -> None:
    with pytest.raises(BadDeclaration) as error:
        parse(text)
    assert problem in str(error.value)
