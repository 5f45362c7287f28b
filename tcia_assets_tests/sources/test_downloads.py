"""What is reported of a download that fails is taken back."""

from __future__ import annotations

import pytest

from tcia_assets.sources.downloads import counting


def test_bytes_that_were_reported_are_taken_back_if_the_download_fails() -> None:
    seen: list[int] = []

    def receive(*sizes: int, error: str = "") -> None:
        with counting(seen.append) as count:
            for size in sizes:
                count(size)
            if error:
                raise OSError(error)

    receive(3)
    with pytest.raises(OSError, match="full"):
        receive(4, 5, error="full")
    with pytest.raises(OSError, match="at once"):
        receive(error="at once")

    assert seen == [3, 4, 5, -9]
