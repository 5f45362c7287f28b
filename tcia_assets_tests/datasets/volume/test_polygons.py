"""A pixel is inside a polygon by the even-odd rule."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.datasets.volume.polygons import fill_even_odd


@given(
    st.lists(
        st.tuples(st.integers(-4, 24), st.integers(-4, 24)).map(lambda p: (p[0] / 2, p[1] / 2)),
        min_size=3,
        max_size=9,
    )
)
def test_each_pixel_follows_the_even_odd_rule(points: Any) -> None:
    polygon = np.array(points)
    mask = fill_even_odd([polygon], 12, 11)
    for y in range(12):
        for x in range(11):
            crossings = 0
            for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                if min(y1, y2) <= y < max(y1, y2):
                    crossings += x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x + 1e-7
            assert mask[y, x] == crossings % 2


def test_touching_contours_share_no_pixel_and_leave_no_gap() -> None:
    left = np.array([[2.0, 2], [6, 2], [6, 8], [2, 8]])
    right = np.array([[6.0, 2], [9, 2], [9, 8], [6, 8]])
    one, other = (fill_even_odd([each], 12, 12) for each in (left, right))
    assert not (one & other).any()
    assert (one | other).sum() == 7 * 6
