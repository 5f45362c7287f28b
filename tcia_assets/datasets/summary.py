"""The numbers of a dataset's card, as plain tables.

They are counts and ranges over the table of samples; `card.py` writes them as Markdown.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.samples import DROPPED, KEPT, file_bytes, image_files

Record = dict[str, str | int | float]
Summary = dict[str, list[Record]]

TITLES: Mapping[str, str] = {
    "parts": "Splits",
    "labels": "Labels",
    "classes": "Classes",
    "modalities": "Modality",
    "manufacturers": "Manufacturer",
    "collections": "Collection",
    "sexes": "Sex",
    "ages": "Age in years",
    "geometry": "Spacing and size",
    "quality": "Findings",
}
"""The tables of the summary with their titles, in the order of the card."""

# No split has these names: names of splits have no blanks.
VALUE, TOTAL = "the value", "in total"
NOT_GIVEN = "not given"
NEGATIVE = "none of them (negatives)"

_Row = dict[str, Any]

_COUNTED = {
    "manufacturers": "Manufacturer",
    "collections": "Collection",
    "sexes": "PatientSex",
}
_AGES = ((0, "0-17"), (18, "18-39"), (40, "40-59"), (60, "60-79"), (80, "80 and more"))
_DAYS = {"D": 1, "W": 7, "M": 30.4375, "Y": 365.25}


def summarize(samples: pa.Table, splits: Sequence[str] = ()) -> Summary:
    """Return the numbers of the card: a list of records with equal keys for each key of `TITLES`.

    Args:
        samples: As `samples.SAMPLES`. Only kept samples count, unless a column's description
            states a different set.
        splits: The order of the columns of splits; by default they are sorted by name.
    """
    rows = samples.to_pylist()
    kept = [row for row in rows if row["state"] == KEPT]
    ordered = list(splits) or sorted({row["part"] for row in rows if row["part"]})
    return {
        "parts": list(_splits(rows, ordered)),
        "labels": _labels(kept),
        "classes": _classes(kept, ordered),
        "modalities": _counts(list(_modalities(kept)), _value_of("Modality"), ordered),
        **{name: _counts(kept, _value_of(column), ordered) for name, column in _COUNTED.items()},
        "ages": _counts(kept, _age_group, ordered, [name for _, name in _AGES]),
        "geometry": list(_geometry(kept)),
        "quality": _findings(rows),
    }


def _splits(rows: list[_Row], splits: list[str]) -> Iterator[Record]:
    without_split = [None] if any(row["part"] is None for row in rows) else []
    for split in (*splits, *without_split):
        members = [row for row in rows if row["part"] == split]
        kept = [row for row in members if row["state"] == KEPT]
        yield {
            "split": split or "none",
            "patients": len({row["patient"] for row in kept}),
            KEPT: len(kept),
            DROPPED: len(members) - len(kept),
            "bytes": sum(file_bytes(row) for row in kept),
        }


def _labels(kept: list[_Row]) -> list[Record]:
    """Count samples and voxels of each label, and the samples with masks that have none."""
    samples: Counter[str] = Counter()
    voxels: Counter[str] = Counter()
    for row in kept:
        for name, count in row["label_voxels"] or ():
            samples[name] += count > 0
            voxels[name] += count
    found: list[Record] = [
        {"label": n, "samples with it": samples[n], "voxels": voxels[n]} for n in voxels
    ]
    drawn = [row["label_voxels"] for row in kept if row["label_voxels"] is not None]
    if negatives := sum(not any(count for _, count in counts) for counts in drawn):
        found.append({"label": NEGATIVE, "samples with it": negatives, "voxels": 0})
    return found


def _classes(kept: list[_Row], splits: list[str]) -> list[Record]:
    """Count the samples of each split by class, in the order of the numbers of the classes."""
    names = {row["class_index"]: row["class_name"] for row in kept if row["class_name"]}
    if not names:
        return []
    order = [names[number] for number in sorted(names)]
    return _counts(kept, _value_of("class_name"), splits, order)


def _modalities(kept: list[_Row]) -> Iterator[_Row]:
    """Yield each Modality of the images of each sample: channels may have several."""
    for row in kept:
        images = image_files(row).values()
        found = {image["Modality"] for image in images if image["SeriesInstanceUID"]}
        yield from ({"part": row["part"], "Modality": modality} for modality in found)


def _counts(
    kept: list[_Row],
    value_of: Callable[[_Row], str],
    splits: list[str],
    order: Sequence[str] = (),
) -> list[Record]:
    """Count the samples of each split by value, in an order, then the most frequent first."""
    counts: dict[str, Counter[str]] = {}
    for row in kept:
        counts.setdefault(value_of(row), Counter())[row["part"]] += 1
    values = [name for name in order if name in counts]
    rest = sorted(counts.keys() - set(values), key=lambda name: (-counts[name].total(), name))
    return [
        {VALUE: name, **{s: counts[name][s] for s in splits}, TOTAL: counts[name].total()}
        for name in values + rest
    ]


def _value_of(column: str) -> Callable[[_Row], str]:
    return lambda row: (row[column] or "").strip() or NOT_GIVEN


def _age_group(row: _Row) -> str:
    """Return the group of an age such as 061Y or 009M; another text is a group of its own."""
    text = (row["PatientAge"] or "").strip()
    if not text:
        return NOT_GIVEN
    number, unit = text[:-1], text[-1:].upper()
    if not number.isdecimal() or unit not in _DAYS:
        return str(text)
    years = int(number) * _DAYS[unit] / _DAYS["Y"]
    return [name for least, name in _AGES if years >= least][-1]


def _geometry(kept: list[_Row]) -> Iterator[Record]:
    if not kept:
        return
    for column, unit in (("spacing", "mm"), ("shape", "voxels")):
        for position, axis in enumerate("xyz"):
            if axis == "z" and "frame" in kept[0]:
                continue
            # The spacing of a two-dimensional image may not be known.
            values = [row[column][position] for row in kept if row[column]]
            if not values:
                continue
            yield {
                "axis": f"{axis}, in {unit}",
                "least": round(min(values), 4),
                "median": round(statistics.median(values), 4),
                "greatest": round(max(values), 4),
            }


def _findings(rows: list[_Row]) -> list[Record]:
    """Count the samples with each code and policy, and how many of them are kept."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        pairs = {(finding["code"], finding["policy"]) for finding in row["findings"]}
        codes = {code for code, _ in pairs}
        for pair in pairs | {(code, "drop") for code in row["reasons"] if code not in codes}:
            counts.setdefault(pair, Counter())[row["state"]] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    return [
        {
            "code": code,
            "policy": policy,
            "samples": states.total(),
            KEPT: states[KEPT],
            DROPPED: states[DROPPED],
        }
        for (code, policy), states in ordered
    ]
