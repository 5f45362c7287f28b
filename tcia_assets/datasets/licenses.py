"""The licences of a dataset, and the data that it has to cite.

The attribution covers the kept samples and their masks. The files that state it are written in
`metadata/attribution.py`.

Masks have licences and DOIs of their own: often other people have drawn them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.samples import image_files, kept_samples
from tcia_assets.metadata.citations import SCHEMA, Attribution, Citation
from tcia_assets.metadata.licenses import short_license
from tcia_assets.metadata.publications import add_publications

_COLUMNS = (
    "Collection",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "analysis_result_id",
)
# Each weight is more than the sum of the lesser ones, so that every combination has its own sum.
_WEIGHTS = {"nc": 4, "nd": 2, "sa": 1}
_MISSING, _UNRECOGNIZED, _CC0 = 300, 200, -1
_RECOGNIZED = re.compile(r"cc-by(-nc)?(-nd|-sa)?(-[0-9.]+)?|cc0(-[0-9.]+)?")
_CC_ADDRESS = re.compile(r"creativecommons[.]org/.*", re.IGNORECASE)

_Key = tuple[str | None, ...]


@dataclass(frozen=True)
class License:
    """A licence, as the source names it.

    Attributes:
        name: "" if the source provides none.
        uri: "" if the source provides none.
        series: How many Series have it.
        collections: The Collections of these Series.
    """

    name: str
    uri: str
    series: int
    collections: tuple[str, ...]

    @property
    def short(self) -> str:
        """The short name, such as `cc-by-nc-3.0`; "" if the licence is not a known one."""
        address = _CC_ADDRESS.search(self.uri)
        for text in (self.name, address[0] if address else ""):
            short = short_license(text)
            if _RECOGNIZED.fullmatch(short):
                return short
        return ""

    @property
    def is_missing(self) -> bool:
        """Whether the source states no licence at all."""
        return not (self.name or self.uri)

    @property
    def strictness(self) -> int:
        """A number that is higher for a stricter licence; highest for a missing or unknown one."""
        if not self.short:
            return _MISSING if self.is_missing else _UNRECOGNIZED
        if self.short.startswith("cc0"):
            return _CC0
        words = self.short.split("-")
        return sum(weight for word, weight in _WEIGHTS.items() if word in words)


def license_of_row(row: Mapping[str, str | None]) -> License:
    """Return the licence of a Series of a cohort, without what it is counted by."""
    name, uri = ((row[key] or "").strip() for key in ("LicenseName", "LicenseURI"))
    return License(name, uri, 0, ())


def attribution_table(samples: pa.Table, info: DatasetInfo) -> pa.Table:
    """Return the attribution of kept images, all channels, and masks, as `citations.SCHEMA`.

    `bytes` are those of the NIfTI files; a file of labels counts for the first of its masks.
    """
    others = {
        row["SeriesInstanceUID"]: row
        for table in (info.masks, info.series_of_channels)
        for row in table.to_pylist()
    }
    series: Counter[_Key] = Counter()
    sizes: Counter[_Key] = Counter()
    other_bytes: Counter[str] = Counter()
    for row in kept_samples(samples).to_pylist():
        series[_key(row)] += 1
        sizes[_key(row)] += row["image_bytes"]
        for position, uid in enumerate(row["target_series_instance_uids"]):
            other_bytes[uid] += (row["label_bytes"] or 0) if position == 0 else 0
        for image in image_files(row).values():
            if image["SeriesInstanceUID"] not in (None, row["SeriesInstanceUID"]):
                other_bytes[image["SeriesInstanceUID"]] += image["image_bytes"]
    for uid, size in other_bytes.items():
        if uid in others:
            series[_key(others[uid])] += 1
            sizes[_key(others[uid])] += size
    rows = [
        {**dict(zip(_COLUMNS, key, strict=True)), "series": number, "bytes": sizes[key]}
        for key, number in sorted(series.items(), key=lambda item: [str(v) for v in item[0]])
    ]
    table = pa.Table.from_pylist(rows, SCHEMA).drop_columns(["title", "citation"])
    return add_publications(table, info.publications)


def used_masks(samples: pa.Table, info: DatasetInfo) -> pa.Table:
    """Return the masks of the kept samples, as `cohort.SERIES`."""
    used = {
        uid
        for uids in kept_samples(samples)["target_series_instance_uids"].to_pylist()
        for uid in uids
    }
    wanted = pa.array(sorted(used), pa.string())
    return info.masks.filter(pc.is_in(info.masks["SeriesInstanceUID"], value_set=wanted))


def _key(row: dict[str, str | None]) -> _Key:
    collection, *others = ((row.get(name) or "").strip() or None for name in _COLUMNS)
    return (collection or "", *others)


def list_licenses(samples: pa.Table, info: DatasetInfo) -> list[License]:
    """Return each licence of kept images and their masks, the strictest first."""
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for row in attribution_table(samples, info).to_pylist():
        key = (row["LicenseName"] or "", row["LicenseURI"] or "")
        found.setdefault(key, []).append((row["Collection"], row["series"]))
    licenses = [
        License(name, uri, sum(n for _, n in seen), tuple(sorted({c for c, _ in seen})))
        for (name, uri), seen in found.items()
    ]
    return sorted(licenses, key=lambda each: (-each.strictness, each.short, each.name, each.uri))


def list_citations(samples: pa.Table, info: DatasetInfo) -> list[Citation]:
    """Return the data to cite for kept images and their masks, each once."""
    return Attribution.of("", attribution_table(samples, info)).citations
