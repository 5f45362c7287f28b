"""The files of a version are those of finished samples, unchanged; a failure leaves no draft."""

from __future__ import annotations

import pytest

from tcia_assets.datasets import versions
from tcia_assets.errors import DatasetRefused, StorageError, UsageError
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import NO_TARGET, built, contents, declared


def test_a_format_that_cannot_be_written_leaves_no_draft(stocked_warehouse: Warehouse) -> None:
    few = ("fractions: {train: 0.6, val: 0.2, test: 0.2}", "fractions: {train: 0.001, test: 0.999}")
    with pytest.raises(UsageError, match="no sample of train is kept"):
        built(declared(few, ("formats: [nifti]", "formats: [nnunet]")), stocked_warehouse)
    names = {
        path.name for path in versions.dataset_folder(stocked_warehouse.root, "lung_ct").iterdir()
    }
    assert names == {".samples", "cohort.lock.json"}


@pytest.fixture
def version(stocked_warehouse: Warehouse) -> versions.Version:
    return built(declared(NO_TARGET), stocked_warehouse).version


def test_a_damaged_version_is_rebuilt(
    stocked_warehouse: Warehouse, version: versions.Version
) -> None:
    name = next(path for path in version.files if path.startswith("images/"))
    path = version.folder / name
    path.write_bytes(b"?" * version.files[name].bytes)  # also the store's: it is a hard link
    with pytest.raises(DatasetRefused, match="files have changed since they were made"):
        built(declared(NO_TARGET), stocked_warehouse)
    result = built(declared(NO_TARGET), stocked_warehouse)
    assert result.made == 1
    assert result.version.version == version.version
    assert versions.verify(result.version).problems == ()


def test_a_storage_error_leaves_earlier_versions_unchanged(
    stocked_warehouse: Warehouse, version: versions.Version
) -> None:
    kept = contents(version.folder)
    (version.folder.parent / ".draft").write_text("in the way")
    with pytest.raises(StorageError, match="earlier versions are unchanged"):
        built(declared(NO_TARGET, ('salt: "2001"', "salt: two")), stocked_warehouse)
    assert contents(version.folder) == kept
