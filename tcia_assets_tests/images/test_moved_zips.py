"""The zip of a Series that moves to another Collection is not fetched twice."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tcia_assets.images.checksums import removing_lines
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.manifest import read_rows
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets_tests.images.moves import GOAL, events, refresh_all
from tcia_assets_tests.images.place import COLLECTION, FOLDER, Place


def test_the_zip_of_a_moved_series_moves_with_it(fetched_three: Place) -> None:
    moved, *stay = fetched_three.uids
    content = fetched_three.zip(moved).read_bytes()
    fetched_three.sandbox.archive.move([moved], to=GOAL)
    refresh_all(fetched_three)
    asked = fetched_three.asked()
    with fetched_three.source() as source:
        got = fetch_images(
            GOAL, FetchSession(Selection(collections=(GOAL,))), source, fetched_three.warehouse
        )

    [row] = read_rows(fetched_three.warehouse, GOAL)
    assert got.fetched == {moved}
    assert (row.series_instance_uid, row.status, row.verified_by) == (
        moved,
        "complete",
        "md5",
    )
    assert (fetched_three.warehouse.root / str(row.path)).read_bytes() == content
    assert fetched_three.asked() == asked
    fetched = [each for each in events(fetched_three, moved) if "fetched" in each[1]]
    assert fetched == [(COLLECTION, "fetched")]
    assert not fetched_three.zip(moved).exists()
    assert sorted(fetched_three.rows) == sorted(stay)
    sums = [
        fetched_three.data_dir / "archives" / folder / "SHA256SUMS"
        for folder in (FOLDER, quote(GOAL))
    ]
    assert [path.read_text().count(moved) for path in sums] == [0, 1]
    found = fetched_three.warehouse.query(
        "SELECT SeriesInstanceUID, Collection FROM current_series"
    )
    assert [r["Collection"] for r in found.to_pylist() if r["SeriesInstanceUID"] == moved] == [GOAL]


def test_what_a_moved_series_left_is_removed_once(
    fetched_three: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, *_ = fetched_three.uids
    content, deleted = fetched_three.zip(moved).read_bytes(), []
    fetched_three.sandbox.archive.move([moved], to=GOAL)
    refresh_all(fetched_three)
    delete = FolderArchives.delete

    def noted(archives: FolderArchives, name: str) -> None:
        deleted.append(name)
        delete(archives, name)

    monkeypatch.setattr(FolderArchives, "delete", noted)
    counts = []
    sums = fetched_three.folder / "SHA256SUMS"
    for fetches in range(3):
        if fetches == 1:  # as a kill before the checksums leaves it
            lines = sums.read_text()
            sums.write_text(f"{'0' * 64}  {moved}.zip\n{lines}")
            with removing_lines(COLLECTION, fetched_three.warehouse):
                pass
        if fetches == 2:  # as a kill between the row and the zip leaves it
            fetched_three.zip(moved).write_bytes(content)
        with fetched_three.source() as source:
            session = FetchSession(Selection(collections=(GOAL,)))
            fetch_images(GOAL, session, source, fetched_three.warehouse)
        counts.append(len(deleted))

    assert counts == [1, 1, 2]
    assert sums.read_text() == lines and moved not in lines
    assert not fetched_three.zip(moved).exists()


def test_a_series_revised_after_it_moved_is_fetched_again(fetched_three: Place) -> None:
    moved, *_ = fetched_three.uids
    fetched_three.sandbox.archive.move([moved], to=GOAL)
    fetched_three.revise(moved)
    refresh_all(fetched_three)
    with fetched_three.source() as source:
        fetch_images(
            GOAL, FetchSession(Selection(collections=(GOAL,))), source, fetched_three.warehouse
        )

    fetched = [each for each in events(fetched_three, moved) if "fetched" in each[1]]
    assert fetched == [(COLLECTION, "fetched"), (GOAL, "refetched")]
