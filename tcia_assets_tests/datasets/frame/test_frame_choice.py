"""One frame of an object, or all."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.frame.frame_choice import PICKS, chosen_frames


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_each_choice_is_of_existing_frames(count: int) -> None:
    found = {pick: list(chosen_frames(count, pick)) for pick in PICKS}
    assert found["all"] == list(range(count))
    assert (found["first"], found["last"]) == ([0], [count - 1])
    assert found["middle"] == [count // 2]
