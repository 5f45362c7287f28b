"""Under which licences a dataset is, and whom it has to cite.

What belongs here: the samples that are kept, and the masks that lie on them, as a table of
attribution; the licences, strictest first. What does not: the files (`metadata/attribution.py`).

A mask has a licence and a DOI of its own: often others than the images' have drawn it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.samples import KEPT
from tcia_assets.metadata.citations import SCHEMA, Attribution, Citation
from tcia_assets.metadata.licenses import short_license

_TOLD = ("Collection", "LicenseName", "LicenseURI", "DataDescriptionURI")
# How much each restriction counts, so that any two of them are more than the lesser one.
_WEIGHTS = {"nc": 4, "nd": 2, "sa": 1}
_KNOWN = re.compile(r"cc-by(-nc)?(-nd|-sa)?(-[0-9.]+)?|cc0(-[0-9.]+)?")
_CC = re.compile(r"creativecommons[.]org/.*", re.IGNORECASE)


@dataclass(frozen=True)
class License:
    """A licence as the archive names it; `name` and `uri` are "" where it does not tell.

    `short` is its short name, such as `cc-by-nc-3.0`, or "" where that is not known.
    """

    name: str
    uri: str
    series: int
    collections: tuple[str, ...]

    @property
    def short(self) -> str:
        address = _CC.search(self.uri)
        for text in (self.name, address[0] if address else ""):
            short = short_license(text)
            if _KNOWN.fullmatch(short):
                return short
        return ""

    @property
    def strictness(self) -> int:
        """The higher, the stricter; one that is not told, or not known, may be anything."""
        if not self.short:
            return 200 if self.name or self.uri else 300
        if self.short.startswith("cc0"):
            return -1
        words = self.short.split("-")
        return sum(weight for word, weight in _WEIGHTS.items() if word in words)


def attribution_table(samples: pa.Table, info: DatasetInfo) -> pa.Table:
    """Images and masks of the samples that are kept, as `SCHEMA`; bytes are NIfTI's."""
    kept = samples.filter(pc.equal(samples["state"], KEPT)).to_pylist()
    masks = {row["SeriesInstanceUID"]: row for row in info.masks.to_pylist()}
    series: Counter[tuple[str | None, ...]] = Counter()
    sizes: Counter[tuple[str | None, ...]] = Counter()
    drawn: dict[str, int] = {}
    for row in kept:
        series[_told(row)] += 1
        sizes[_told(row)] += row["image_bytes"]
        for place, uid in enumerate(row["target_series_instance_uids"]):
            # Labels are one file, of however many masks.
            drawn[uid] = drawn.get(uid, 0) + ((row["label_bytes"] or 0) if place == 0 else 0)
    for uid, size in drawn.items():
        if uid in masks:
            series[_told(masks[uid])] += 1
            sizes[_told(masks[uid])] += size
    rows = [
        {**dict(zip(_TOLD, key, strict=True)), "series": number, "bytes": sizes[key]}
        for key, number in sorted(series.items(), key=lambda item: [str(v) for v in item[0]])
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def _told(row: dict[str, str | None]) -> tuple[str | None, ...]:
    collection, *others = ((row[name] or "").strip() or None for name in _TOLD)
    return (collection or "", *others)


def list_licenses(samples: pa.Table, info: DatasetInfo) -> list[License]:
    """Each licence of images and masks, the strictest first."""
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for row in attribution_table(samples, info).to_pylist():
        key = (row["LicenseName"] or "", row["LicenseURI"] or "")
        found.setdefault(key, []).append((row["Collection"], row["series"]))
    made = [
        License(name, uri, sum(n for _, n in seen), tuple(sorted({c for c, _ in seen})))
        for (name, uri), seen in found.items()
    ]
    return sorted(made, key=lambda each: (-each.strictness, each.short, each.name, each.uri))


def list_sources(samples: pa.Table, info: DatasetInfo) -> list[Citation]:
    """What is to be cited for images and masks, each once."""
    return Attribution.of("", attribution_table(samples, info)).citations
