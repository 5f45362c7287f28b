"""What the row of a sample says about its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tcia_assets.datasets.sample_rows import (
    describe_grid,
    describe_read,
    describe_values,
    finding_row,
    write_image,
)
from tcia_assets.datasets.volume.arrays import Volume
from tcia_assets.datasets.volume.findings import make_finding
from tcia_assets.store.files import sha256_of
from tcia_assets_tests.datasets.volume.synthetic import Series, noise


def test_a_row_says_what_is_in_the_file(tmp_path: Path) -> None:
    series = Series(noise((3, 4, 5)), spacing=(1, 2, 3))
    volume = Volume(series.values, series.affine, "1.2", "1.3", "MR", "stored")
    path = tmp_path / "a.nii.gz"
    assert write_image(path, "image", volume) == {
        "image_bytes": path.stat().st_size,
        "image_sha256": sha256_of(path),
    }
    assert describe_grid(volume)["shape"] == [5, 4, 3]
    assert describe_grid(volume)["spacing"] == [1, 2, 3]
    assert describe_values(volume)["greatest"] == series.values.max()
    same = Volume(np.asfortranarray(series.values), np.eye(4), "1", "", "MR", "stored")
    assert describe_read(same)["pixel_sha256"] == describe_read(volume)["pixel_sha256"]


def test_a_finding_names_its_channel() -> None:
    finding = make_finding("missing_slice", "2 of 9", gaps=2)
    assert finding_row(finding, "pet")["message"].startswith("channel 'pet': a step between")
    assert finding_row(finding)["numbers"] == {"gaps": 2.0}
