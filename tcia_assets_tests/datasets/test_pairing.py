"""A SEG or RTSTRUCT is paired with its image Series by the most reliable way."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from tcia_assets.datasets.pairing import SCHEMA, find_pairs
from tcia_assets_tests.images.headers.zip_warehouse import (
    CT,
    FIRST,
    MASK_SERIES,
    SECOND,
    ZipWarehouse,
    add_images,
    encode,
    index_all,
    mask_object,
    replace_attributes,
)


@pytest.fixture
def zips(tmp_path: Path) -> ZipWarehouse:
    return ZipWarehouse(tmp_path)


def find_rows(zips: ZipWarehouse, *series: str) -> list[tuple[Any, ...]]:
    index_all(zips)
    return find_stored(zips, *series)


def find_stored(zips: ZipWarehouse, *series: str) -> list[tuple[Any, ...]]:
    """Find the pairs of these masks, or of all, among the references that are stored."""
    masks = (
        "SELECT SeriesInstanceUID AS uid FROM \"references\" WHERE Modality IN ('SEG', 'RTSTRUCT')"
    )
    found = find_pairs(zips.warehouse, series or zips.warehouse.query(masks)["uid"].to_pylist())
    assert found.schema.equals(SCHEMA)
    names = ("state", "how", "rank", "image_series_instance_uid", "referenced_images")
    return [tuple(row[name] for name in names) for row in found.to_pylist()]


@pytest.mark.parametrize(("modality", "images"), [("SEG", 8), ("RTSTRUCT", 16)])
def test_a_mask_is_paired_by_the_series_that_it_refers_to(
    zips: ZipWarehouse, modality: str, images: int
) -> None:
    add_images(zips)
    add_images(zips, SECOND)
    zips.add({"mask.dcm": mask_object(modality)}, MASK_SERIES)
    pair = ("paired", "series", 1, FIRST, images)
    assert find_rows(zips) == [pair]
    assert find_stored(zips, MASK_SERIES) == [pair]
    assert find_stored(zips, FIRST) == []


def test_a_seg_without_series_is_paired_by_the_images_that_it_refers_to(zips: ZipWarehouse) -> None:
    add_images(zips)
    add_images(zips, SECOND)
    old = replace_attributes(mask_object("SEG"), ReferencedSeriesSequence=None)
    zips.add({"mask.dcm": old}, MASK_SERIES)
    assert find_rows(zips) == [("paired", "sop", 1, FIRST, 8)]


def test_the_frame_of_reference_is_the_last_resort(zips: ZipWarehouse) -> None:
    add_images(zips)
    add_images(zips, SECOND, Modality="PT")
    zips.add({"mask.dcm": mask_object("RTSTRUCT", None)}, MASK_SERIES)
    assert find_rows(zips) == [
        ("paired", "frame_of_reference", 1, FIRST, 0),
        ("paired", "frame_of_reference", 2, SECOND, 0),
    ]
    zips.add({"mask.dcm": mask_object("RTSTRUCT")}, MASK_SERIES)
    assert find_rows(zips) == [("paired", "series", 1, FIRST, 16)]


def test_a_frame_of_reference_in_a_different_study_does_not_count(zips: ZipWarehouse) -> None:
    add_images(zips)
    other = replace_attributes(mask_object("RTSTRUCT", None), StudyInstanceUID="1.2.9")
    zips.add({"mask.dcm": other}, MASK_SERIES)
    assert find_rows(zips) == [("nothing", None, None, None, 0)]


def test_all_references_are_kept_with_the_most_images_first(zips: ZipWarehouse) -> None:
    add_images(zips)
    add_images(zips, SECOND)
    read = pydicom.dcmread(io.BytesIO(mask_object("SEG")))
    more = pydicom.dcmread(io.BytesIO(mask_object("SEG", CT | {"SeriesInstanceUID": SECOND})))
    few = more.ReferencedSeriesSequence[0]
    few.ReferencedInstanceSequence = few.ReferencedInstanceSequence[:2]
    read.ReferencedSeriesSequence.append(few)
    zips.add({"mask.dcm": encode(read, ExplicitVRLittleEndian)}, MASK_SERIES)
    assert find_rows(zips) == [
        ("paired", "series", 1, FIRST, 8),
        ("paired", "series", 2, SECOND, 2),
    ]


def test_an_object_without_image_series_is_a_row_with_the_state(zips: ZipWarehouse) -> None:
    zips.add({"mask.dcm": mask_object("SEG")}, MASK_SERIES)
    assert find_rows(zips) == [("unknown", "series", None, FIRST, 0)]
    old = replace_attributes(mask_object("SEG"), ReferencedSeriesSequence=None)
    zips.add({"mask.dcm": old}, MASK_SERIES)
    assert find_rows(zips) == [("unknown", "sop", None, None, 0)]
    zips.add(
        {"mask.dcm": mask_object("SEG", None), "cut.dcm": mask_object("SEG")[:2500]}, MASK_SERIES
    )
    assert [row[0] for row in find_rows(zips)] == ["unreadable", "nothing"]
