"""A pixel is inside a contour if its centre is; several contours of a plane are combined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.datasets.volume.polygons import fill_even_odd, pixels_inside

SHAPE = (60, 64)


def circle(x: float, y: float, radius: float, points: int = 400) -> Any:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def disc(x: float, y: float, radius: float) -> Any:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def filled(*polygons: Any, is_xor: bool = False) -> tuple[Any, int]:
    """Return the pixels inside, as a mask, and how many pixels overlap."""
    found = pixels_inside(list(polygons), SHAPE, is_xor=is_xor)
    mask = np.zeros(SHAPE, bool)
    mask[found.rows, found.columns] = True
    return mask, found.overlapping_pixels


def differing(one: Any, other: Any) -> int:
    return int(np.count_nonzero(one ^ other))


def test_overlapping_contours_are_united() -> None:
    one, other = (24.3, 30.2, 14.0), (36.1, 30.2, 12.0)
    mask, overlapping = filled(circle(*one), circle(*other))
    assert differing(mask, disc(*one) | disc(*other)) <= 2
    assert abs(overlapping - (disc(*one) & disc(*other)).sum()) <= 2


@pytest.mark.parametrize("shift", [0.0, 1e-4, 0.1])
def test_a_contour_that_was_drawn_twice_counts_once(shift: float) -> None:
    mask, overlapping = filled(circle(30.2, 30.4, 15.3), circle(30.2, 30.4, 15.3 - shift))
    assert differing(mask, disc(30.2, 30.4, 15.3)) <= 2
    assert overlapping > 500


@pytest.mark.parametrize("radius", [8.3, 15.3])
@pytest.mark.parametrize("shift", [0.3, 0.5, 1.0])
def test_a_contour_that_was_drawn_again_beside_itself_is_no_hole(
    shift: float, radius: float
) -> None:
    mask, overlapping = filled(circle(30.2, 30.4, radius), circle(30.2 + shift, 30.4, radius))
    assert differing(mask, disc(30.2, 30.4, radius) | disc(30.2 + shift, 30.4, radius)) <= 2
    assert overlapping > 100


@pytest.mark.parametrize("radius", [8.3, 15.3, 24.1])
@pytest.mark.parametrize(("wall", "is_thin"), [(0.5, True), (0.7, True), (1.0, True), (2.5, False)])
def test_a_wall_of_about_a_pixel_is_counted(radius: float, wall: float, *, is_thin: bool) -> None:
    polygons = [circle(30.2, 30.4, radius), circle(30.2, 30.4, radius - wall)]
    for pair in (polygons, polygons[::-1]):
        found = pixels_inside(pair, SHAPE)
        hole = disc(30.2, 30.4, radius - wall).sum()
        assert abs(found.thin_walled_pixels - hole * is_thin) <= 2
        assert found.overlapping_pixels == 0
    assert pixels_inside(polygons, SHAPE, is_xor=True).thin_walled_pixels == 0


def test_a_hole_beside_a_contour_around_it_has_no_thin_wall() -> None:
    found = pixels_inside([circle(30.2, 30.4, 20), circle(42.3, 30.4, 7.5)], SHAPE)
    assert (found.overlapping_pixels, found.thin_walled_pixels) == (0, 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_holes_are_excluded_and_islands_in_them_included(order: tuple[int, ...]) -> None:
    circles = ((30.2, 30.4, 20.3), (28.2, 31.4, 12.2), (27.1, 30.2, 4.1))
    mask, overlapping = filled(*(circle(*circles[place]) for place in order))
    outer, hole, island = (disc(*each) for each in circles)
    assert differing(mask, outer & ~hole | island) <= 2
    assert overlapping == 0


def test_a_hole_may_touch_the_outline_around_it() -> None:
    outer, hole = (30.2, 30.4, 20.0), (42.3, 30.4, 8.0)
    mask, overlapping = filled(circle(*outer), circle(*hole))
    assert differing(mask, disc(*outer) & ~disc(*hole)) <= 3
    assert overlapping == 0


def test_a_hole_in_overlapping_contours_stays_a_hole() -> None:
    one, other, hole = (22.3, 30.2, 14.0), (36.1, 30.2, 13.0), (29.0, 30.0, 3.2)
    mask, _ = filled(circle(*one), circle(*hole), circle(*other))
    assert differing(mask, (disc(*one) | disc(*other)) & ~disc(*hole)) <= 3


def test_overlapping_holes_are_one_hole() -> None:
    outer, one, other = (30.2, 30.2, 25.0), (25.1, 30.2, 8.0), (33.3, 30.2, 8.0)
    mask, overlapping = filled(circle(*outer), circle(*one), circle(*other))
    assert differing(mask, disc(*outer) & ~(disc(*one) | disc(*other))) <= 3
    assert abs(overlapping - (disc(*one) & disc(*other)).sum()) <= 2


def test_contours_of_the_type_xor_exclude_each_other() -> None:
    one, other = (24.3, 30.2, 14.0), (36.1, 30.2, 12.0)
    mask, overlapping = filled(circle(*one), circle(*other), is_xor=True)
    assert differing(mask, disc(*one) ^ disc(*other)) <= 3
    assert overlapping == 0


def test_contours_beyond_the_image_are_combined_as_far_as_they_are_counted() -> None:
    found = pixels_inside([circle(-200, 30, 90), circle(-190, 30, 100), circle(20, 20, 5)], SHAPE)
    assert found.columns.min() >= -SHAPE[1]
    mask, _ = filled(circle(20.2, 20.3, 5), circle(30, 30, 500), circle(30, 30, 400))
    assert mask[20, 20]


def test_touching_contours_are_not_overlapping() -> None:
    left = np.array([[2.0, 2], [6, 2], [6, 8], [2, 8]])
    right = np.array([[6.0, 2], [9, 2], [9, 8], [6, 8]])
    mask, overlapping = filled(left, right)
    assert (mask.sum(), overlapping) == (7 * 6, 0)


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
