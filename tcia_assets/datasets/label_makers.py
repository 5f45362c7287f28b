"""Who made the labels of a dataset: a Collection's own authors, or analyses by others.

Analyses are often models, whose labels nobody drew. The card names them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.licenses import used_masks
from tcia_assets.metadata.publications import add_publications

_BY_MODEL = "AUTOMATIC"
_MAX_DESCRIPTIONS = 3
_COLUMNS = (
    "analysis_result_id",
    "Manufacturer",
    "ManufacturerModelName",
    "algorithms",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "title",
)


@dataclass(frozen=True)
class LabelMaker:
    """Masks that were made in the same way; texts are "" where nothing is known.

    Attributes:
        descriptions: Their SeriesDescriptions, sorted.
        series: How many Series they are.
        analysis: The analysis_result_id; "" for the Collection's own masks.
        maker: The Manufacturer.
        model: The ManufacturerModelName.
        algorithms: Types and names of the algorithms, such as `AUTOMATIC (TotalSegmentator)`.
        license_name: The name of their licence.
        license_uri: The address of their licence.
        uri: Their DataDescriptionURI.
        title: The title of their publication.
    """

    descriptions: tuple[str, ...]
    series: int
    analysis: str
    maker: str
    model: str
    algorithms: str
    license_name: str
    license_uri: str
    uri: str
    title: str

    @property
    def is_model(self) -> bool:
        """Whether an algorithm made all segments, as its objects state."""
        kinds = [each.split(" ")[0] for each in self.algorithms.split(", ")]
        return set(kinds) == {_BY_MODEL}

    @property
    def shown_descriptions(self) -> str:
        """Its first descriptions, and how many more there are."""
        more = len(self.descriptions) - _MAX_DESCRIPTIONS
        shown = "; ".join(self.descriptions[:_MAX_DESCRIPTIONS])
        return f"{shown}; and {more:,} more" if more > 0 else shown


def label_makers(samples: pa.Table, info: DatasetInfo) -> list[LabelMaker]:
    """Return who made the masks of kept samples; an empty list if no analysis by others did.

    Analyses are sorted by their ID, after the Collections' own masks.
    """
    used = used_masks(samples, info)
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in add_publications(used, info.publications).to_pylist():
        key = tuple((row[name] or "").strip() for name in _COLUMNS)
        groups[key].append((row["SeriesDescription"] or "").strip())
    makers = [
        LabelMaker(tuple(sorted({*found} - {""})), len(found), *key)
        for key, found in sorted(groups.items())
    ]
    return makers if any(maker.analysis for maker in makers) else []
