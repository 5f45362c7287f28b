"""The first release: what it has that the archive has not, and what it lacks."""

from __future__ import annotations

import io

import pydicom
import pytest

from tcia_assets.sandbox.idc.first_release import ANALYSIS
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.released_series import CATALOGUE, series

from .bucket_client import BucketClient


def uids(sandbox: Sandbox, where: str) -> set[str]:
    rows = sandbox.idc.query(f"SELECT SeriesInstanceUID AS uid FROM versions WHERE {where}")
    return set(rows["uid"].to_pylist())


def test_some_series_are_only_in_one_of_both(sandbox: Sandbox) -> None:
    of_archive = set(CATALOGUE["SeriesInstanceUID"].to_pylist())
    of_idc = uids(sandbox, "last_version IS NULL AND analysis_result_id IS NULL")
    assert len(of_archive - of_idc) == 4
    assert len(of_idc - of_archive) == 1
    assert len(uids(sandbox, "last_version IS NOT NULL AND is_deleted")) == 1


def test_some_series_were_revised(sandbox: Sandbox) -> None:
    assert len(uids(sandbox, "last_version IS NULL AND generation = 1")) == 3


def test_objects_and_count_and_size_of_a_series_agree(
    sandbox: Sandbox, buckets: BucketClient
) -> None:
    rows = sandbox.idc.query(
        "SELECT DISTINCT ON (Modality, analysis_result_id) * FROM versions "
        "WHERE last_version IS NULL ORDER BY ImageCount"
    ).to_pylist()
    for row in rows:
        _, listed = buckets.of_series(row["SeriesInstanceUID"])
        assert len(listed) == row["ImageCount"], row["Modality"]
        assert sum(each.size for each in listed) == row["FileSize"], row["Modality"]


@pytest.fixture
def derived(sandbox: Sandbox, buckets: BucketClient) -> pydicom.Dataset:
    """The object of a Series that a model is said to have made."""
    uid = min(uids(sandbox, f"analysis_result_id = '{ANALYSIS['analysis_result_id']}'"))
    bucket, [only] = buckets.of_series(uid)
    return pydicom.dcmread(io.BytesIO(buckets.get(bucket, only.key).content))


def test_a_derived_segmentation_refers_to_a_ct_of_the_archive(derived: pydicom.Dataset) -> None:
    assert derived.Modality == "SEG"
    assert derived.SeriesDescription == "SandboxModel(v1.0) Segmentation"
    [reference] = derived.ReferencedSeriesSequence
    assert reference.SeriesInstanceUID in series(Collection="LCTSC", Modality="CT")
    assert [each.SegmentLabel for each in derived.SegmentSequence] == ["Body", "Lesion"]
