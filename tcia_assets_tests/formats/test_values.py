"""The value of an element becomes that of its column, or an error that names it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tcia_assets.formats.attributes import Attribute, header_attributes
from tcia_assets.formats.elements import Element
from tcia_assets.formats.values import age_in_years, read_value


def attribute(name: str) -> Attribute:
    attributes = header_attributes().by_tag.values()
    return next(each for each in attributes if each.column.name == name)


def read(name: str, raw: bytes, vr: bytes = b"") -> Any:
    return read_value(attribute(name), Element(vr, raw), "<", None)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("ImageType", rb"ORIGINAL\PRIMARY \AXIAL ", "ORIGINAL\\PRIMARY\\AXIAL"),
        ("ConvolutionKernel", b"B30f ", "B30f"),
        ("ConvolutionKernel", rb"Br64d\3", "Br64d\\3"),
        ("SoftwareVersions", rb"syngo\\VB20", "syngo\\\\VB20"),
        ("WindowCenter", b"40", [40.0]),
        ("WindowWidth", rb"400\1500", [400.0, 1500.0]),
        ("ExposureTime", b"500.5", 500.5),
        ("AcquisitionDate", b"20110722", date(2011, 7, 22)),
        ("AcquisitionDate", b"2011.07.22", date(2011, 7, 22)),
        ("AcquisitionTime", b"101530.25", "101530.25"),
        ("KVP", b"  ", None),
    ],
)
def test_a_value_is_read_as_its_column_has_it(name: str, raw: bytes, value: Any) -> None:
    assert read(name, raw) == value


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("AcquisitionDate", b"20111322"),
        ("AcquisitionDate", b"00000000"),
        ("AcquisitionDate", b"2011-07.22"),
        ("WindowCenter", rb"40\x"),
        ("KVP", rb"120\80"),
        ("ImageType", b"x" * 2000),
    ],
)
def test_an_invalid_value_is_an_error_each_time(name: str, raw: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="is not"):
            read(name, raw)


def test_equal_bytes_of_different_attributes_or_encodings_are_different_values() -> None:
    assert (read("KVP", b"120"), read("ViewPosition", b"120")) == (120.0, "120")
    assert (read("Rows", b"12", b"IS"), read("Rows", b"12", b"US")) == (12, 0x3231)
    latin, cyrillic = (Element(b"CS", name) for name in (b"ISO_IR 100", b"ISO_IR 144"))
    name, raw = attribute("ContrastBolusAgent"), Element(b"LO", b"\xf1")
    assert read_value(name, raw, "<", latin) == "ñ"
    assert read_value(name, raw, "<", cyrillic) == "ё"


@pytest.mark.parametrize(
    ("age", "years"),
    [("063Y", 63.0), ("006M", 0.5), ("063y", 63.0), ("26W", 26 * 7 / 365.25), ("000D", 0.0)]
    + [(age, None) for age in (None, "", "63", "Y", "0630Y", "063 Y", "063X")],
)
def test_an_age_is_given_in_years_where_its_unit_is_known(
    age: str | None, years: float | None
) -> None:
    assert age_in_years(age) == (None if years is None else pytest.approx(years))
