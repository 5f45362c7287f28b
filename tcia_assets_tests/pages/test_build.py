"""The whole catalogue: what is written, what is written again, and what is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.errors import StorageError
from tcia_assets.pages import build
from tcia_assets.pages.build import build_catalogue
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.pages.conftest import series_row, write_series
from tcia_assets_tests.pages.html import Page


def pages_in(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.html"))
    }


def test_every_link_of_every_page_leads_somewhere(mirror: Warehouse, tmp_path: Path) -> None:
    write_series(mirror, series_row(1, "Odd / name?"), series_row(2, "a b"), series_row(3, "A b"))
    made = build_catalogue(mirror, tmp_path / "out")
    pages = pages_in(made.folder)
    assert made.pages == len(pages)
    for name, source in pages.items():
        page = Page(source)
        targets = [*page.links, *(each["src"] for each in page.all("script") + page.all("img"))]
        targets += [each["href"] for each in page.all("link")]
        for target in targets:
            path, _, _ = target.partition("#")
            if path and "://" not in path:
                assert ((made.folder / name).parent / path).is_file(), (name, target)


def test_a_second_run_writes_nothing(mirror: Warehouse) -> None:
    first, second = build_catalogue(mirror), build_catalogue(mirror)
    assert first.index == mirror.root / "catalogue" / "index.html" and first.index.is_file()
    assert first.written > 0
    assert (second.written, second.removed, second.pages) == (0, 0, first.pages)


def test_only_the_pages_of_what_changed_are_written_again(empty_mirror: Warehouse) -> None:
    write_series(empty_mirror, series_row(1), series_row(2, "Brains"))
    build_catalogue(empty_mirror)
    write_series(empty_mirror, series_row(1), series_row(3))
    seen: list[tuple[int, int]] = []
    made = build_catalogue(empty_mirror, report=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 1) and seen[-1] == (1, 1)
    assert made.written == 3  # its page, its rows and the overview


def test_pages_of_a_collection_that_is_gone_are_removed(
    empty_mirror: Warehouse, tmp_path: Path
) -> None:
    write_series(empty_mirror, series_row(1), series_row(2, "Brains"))
    build_catalogue(empty_mirror, tmp_path / "out")
    empty_mirror.path(build.SERIES, "Lungs").unlink()
    made = build_catalogue(empty_mirror, tmp_path / "out")
    assert made.removed == 2
    assert [path.stem for path in (tmp_path / "out" / "collections").glob("*.html")] == ["Brains"]
    assert "Lungs" not in made.index.read_text(encoding="utf-8")


def test_a_run_that_fails_is_finished_by_the_next(
    empty_mirror: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(empty_mirror, series_row(1))

    def fail(*_given: object, **_named: object) -> str:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(build, "collection_page", fail)
        with pytest.raises(StorageError):
            build_catalogue(empty_mirror)
    made = build_catalogue(empty_mirror)
    assert (made.folder / "collections" / "Lungs.html").is_file()


def test_a_mirror_without_collections_has_an_overview(empty_mirror: Warehouse) -> None:
    made = build_catalogue(empty_mirror)
    assert made.pages == len(pages_in(made.folder))
    assert "no Collections yet" in made.index.read_text(encoding="utf-8")
