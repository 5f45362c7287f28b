"""A column that cannot hold its DICOM attribute is refused before any header is read."""

from __future__ import annotations

import re

import pytest

from tcia_assets.catalog import HEADER_COLUMNS, TABLES, number, numbers, text, uid, whole
from tcia_assets.formats.attributes import attribute_of, header_attributes
from tcia_assets.spec import Column


@pytest.mark.parametrize("column", HEADER_COLUMNS, ids=lambda column: column.name)
def test_every_column_of_images_can_hold_its_attribute(column: Column) -> None:
    assert header_attributes().by_tag[attribute_of(column).tag].column == column


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (number("WindowCenter", "", "(0028,1050)"), "(0028,1050), which has VR DS and VM 1-n"),
        (number("PixelSpacing", "", "(0028,0030)"), "VM 2"),
        (numbers("KVP", "", "(0018,0060)"), "VM 1"),
        (whole("SequenceName", "", "(0018,0024)"), "VR SH"),
        (uid("Modality", "", "(0008,0060)"), "VR CS"),
        (text("PixelData", "", "(7FE0,0010)"), "VR OB or OW"),
        (text("Nothing", "", "(0011,0001)"), "DICOM has no attribute (0011,0001)"),
    ],
)
def test_a_column_that_cannot_hold_its_attribute_is_refused(column: Column, problem: str) -> None:
    with pytest.raises(TypeError, match=re.escape(problem)) as caught:
        attribute_of(column)
    assert str(caught.value).startswith(f"{column.name}: ")


def test_a_text_holds_an_attribute_of_several_values() -> None:
    attribute = attribute_of(text("ConvolutionKernel", "", "(0018,1210)"))
    assert (attribute.least, attribute.most) == (1, None)


def test_attributes_of_one_name_have_one_tag() -> None:
    tags = {(column.name, column.tag) for table in TABLES for column in table.columns if column.tag}
    assert len(dict(tags)) == len(tags)
