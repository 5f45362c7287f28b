"""Projections."""

from __future__ import annotations

import pytest

from tcia_assets.sandbox.phantom import projections


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("R MLO Breast Tomosynthesis Image", ("R", "MLO")),
        ("ROUTINE3D_VOL_LCC", ("L", "CC")),
        ("L XCCL", ("L", None)),
        ("full mammogram images", (None, None)),
        ("BILATERAL", (None, None)),
        (None, (None, None)),
    ],
)
def test_a_mammogram_has_the_side_and_view_of_its_description(
    description: str | None, expected: tuple[str | None, str | None]
) -> None:
    assert projections.breast_view(description) == expected
