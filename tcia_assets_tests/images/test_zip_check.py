"""One zip is that of its row in the manifest, or the reason is found why it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.zip_check import seems_missing, zip_problem
from tcia_assets.store.archives import folder
from tcia_assets_tests.images.many import flip
from tcia_assets_tests.images.place import Place

DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (flip, "its zip has changed since it was verified: its SHA-256 differs"),
    (Path.unlink, "its zip is gone"),
    (lambda path: path.write_bytes(path.read_bytes() + b"."), "bytes where"),
    (lambda path: path.write_bytes(b""), "its zip has 0 bytes where"),
]


def problems_of(place: Place, uids: list[str], *, deep: bool) -> list[str]:
    rows = [ManifestRow.from_record(place.rows[uid]) for uid in uids]
    return [zip_problem(row, place.warehouse.archives, deep=deep) for row in rows]


@pytest.mark.parametrize("deep", [False, True])
def test_each_kind_of_damage_has_its_reason(fetched_three: Place, *, deep: bool) -> None:
    uid = fetched_three.uids[0]
    assert problems_of(fetched_three, [uid], deep=deep) == [""]
    content = fetched_three.zip(uid).read_bytes()
    for damage, reason in DAMAGES:
        damage(fetched_three.zip(uid))
        [problem] = problems_of(fetched_three, [uid], deep=deep)
        assert reason in problem
        assert seems_missing(problem) == (damage is Path.unlink)
        fetched_three.zip(uid).write_bytes(content)


def test_a_zip_that_the_disk_refuses_is_damaged_and_seems_missing(
    fetched_three: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folder, "sha256_of", refuses)
    [problem] = problems_of(fetched_three, fetched_three.uids[:1], deep=False)
    assert problem == "its zip cannot be read: Permission denied" and seems_missing(problem)
