"""What is true of a dataset as a whole, for the formats and the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.classes import Classes
from tcia_assets.datasets.cohort import CHANNEL, IMPORTED_FROM, SERIES, TARGET, ClassJoin, Cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.sample_store import NIFTI, PNG
from tcia_assets.metadata.citations import POLICY, Origin
from tcia_assets.metadata.publications import PUBLICATIONS


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset, apart from its samples; holds no time and no path.

    Attributes:
        name: Of the dataset.
        title: Of the dataset.
        settings: `Declaration.settings`.
        labels: The names of labels by number, from 1; empty without a target.
        splits: The names of the splits, in order.
        folds: The number of folds of the first split; 0 for none.
        cohort_sha256: the hash of the cohort.
        made_with: The versions of the libraries that made the dataset.
        policy: The address of TCIA's data usage policy.
        channels: The names of the channels in the order of their numbers; empty without channels.
        series_of_channels: The Series of channels that are not the reference, as `cohort.SERIES`.
        masks: The SEG and RTSTRUCT Series, as `cohort.SERIES`: they have licences of their own.
        publications: What images and masks have to cite, as `publications.PUBLICATIONS`.
        released: The newest day on which a Series of the cohort was released, as 2026-11-27; None
            if it is not known.
        origin: Where its Series are from.
        classes: The names of classes by number, from 0; empty without classes.
        class_join: How their values were joined with images.
    """

    name: str
    title: str
    settings: Mapping[str, Any]
    labels: Mapping[int, str]
    splits: tuple[str, ...]
    folds: int
    cohort_sha256: str
    made_with: Mapping[str, str]
    policy: str = POLICY
    masks: pa.Table = field(default_factory=SERIES.empty_table, compare=False, repr=False)
    publications: pa.Table = field(
        default_factory=PUBLICATIONS.empty_table, compare=False, repr=False
    )
    released: str | None = None
    origin: Origin = Origin.TCIA
    classes: Mapping[int, str] = field(default_factory=dict)
    class_join: ClassJoin | None = None
    channels: tuple[str, ...] = ()
    series_of_channels: pa.Table = field(
        default_factory=SERIES.empty_table, compare=False, repr=False
    )

    @property
    def has_frames(self) -> bool:
        """Whether the samples are two-dimensional images."""
        return bool(self.settings.get("frames"))

    @property
    def image_ending(self) -> str:
        """The end of the names of the images' files."""
        frames = self.settings.get("frames") or {}
        return PNG if frames.get("file") == "png" else NIFTI

    @classmethod
    def of(
        cls, declaration: Declaration, cohort: Cohort, made_with: Mapping[str, str]
    ) -> DatasetInfo:
        """Return the info of a dataset that is built from a declaration and a cohort."""
        target = declaration.target
        return cls(
            name=declaration.name,
            title=declaration.title,
            settings=declaration.settings,
            labels={} if target is None else target.patterns.by_number,
            splits=declaration.split.splits,
            folds=declaration.split.folds,
            cohort_sha256=cohort.sha256,
            made_with=made_with,
            masks=cohort.of_role(TARGET),
            publications=cohort.publications,
            released=cohort.released,
            origin=Origin.of(cohort.series[IMPORTED_FROM].to_pylist()),
            classes=Classes.of(declaration, cohort).by_number,
            class_join=cohort.class_join,
            channels=tuple(declaration.channels),
            series_of_channels=cohort.of_role(CHANNEL),
        )
