"""The size of the objects of each modality."""

from __future__ import annotations

import pytest

from tcia_assets.sandbox import phantom
from tcia_assets_tests.sandbox.phantom.made_objects import MODALITIES, TEXTS, files, row


@pytest.mark.parametrize("modality", MODALITIES)
def test_each_object_has_exactly_the_size_of_its_modality(modality: str) -> None:
    contents = files(row(modality, 3), row("CT", 30))
    assert [len(content) for content in contents] == [phantom.object_bytes(modality)] * 3


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_longest_header_fits(modality: str) -> None:
    widest = "\N{MUSICAL SYMBOL G CLEF}" * 70  # 4 bytes each
    uid = "1." * 31 + "11"
    texts = dict.fromkeys(TEXTS, widest) | {"PatientAge": "061Y", "PatientSex": "F"}
    uids = {"SeriesInstanceUID": uid, "StudyInstanceUID": uid}
    for source in (None, row("CT", 40, **uids)):
        (content,) = files(row(modality, 1, **texts, **uids), source)
        assert len(content) == phantom.object_bytes(modality)
