"""A datalist, as `monai.data.load_decathlon_datalist` and MONAI's Auto3DSeg read it.

What belongs here: `monai/datalist.json`. The files are those of the tree: it has only their paths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import (
    TEST,
    TRAINING,
    VALIDATION,
    KeptSamples,
    split_role,
    write_json,
)


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """The lists `training`, `validation` and `test`: see `common.split_role`.

    A list without samples is left out, since MONAI cannot read one. Each item has `image`, `label`
    where there is one, `fold` where there are folds, and `part`, `patient` and the Series' UID.
    """
    lists: dict[str, list[dict[str, Any]]] = {TRAINING: [], VALIDATION: [], TEST: []}
    for row in kept.rows:
        lists[split_role(row["part"], info)].append(_item(row))
    names = {"0": "background", **{str(n): name for n, name in sorted(info.labels.items())}}
    about = {
        "name": info.name,
        "description": info.title,
        "licence": "see LICENSES.md",
        "reference": info.policy,
        "tensorImageSize": "3D",
        "modality": {"0": " and ".join(kept.modalities)},
        **({"labels": names} if info.labels else {}),
        "numTraining": len(lists[TRAINING]),
        "numTest": len(lists[TEST]),
    }
    filled = {name: items for name, items in lists.items() if items}
    write_json(root / "monai" / "datalist.json", about | filled)


def _item(row: dict[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = {"image": f"../{row['image']}"}
    if row["label"]:
        item["label"] = f"../{row['label']}"
    if row["fold"] is not None:
        item["fold"] = row["fold"]
    told = ("part", "patient", "SeriesInstanceUID", "Modality", "Collection")
    return item | {name: row[name] for name in told if row[name] is not None}
