"""Identity and the marks of synthetic objects."""

from __future__ import annotations

import pytest
from pydicom.uid import UID

from tcia_assets.sandbox import phantom
from tcia_assets_tests.sandbox.phantom.made_objects import MODALITIES, files, read, row


def test_uids_are_valid_and_distinct_across_series() -> None:
    uids = [
        uid
        for series in ("1.2.3", "1.2.31", "1.2.3.1", "x")
        for uid in phantom.sop_instance_uids(series, 500)
    ]
    assert len(set(uids)) == len(uids)
    assert all(UID(uid).is_valid and len(uid) <= 64 for uid in uids)


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_object_is_marked_as_synthetic(modality: str) -> None:
    (content,) = files(row(modality), row("CT", 30))
    assert read(content).SyntheticData == "YES"
    assert b"not a patient image" in content or modality == "SR"
    assert b"tcia_assets sandbox" in content
