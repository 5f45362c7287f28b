"""The section `channels` of a declaration: the images that a case consists of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from tcia_assets.datasets.declaration_types import (
    Condition,
    Section,
    Text,
    check_group,
    choice,
    problem,
    shown,
    word,
)
from tcia_assets.datasets.volume.volume_choice import ALL
from tcia_assets.datasets.volume_settings import (
    Choice,
    Dtype,
    VolumeSettings,
    Window,
    check_dtype,
)

DROP, ZEROS = "drop", "zeros"
MISSING: Mapping[str, str] = {
    DROP: "the case has the finding `channel_missing`, which drops it unless `qc` says `fail`",
    ZEROS: "the channel is written as zeros, with the finding `channel_zeros`",
}
"""What becomes of a case without a Series for a channel."""

_EXAMPLE = "such as {ct: {where: \"Modality = 'CT'\"}, pet: {where: \"Modality = 'PT'\"}}"
_ONE_GRID = "all channels of a case have one grid: it belongs below 'volume'"


class ChannelSettings(Section):
    """One image of a case: which Series, and how its values are written.

    Attributes:
        where: SQL over `current_series` that selects, among the Series of the cohort, those of
            this channel.
        missing: What becomes of a case without such a Series.
        choose: Which volume of a Series that has several, such as `{b: 1000}`; by default as
            below `volume`.
        dtype: Of its voxels; by default as below `volume`.
        window: Lower and upper end, in the units of the channel, or the name of a window of CT.
    """

    hints = (
        dict.fromkeys(("spacing", "orientation", "least_slices"), _ONE_GRID)
        | dict.fromkeys(("modality", "Modality"), "write: {where: \"Modality = 'CT'\"}")
        | dict.fromkeys(
            ("SeriesDescription", "description", "match"),
            "write: {where: \"SeriesDescription ILIKE '%flair%'\"}",
        )
        | {"b": "write: {choose: {b: 1000}}", "reference": "it stands beside 'channels'"}
    )

    where: Condition = Field(description="such as {where: \"Modality = 'CT'\"}")
    missing: Annotated[str, choice(MISSING, "choice")] = DROP
    choose: Choice = None
    dtype: Dtype = None
    window: Window = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_dtype(self.dtype, self.window)
        if self.choose is not None and self.choose.pick == ALL:
            raise problem("a channel is one volume: valid are all others", key="choose")
        return self

    @property
    def content(self) -> dict[str, Any]:
        """The keys that the file has, as JSON can hold them."""
        return self.model_dump(mode="json", exclude_unset=True)

    def volume(self, others: VolumeSettings) -> VolumeSettings:
        """Return how the channel is written: its own settings, and those of all volumes."""
        own = self.model_fields_set & {"choose", "dtype", "window"}
        return others.model_copy(update={name: getattr(self, name) for name in own})


def _read_channels(value: Any) -> Any:
    if isinstance(value, list | str):
        problem_ = f"{shown(value)} is not a group of channels: each has a name and a condition"
        raise problem(f"{problem_}, {_EXAMPLE}")
    for key in ("reference", "grid"):
        if isinstance(value, dict) and isinstance(value.get(key), str):
            where = "beside 'channels'" if key == "reference" else "below 'volume'"
            raise problem(f"no channel, but a key that belongs {where}", key=key)
    for name, channel in check_group(value).items():
        if isinstance(channel, str):
            raise problem(f"{shown(channel)} is not a group of keys, {_EXAMPLE}", key=str(name))
    return value


Channels = Annotated[
    dict[Annotated[Text, word("channel")], ChannelSettings],
    BeforeValidator(_read_channels),
    PlainSerializer(lambda channels: [[n, each.content] for n, each in channels.items()]),
]
"""The channels by name; their order gives their numbers."""
