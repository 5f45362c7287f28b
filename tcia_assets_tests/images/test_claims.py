"""Only one run works on a zip."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tcia_assets.errors import Busy
from tcia_assets.images.claims import claim, draft_path, remove_abandoned_drafts
from tcia_assets_tests.images.children import CLAIM, child


def test_a_zip_is_busy_until_the_process_that_claims_it_ends(
    tmp_path: Path,
) -> None:
    path = tmp_path / "1.2.3.zip"
    with child(CLAIM, path) as process:
        draft_path(path).write_bytes(b"half of it")
        with pytest.raises(Busy, match=r"1\.2\.3\.zip"), claim(path):
            pass
        remove_abandoned_drafts(tmp_path)
        assert draft_path(path).exists(), "its process lives"
        process.kill()
        process.wait(10)
    with claim(path):
        pass

    remove_abandoned_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_threads_has_a_claim(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "1.2.3.zip", [0], [0]

    def work(_: int) -> int:
        try:
            with claim(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
        except Busy:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(400))) > 0
    assert most == [1]
    assert list(tmp_path.iterdir()) == []
