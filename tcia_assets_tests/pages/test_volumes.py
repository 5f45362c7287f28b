"""Volumes to look at: what is coarser stays in place, and masks lie on their image."""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tcia_assets.pages.folder import CatalogueFolder
from tcia_assets.pages.gallery import Gallery
from tcia_assets.pages.series import SeriesFacts, read_series, target_names
from tcia_assets.pages.volumes import COLUMNS, ShownVolume, _coarse, show_volume
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL


@pytest.fixture(scope="module")
def shown(fetched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ShownVolume:
    warehouse = Warehouse(fetched_root)
    found = read_series(warehouse, SMALL)
    Gallery(warehouse, CatalogueFolder(tmp_path_factory.mktemp("none")), 1).pair(found)
    image = next(each for each in found.values() if each.masks)
    masks = [found[uid] for uid in image.masks]

    def path(facts: SeriesFacts) -> Path:
        return warehouse.root / facts.zip.path

    return show_volume(path(image), [path(mask) for mask in masks], target_names(masks))


@pytest.mark.slow
def test_the_script_has_the_volume_and_the_labels_on_one_grid(shown: ShownVolume) -> None:
    match = re.fullmatch(
        rb'"use strict";catalogue\.volume\("([A-Za-z0-9+/=]+)","([A-Za-z0-9+/=]+)"\);\n',
        shown.script,
    )
    assert match is not None
    image, mask = (
        nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))
        for text in match.groups()
    )
    assert image.shape == mask.shape and np.allclose(image.affine, mask.affine)
    assert image.get_data_dtype() == np.int16 and mask.get_data_dtype() == np.uint8
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, *(label for *_, label in shown.labels)}


@pytest.mark.slow
def test_the_first_slice_shown_has_masks_that_are_not_hidden(shown: ShownVolume) -> None:
    assert [name for name, _, _ in shown.labels] == ["Lesion", "Body"]
    assert 0 <= shown.best < shown.count <= shown.depth
    assert COLUMNS > 1 and len(shown.slices) > len(shown.picture) > 1000


def test_a_coarser_grid_covers_the_same_place() -> None:
    voxels = np.arange(4 * 6 * 9, dtype=np.int16).reshape(4, 6, 9)
    coarse, affine = _coarse(voxels, np.eye(4), (2, 2, 3), is_mean=True)
    assert coarse.shape == (2, 3, 3)
    assert coarse[0, 0, 0] == round(float(voxels[0, :2, :3].mean()))
    # The centre of the first coarse voxel is that of the voxels in it.
    assert (affine @ [0, 0, 0, 1]).tolist() == [1.0, 0.5, 0.0, 1.0]
    middle, _ = _coarse(voxels, np.eye(4), (1, 1, 3), is_mean=False)
    assert (middle == voxels[:, :, 1::3]).all()


def test_a_narrow_image_keeps_at_least_one_voxel() -> None:
    coarse, _ = _coarse(np.ones((2, 1, 400), np.int16), np.eye(4), (1, 3, 3), is_mean=True)
    assert coarse.shape == (2, 1, 133)
