"""All that decides what is in the samples of a Series, as one value with a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from tcia_assets.datasets.cohort import LockedZip
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.frame_settings import FrameSettings
from tcia_assets.datasets.sample_code import code_digest
from tcia_assets.datasets.volume.label_grid import LabelChoices
from tcia_assets.datasets.volume_settings import VolumeSettings

_KEY_DIGITS = 32


@dataclass(frozen=True)
class Mask:
    """The zip of a SEG or RTSTRUCT Series, and the objects in it that lie on the image."""

    zip: LockedZip
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True)
class Channel:
    """A channel of a case, in the declared order.

    Attributes:
        name: Of the channel.
        series_instance_uid: Its Series; "" for one that is written as zeros.
        zip: The zip of that Series; None for zeros.
        image_count: The number of objects that the source reports for it.
        volume: How it is chosen and written.
        is_reference: Whether the case is named by it, and labels are drawn on it.
    """

    name: str
    series_instance_uid: str
    zip: LockedZip | None
    image_count: int | None
    volume: VolumeSettings
    is_reference: bool

    @classmethod
    def of(
        cls, declaration: Declaration, row: Mapping[str, Any], zips: Mapping[str, LockedZip]
    ) -> Channel:
        """Return a channel of a case, from a row of `sample_table.channels_by_image`."""
        name, uid = row["channel"], row["SeriesInstanceUID"] or ""
        return cls(
            name=name,
            series_instance_uid=uid,
            zip=zips[uid] if uid else None,
            image_count=row["ImageCount"],
            volume=declaration.channels[name].volume(declaration.volume),
            is_reference=row["is_reference"],
        )

    @property
    def content(self) -> list[Any]:
        """All fields, but no path, as JSON can hold them."""
        zip_ = self.zip and self.zip.content
        fields = (self.name, self.series_instance_uid, zip_, self.image_count, self.is_reference)
        return [*fields, self.volume.content]


@dataclass(frozen=True)
class SampleJob:
    """All that decides what is in a sample; `labels` and `priority` are empty without a target.

    `channels` are empty for a dataset without channels; otherwise the image is among them. With
    `frames` the samples are two-dimensional images, and no volume is made.
    """

    series_instance_uid: str
    zip: LockedZip
    image_count: int | None
    masks: tuple[Mask, ...]
    volume: VolumeSettings
    labels: tuple[tuple[str, str], ...]
    priority: tuple[str, ...]
    made_with: Mapping[str, str]
    choices: LabelChoices = field(default_factory=LabelChoices)
    channels: tuple[Channel, ...] = ()
    frames: FrameSettings | None = None
    code: str = field(default_factory=code_digest)

    @cached_property
    def key(self) -> str:
        """The key in the store: a hash of all fields, but of no path."""
        content = {
            "series": self.series_instance_uid,
            "archive": self.zip.content,
            "image_count": self.image_count,
            "masks": [[mask.zip.content, mask.sop_instance_uids] for mask in self.masks],
            "volume": self.volume.content,
            "labels": self.labels,
            "priority": self.priority,
            "choices": asdict(self.choices),
            "channels": [channel.content for channel in self.channels],
            "frames": self.frames and self.frames.model_dump(mode="json"),
            "made_with": dict(self.made_with),
            "code": self.code,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        return digest.hexdigest()[:_KEY_DIGITS]

    @classmethod
    def of(
        cls,
        declaration: Declaration,
        image: Mapping[str, Any],
        pairs: Iterable[Mapping[str, Any]],
        channels: Iterable[Mapping[str, Any]],
        zips: Mapping[str, LockedZip],
        made_with: Mapping[str, str],
    ) -> SampleJob:
        """Return the job of an image of the cohort.

        Args:
            declaration: Of the dataset.
            image: A row of `cohort.SERIES`.
            pairs: The rows of `cohort.PAIRS` with this image.
            channels: Its channels, as `sample_table.channels_by_image` returns them.
            zips: The zips of all Series, by UID.
            made_with: The versions of the libraries that decide what is in the files.
        """
        objects: dict[str, set[str]] = {}
        for pair in pairs:
            uids = objects.setdefault(pair["target_series_instance_uid"], set())
            uids.add(pair["SOPInstanceUID"] or "")
        masks = (Mask(zips[uid], tuple(sorted(sops))) for uid, sops in sorted(objects.items()))
        uid, target = image["SeriesInstanceUID"], declaration.target
        made = tuple(Channel.of(declaration, row, zips) for row in channels)
        return cls(
            series_instance_uid=uid,
            zip=zips[uid],
            image_count=image["ImageCount"],
            masks=tuple(masks),
            volume=next((c.volume for c in made if c.is_reference), declaration.volume),
            labels=() if target is None else tuple(target.labels.items()),
            priority=() if target is None else target.priority,
            choices=LabelChoices() if target is None else target.choices,
            made_with=made_with,
            channels=made,
            frames=declaration.frames,
        )
