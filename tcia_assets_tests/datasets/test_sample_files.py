"""One sample: what is written is what its row says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tcia_assets.datasets.loading import load_dataset
from tcia_assets.errors import DatasetRefused
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import (
    NO_TARGET,
    built,
    declared,
    images,
    rows,
)
from tcia_assets_tests.datasets.warehouse_edits import (
    replace_zip,
    zip_of,
)


def test_what_is_written_is_what_its_row_says(stocked_warehouse: Warehouse) -> None:
    import nibabel

    changes = (
        ("spacing: native", "spacing: [9, 9, 10]"),
        (
            "  dtype: int16\n",
            "  dtype: uint8\n  window: [-1000, 400]\n",
        ),
    )
    result = built(declared(*changes), stocked_warehouse)
    for row in rows(result).values():
        image = nibabel.load(result.folder / row["image"])
        labels = nibabel.load(result.folder / row["label"])
        values, mask = np.asanyarray(image.dataobj), np.asanyarray(labels.dataobj)
        assert list(values.shape) == list(mask.shape) == row["shape"]
        assert values.dtype == np.uint8 and row["dtype"] == "uint8"
        assert (values.min(), values.max()) == (row["least"], row["greatest"])
        assert row["least"] == 0 and row["greatest"] > 100
        assert row["spacing"] == pytest.approx([9, 9, 10])
        assert row["label_readers"] is None
        assert np.allclose(image.affine, np.reshape(row["affine"], (4, 4)), atol=1e-4)
        assert np.allclose(image.affine, labels.affine)
        tally = Counter(mask.ravel().tolist())
        names = dict(enumerate(declared().target.labels, start=1))
        assert {names[n]: tally[n] for n in names} == dict(row["label_voxels"])
    assert "SimpleITK" in result.version.content["made_with"]


def test_labels_of_each_reader_have_a_fourth_axis(stocked_warehouse: Warehouse) -> None:
    result = built(declared(("  priority:", "  readers: each\n  priority:")), stocked_warehouse)
    for sample in load_dataset(result.folder):
        assert sample.labels is not None
        assert sample.labels.shape == (1, *sample.voxels.shape)
        ((uid,),) = sample.row["label_readers"]
        assert uid


def test_pixels_are_hashed_as_they_were_read(stocked_warehouse: Warehouse) -> None:
    plain = rows(built(declared(), stocked_warehouse))
    other = rows(built(declared(("  dtype: int16\n", "  dtype: float32\n")), stocked_warehouse))
    for uid in plain:
        assert plain[uid]["pixel_sha256"] == other[uid]["pixel_sha256"]
        assert plain[uid]["image_sha256"] != other[uid]["image_sha256"]


def test_a_window_is_the_range_of_the_dtype(stocked_warehouse: Warehouse) -> None:
    changes = NO_TARGET, ("  dtype: int16\n", "  dtype: float32\n  window: [-1000, 0]\n")
    for row in rows(built(declared(*changes), stocked_warehouse)).values():
        assert (row["least"], row["greatest"]) == (0.0, 1.0)


def test_values_that_do_not_fit_into_the_dtype_are_refused(stocked_warehouse: Warehouse) -> None:
    text = "  spacing: native\n"
    # Hounsfield units of a slope of 100 are beyond int16.
    uid = images(stocked_warehouse)[0]
    replace_zip(stocked_warehouse, uid, _steeper(zip_of(stocked_warehouse, uid)))
    with pytest.raises(DatasetRefused, match="do not fit into int16: declare a window"):
        built(declared(NO_TARGET, (text, text)), stocked_warehouse)


def _steeper(path: Path) -> bytes:
    import io
    import zipfile

    import pydicom

    made = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith(".dcm"):
                read = pydicom.dcmread(io.BytesIO(content))
                read.RescaleSlope = "100"
                written = io.BytesIO()
                read.save_as(written)
                content = written.getvalue()
            new.writestr(entry, content)
    return made.getvalue()
