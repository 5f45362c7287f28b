"""The difference between two versions."""

from __future__ import annotations

from tcia_assets.datasets.version_diff import diff_versions
from tcia_assets.datasets.versions import Version
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import (
    built,
    declared,
    images,
)
from tcia_assets_tests.datasets.warehouse_edits import (
    replace_zip,
    set_column,
    zip_of,
    zip_without,
)


def test_a_diff_lists_series_settings_and_files(
    built_warehouse: Warehouse, example_version: Version
) -> None:
    before = example_version
    uid = images(built_warehouse)[0]
    replace_zip(
        built_warehouse,
        uid,
        zip_without(zip_of(built_warehouse, uid), lambda place: place in (50, 51)),
    )
    last = images(built_warehouse)[-1]
    set_column(built_warehouse, "Modality", "MR", last)
    after = built(declared(('salt: "2001"', "salt: two")), built_warehouse, update=True)
    found = diff_versions(before, after.version)
    assert found.removed == (last,) and not found.added
    assert found.changed[uid]["state"] == ("kept", "dropped")
    assert found.settings == {"split.salt": ("2001", "two")}
    assert found.files[f"images/{uid}.nii.gz"][1] is None
    lines = list(found.lines)
    assert f"- Series {last}" in lines
    assert "~ setting split.salt: '2001' -> 'two'" in lines
    assert f"- file images/{uid}.nii.gz" in lines
    assert not diff_versions(before, before)
