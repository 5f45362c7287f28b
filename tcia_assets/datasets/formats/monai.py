"""A datalist for `monai.data.load_decathlon_datalist` and MONAI's Auto3DSeg.

`monai/datalist.json` holds paths only: the files are those in `images/` and `labels/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Role, split_role, write_json
from tcia_assets.datasets.samples import CHANNELS, image_files

_COLUMNS = ("part", "patient", "SeriesInstanceUID", "volume", "Modality", "Collection")


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """Write the lists `training`, `validation` and `test` (see `common.split_role`).

    An empty list is left out, because MONAI cannot read one. Each item has `image`, `label` and
    `fold` where the sample has them, and `part`, `patient` and the UID. In a dataset with channels
    `image` and `Modality` are lists, with one for each channel; "" for a channel of zeros. The
    number of its class is `class`, or `label` where there are no masks, as MONAI's classifiers take
    it.
    """
    lists: dict[str, list[dict[str, Any]]] = {role: [] for role in Role}
    for row in kept.rows:
        lists[split_role(row["part"], info)].append(_item(row))
    names = {"0": "background", **{str(n): name for n, name in sorted(info.labels.items())}}
    header = {
        "name": info.name,
        "description": info.title,
        "licence": "see LICENSES.md",
        "reference": info.policy,
        "tensorImageSize": "2D" if info.has_frames else "3D",
        "modality": {
            str(number): channel or " and ".join(sorted(modalities))
            for number, (channel, modalities) in enumerate(kept.modalities_of_channels.items())
        },
        **({"labels": names} if info.labels else {}),
        **({"classes": {str(n): each for n, each in info.classes.items()}} if info.classes else {}),
        "numTraining": len(lists[Role.TRAINING]),
        "numTest": len(lists[Role.TEST]),
    }
    filled = {name: items for name, items in lists.items() if items}
    write_json(root / "monai" / "datalist.json", header | filled)


def _item(row: dict[str, Any]) -> dict[str, Any]:
    images = list(image_files(row).values())
    paths = [f"../{image['image']}" for image in images]
    item: dict[str, Any] = {"image": paths if row.get(CHANNELS) else paths[0]}
    if row["label"]:
        item["label"] = f"../{row['label']}"
    if row["class_index"] is not None:
        item["class" if row["label"] else "label"] = row["class_index"]
    if row["fold"] is not None:
        item["fold"] = row["fold"]
    item |= {name: row[name] for name in _COLUMNS if row[name] is not None}
    if row.get(CHANNELS):
        # No null, which no collate function of PyTorch takes.
        item["Modality"] = [image["Modality"] or "" for image in images]
    return item
