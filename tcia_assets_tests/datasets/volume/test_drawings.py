"""A drawing holds the voxels of one segment or ROI in the smallest box around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcia_assets.datasets.volume.drawings import (
    Drawing,
    DrawingPad,
    Source,
    box_around,
    shared_voxels,
    unite_masks,
)

SHAPE = (6, 9, 8)
SOURCE = Source("1.2.3")


def drawing(*places: tuple[int, int, int]) -> Drawing:
    pad = DrawingPad(SHAPE)
    z, y, x = np.array(places).T
    pad.add_voxels(z, y, x)
    made = pad.finish(1, "GTV", SOURCE, 1)
    assert made is not None
    return made


def whole(made: Drawing) -> Any:
    return unite_masks([made], (slice(0, 6), slice(0, 9), slice(0, 8)))


def test_voxels_are_kept_in_the_box_around_them() -> None:
    made = drawing((1, 2, 3), (4, 5, 3))
    assert made.box == (slice(1, 5), slice(2, 6), slice(3, 4))
    assert np.argwhere(whole(made)).tolist() == [[1, 2, 3], [4, 5, 3]]


def test_nothing_drawn_is_no_drawing() -> None:
    pad = DrawingPad(SHAPE)
    pad.add_plane(0, 3)
    none = np.array([], int)
    pad.add_voxels(none, none, none)
    assert pad.finish(1, "GTV", SOURCE, 1) is None


def test_planes_are_noted_by_their_axis_also_empty_ones_but_not_those_outside() -> None:
    pad = DrawingPad(SHAPE)
    pad.add_voxels(*np.array([[3], [3], [3]]))
    for position in (5, 3, 6, -1):
        pad.add_plane(0, position)
    made = pad.finish(1, "GTV", SOURCE, 1)
    assert made is not None and (made.axis, made.planes) == (0, (3, 5))
    pad.add_plane(2, 3)
    mixed = pad.finish(1, "GTV", SOURCE, 1)
    assert mixed is not None and mixed.axis is None


def test_shared_voxels_are_counted_where_boxes_meet() -> None:
    one, other = drawing((1, 2, 3), (4, 5, 3)), drawing((4, 5, 3), (5, 5, 5))
    assert shared_voxels(one, other) == shared_voxels(other, one) == 1
    assert shared_voxels(one, drawing((0, 0, 0))) == 0
    both = box_around([one, other])
    assert both == (slice(1, 6), slice(2, 6), slice(3, 6))
    assert unite_masks([one, other], both).sum() == 3
