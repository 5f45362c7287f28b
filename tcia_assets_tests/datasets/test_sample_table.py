"""The table of samples: findings, policies and leaks."""

from __future__ import annotations

from collections import Counter

import pytest

from tcia_assets.datasets import versions
from tcia_assets.datasets.build import make_samples
from tcia_assets.errors import (
    DatasetRefused,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import (
    NO_TARGET,
    built,
    contents,
    declared,
    frozen,
    images,
    qc,
    rows,
    sampled,
)
from tcia_assets_tests.datasets.warehouse_edits import (
    replace_zip,
    zip_of,
    zip_without,
)


def make_gap(warehouse: Warehouse) -> str:
    """Remove two slices in the middle of a Series from its zip; return its UID."""
    uid = images(warehouse)[0]
    whole = zip_of(warehouse, uid)
    replace_zip(warehouse, uid, zip_without(whole, lambda place: place in (50, 51)))
    return uid


@pytest.fixture
def gap(stocked_warehouse: Warehouse) -> str:
    """A Series whose zip lacks two slices in the middle."""
    return make_gap(stocked_warehouse)


def test_a_finding_drops_a_sample_with_its_reasons(stocked_warehouse: Warehouse, gap: str) -> None:
    result = built(declared(), stocked_warehouse)
    row = rows(result)[gap]
    assert row["state"] == "dropped"
    assert row["reasons"] == ["count_unlike_image_count", "missing_slice"]
    assert row["image"] is None and row["image_sha256"] is None and row["shape"] is not None
    assert row["part"] and row["patient"]
    (found,) = (f for f in row["findings"] if f["code"] == "missing_slice")
    assert found["policy"] == "drop" and found["numbers"]
    assert not (result.folder / "images" / f"{gap}.nii.gz").exists()
    assert Counter(each["state"] for each in rows(result).values()) == {"kept": 4, "dropped": 1}


def test_a_sample_with_a_finding_can_be_kept(stocked_warehouse: Warehouse, gap: str) -> None:
    changes = ("missing_slice: drop", "missing_slice: keep"), qc("count_unlike_image_count", "keep")
    row = sampled(declared(*changes), stocked_warehouse)[gap]
    assert row["state"] == "kept" and row["image"]
    assert {"missing_slice", "count_unlike_image_count"} <= {f["code"] for f in row["findings"]}


def test_a_finding_can_fail_the_build_and_the_earlier_version_stays(
    built_warehouse: Warehouse, example_version: versions.Version
) -> None:
    kept, gap = contents(example_version.folder), make_gap(built_warehouse)
    failing = declared(("missing_slice: drop", "missing_slice: fail"))
    with pytest.raises(DatasetRefused) as caught:
        built(failing, built_warehouse, update=True)
    (reason,) = caught.value.reasons
    assert reason.startswith(f"{gap}: missing_slice: ")
    assert contents(example_version.folder) == kept
    assert versions.latest(built_warehouse.root, "lung_ct") == example_version.version
    tally = make_samples(failing, frozen(failing, built_warehouse), built_warehouse).tally
    assert tally["missing_slice", "fail"] == 1
    made = make_samples(declared(), frozen(declared(), built_warehouse), built_warehouse)
    assert made.made == 0, "a policy decides nothing about how a sample is made"


def test_a_missing_or_unknown_series_has_a_row(stocked_warehouse: Warehouse) -> None:
    from tcia_assets.catalog import IMAGE_ARCHIVES
    from tcia_assets_tests.conftest import SMALL

    first, second, *_ = images(stocked_warehouse)
    table = stocked_warehouse.read(IMAGE_ARCHIVES, [SMALL])
    left = [uid != first for uid in table["SeriesInstanceUID"].to_pylist()]
    stocked_warehouse.write(IMAGE_ARCHIVES, table.filter(left), SMALL)
    asked = (
        "collections: [LCTSC]\n  modalities: [CT]",
        f"series: [{first}, {second}, 1.2.3]",
    )
    found = sampled(declared(asked), stocked_warehouse)
    assert found[first]["reasons"] == found["1.2.3"]["reasons"] == ["not_fetched"]
    assert found[first]["part"] and found["1.2.3"]["part"] is None
    assert found[first]["findings"][0]["message"] != found["1.2.3"]["findings"][0]["message"]
    assert found[second]["state"] == "kept"
    with pytest.raises(DatasetRefused, match="have the policy 'fail'") as caught:
        built(declared(asked, qc("not_fetched", "fail")), stocked_warehouse)
    assert len(caught.value.reasons) == 2


def test_a_missing_mask_drops_its_sample(stocked_warehouse: Warehouse) -> None:
    from tcia_assets.catalog import IMAGE_ARCHIVES
    from tcia_assets_tests.conftest import SMALL

    pair = frozen(declared(), stocked_warehouse).pairs.to_pylist()[0]
    mask, image = pair["target_series_instance_uid"], pair["image_series_instance_uid"]
    table = stocked_warehouse.read(IMAGE_ARCHIVES, [SMALL])
    left = [uid != mask for uid in table["SeriesInstanceUID"].to_pylist()]
    stocked_warehouse.write(IMAGE_ARCHIVES, table.filter(left), SMALL)
    row = sampled(declared(), stocked_warehouse)[image]
    assert row["reasons"] == ["not_fetched"]
    assert mask in row["findings"][0]["message"]


def test_without_a_mask_a_sample_is_dropped_or_kept_without_labels(
    fetched_warehouse: Warehouse,
) -> None:
    one = "  kind: RTSTRUCT\n  where: PatientID = 'LCTSC-Test-S1-201'\n"
    changes = ("  kind: RTSTRUCT\n", one)
    result = built(declared(changes), fetched_warehouse)
    states = Counter((row["state"], *row["reasons"]) for row in rows(result).values())
    assert states == {("kept",): 1, ("dropped", "without_target"): 4}
    keeping = declared(changes, qc("without_target", "keep"))
    kept = make_samples(keeping, frozen(keeping, fetched_warehouse), fetched_warehouse)
    assert (kept.made, kept.reused) == (0, 5)
    assert kept.kept["label"].null_count == 4
    assert kept.kept["image"].null_count == 0 and kept.kept.num_rows == 5


def test_a_dataset_without_samples_is_refused(stocked_warehouse: Warehouse) -> None:
    with pytest.raises(DatasetRefused, match="no sample is left: too_few_slices 5"):
        built(
            declared(("  dtype: int16\n", "  dtype: int16\n  least_slices: 1000\n")),
            stocked_warehouse,
        )


def test_the_same_pixels_under_two_patients_are_refused(stocked_warehouse: Warehouse) -> None:
    declaration = declared(NO_TARGET)
    before = built(declaration, stocked_warehouse)
    by_part = {row["part"]: uid for uid, row in rows(before).items()}
    assert len(by_part) > 1
    one, other = list(by_part.values())[:2]
    replace_zip(stocked_warehouse, one, zip_of(stocked_warehouse, other).read_bytes())
    with pytest.raises(DatasetRefused) as caught:
        built(
            declared(NO_TARGET, qc("count_unlike_image_count", "keep")),
            stocked_warehouse,
            update=True,
        )
    assert {reason.split(" ")[0] for reason in caught.value.reasons} == {
        "FrameOfReferenceUID",
        "pixel_sha256",
    }
    assert versions.latest(stocked_warehouse.root, "lung_ct") == before.version.version
