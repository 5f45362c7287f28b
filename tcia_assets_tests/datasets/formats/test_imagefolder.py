"""Folders of PNG files: names of classes that are no names of folders, and samples without one."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa

from tcia_assets.datasets.formats import imagefolder
from tcia_assets.datasets.formats.common import KeptSamples
from tcia_assets.datasets.frame.png import write_png
from tcia_assets.datasets.samples import SAMPLES_OF_FRAMES
from tcia_assets_tests.datasets.example_dataset import example_info


def test_a_class_has_a_folder_whatever_its_name(tmp_path: Path) -> None:
    names = ["BI-RADS 4/5", "..", 'Röntgen, "x"', None]
    rows = []
    for number, name in enumerate(names):
        row = dict.fromkeys(SAMPLES_OF_FRAMES.names) | {
            "SeriesInstanceUID": f"1.{number}",
            "sample": f"1.{number}-0001",
            "state": "kept",
            "part": "train",
            "class_name": name,
            "image": f"images/1.{number}-0001.png",
        }
        row |= {"reasons": [], "findings": [], "target_series_instance_uids": []}
        (tmp_path / "images").mkdir(exist_ok=True)
        write_png(tmp_path / row["image"], np.full((2, 3), number, np.uint8), None)
        rows.append(row)
    kept = KeptSamples.of(pa.Table.from_pylist(rows, schema=SAMPLES_OF_FRAMES))
    imagefolder.write(tmp_path, kept, example_info())

    folder = tmp_path / "imagefolder" / "train"
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["file_name"] for row in listed] == [
        "BI-RADS 4%2F5/1.0-0001.png",
        "%2E%2E/1.1-0001.png",
        "R%C3%B6ntgen%2C %22x%22/1.2-0001.png",
        "1.3-0001.png",
    ]
    assert [row["label"] for row in listed] == [name or "" for name in names]
    assert all((folder / row["file_name"]).is_file() for row in listed)
    assert not (tmp_path / "imagefolder" / "test").exists()
