"""Write the declaration of a new dataset, with comments, from what is in the warehouse."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import yaml

from tcia_assets.catalog import ACQUIRED_MODALITIES
from tcia_assets.datasets.declaration_sections import MASKS
from tcia_assets.datasets.pairing import find_pairs
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

_MOST_LABELS = 20
_MODALITIES = """
    SELECT Modality AS name, count(*) AS series FROM current_series
    WHERE Collection IN (SELECT name FROM chosen) AND Modality NOTNULL
    GROUP BY ALL ORDER BY series DESC, name
"""
_MASKS = """
    SELECT DISTINCT SeriesInstanceUID FROM targets
    WHERE Collection IN (SELECT name FROM chosen) AND Modality = $kind
"""
# A mask without a known image is counted: what it lies on may not be fetched yet.
_NAMES = """
    SELECT trim(target_name) AS name, count(DISTINCT SeriesInstanceUID) AS series FROM targets
    WHERE Collection IN (SELECT name FROM chosen) AND Modality = $kind AND trim(target_name) <> ''
    AND SeriesInstanceUID NOT IN (
        SELECT SeriesInstanceUID FROM pairs GROUP BY ALL
        HAVING count(image_modality) > 0 AND NOT coalesce(bool_or(image_modality IN $images), false)
    )
    GROUP BY ALL ORDER BY series DESC, name
"""


@dataclass(frozen=True)
class Choices:
    """What a new dataset is made of.

    Attributes:
        title: Its title.
        collections: Its Collections.
        modalities: The Modalities of its images.
        kind: The Modality of its masks; "" for none.
        labels: For each label a regular expression for names of segments or ROIs.
        formats: The formats that it is written in.
        channels: For each channel a condition over `current_series`; none for one image a case.
    """

    title: str
    collections: tuple[str, ...]
    modalities: tuple[str, ...]
    kind: str = ""
    labels: Mapping[str, str] | None = None
    formats: tuple[str, ...] = ("nifti",)
    channels: Mapping[str, str] = field(default_factory=dict)


def count_modalities(warehouse: Warehouse, collections: Sequence[str]) -> tuple[Counter[str], ...]:
    """Count the Series of Collections by Modality: those of images, and those of masks."""
    rows = warehouse.query(_MODALITIES, tables=_chosen(collections)).to_pylist()
    counts = {row["name"]: row["series"] for row in rows}
    images = Counter({name: n for name, n in counts.items() if name in ACQUIRED_MODALITIES})
    return images, Counter({name: n for name, n in counts.items() if name in MASKS})


def count_names(
    warehouse: Warehouse, collections: Sequence[str], kind: str, modalities: Sequence[str]
) -> Counter[str]:
    """Count the masks on disk of a kind by the names of their segments or ROIs.

    Args:
        warehouse: Has the masks and what they refer to.
        collections: Their Collections.
        kind: Their Modality.
        modalities: Those of the images: masks of other images only are not counted.
    """
    tables = _chosen(collections)
    masks = warehouse.query(_MASKS, {"kind": kind}, tables=tables)["SeriesInstanceUID"]
    tables["pairs"] = find_pairs(warehouse, masks.to_pylist())
    of = {"kind": kind, "images": list(modalities)}
    rows = warehouse.query(_NAMES, of, tables=tables).to_pylist()
    return Counter({row["name"]: row["series"] for row in rows})


def propose_labels(names: Mapping[str, int]) -> dict[str, str]:
    """Return a label for each name, the most frequent first; spellings of one name are one label.

    >>> propose_labels({"Lung_L": 9, "lung l": 1, "GTV-1": 3})
    {'lung_l': '(?i)lung[ _-]*l', 'gtv_1': '(?i)gtv[ _-]*1'}
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for name, count in names.items():
        if words := tuple(re.findall(r"[a-z0-9]+", name.casefold())):
            counts[words] += count
    labels = {}
    for words, _ in counts.most_common(_MOST_LABELS):
        label = "_".join(words)
        label = label if label[0].isalpha() else f"label_{label}"
        labels[label[:60]] = "(?i)" + "[ _-]*".join(words)
    return labels


def declaration_text(choices: Choices, names: Mapping[str, int]) -> str:
    """Return the YAML of a declaration.

    Args:
        choices: What it is made of.
        names: How many masks have each name, which comments show.
    """
    return f"""\
# A dataset in one file. All keys and their valid values: docs/reference/dataset-file.md.
title: {_quoted(choices.title)}

# Which image Series: the criteria of an image selection, or `sql`, a statement over the views.
cohort:
  collections: {_list(choices.collections)}
  modalities: {_list(choices.modalities)}

{_channels(choices)}
{_target(choices, names)}
# A Patient's split depends only on the salt and the PatientID: adding Patients moves nobody.
split:
  fractions: {{train: 0.7, val: 0.15, test: 0.15}}
  salt: "1"

volume:
  spacing: native      # or millimetres along x, y, z, such as [1, 1, native]
  orientation: RAS
  dtype: native        # int16, uint8 (with a window), float32

# Restrictions that you do not accept: NC (no commercial use), ND (no changed copies).
# licenses: {{deny: [NC, ND]}}

formats: {_list(choices.formats)}

# For codes of findings: drop the sample, keep it, or fail the build. `dataset plan` shows the rest.
qc:
  missing_slice: drop
"""


def _channels(choices: Choices) -> str:
    """Return the section, as a comment where no channel was chosen."""
    mark = "" if choices.channels else "# "
    example = {
        name.casefold(): f"Modality = {sql.literal(name)}" for name in choices.modalities
    } or {"ct": "Modality = 'CT'"}
    channels = choices.channels or example
    lines = [
        "# Several images a case, such as PET with its CT, or T1 and T2: each has a condition. The",
        "# reference is the channel whose Series are the cases, and on which labels are drawn.",
        f"{mark}channels:",
        *(
            f"{mark}  {_quoted(name)}: {{where: {_quoted(where)}}}"
            for name, where in channels.items()
        ),
        f"{mark}reference: {_quoted(next(iter(channels)))}",
    ]
    return "\n".join([*lines, ""])


def _target(choices: Choices, names: Mapping[str, int]) -> str:
    if not choices.kind:
        return "target: none\n"
    lines = [
        "# The labels to learn: regular expressions for the whole names of segments or ROIs. Of",
        f"# {choices.kind} on disk, these names are in so many Series:",
        *(f"#   {count:>6,}  {_quoted(n)}" for n, count in list(names.items())[:_MOST_LABELS]),
    ]
    if not names:
        lines[1:] = ["# none are on disk yet: fetch them, then look at `tcia-assets dataset plan`."]
    labels = choices.labels or {"lesion": "(?i)gtv.*|lesion|tumou?r"}
    lines += ["target:", f"  kind: {choices.kind}", "  labels:"]
    lines += [f"    {_quoted(label)}: {_quoted(pattern)}" for label, pattern in labels.items()]
    if len(labels) > 1:
        lines += [
            "  # A voxel of several labels gets the first of these; without it, the first above.",
            f"  # priority: {_list([*labels][::-1])}",
        ]
    return "\n".join([*lines, ""])


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, names))}]"


def _quoted(text: str) -> str:
    # Words such as NULL would not stay text.
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text) and yaml.safe_load(text) == text:
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return quoted.strip()


def _chosen(collections: Sequence[str]) -> dict[str, pa.Table]:
    return {"chosen": pa.table({"name": pa.array(list(collections), pa.string())})}
