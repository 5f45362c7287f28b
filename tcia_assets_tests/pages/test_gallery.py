"""What is made of Series on disk, and what is said where nothing can be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES
from tcia_assets.errors import MissingExtra
from tcia_assets.images.verify import verify_zips
from tcia_assets.pages import gallery
from tcia_assets.pages.build import build_catalogue
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.pages.html import Page


def series_pages(folder: Path) -> dict[str, Page]:
    return {
        path.stem: Page(path.read_text(encoding="utf-8"))
        for path in sorted((folder / "series" / SMALL).glob("*.html"))
    }


@pytest.mark.slow
def test_one_series_has_a_volume_and_the_others_say_how_to_have_more(
    fetched_catalogue: Path,
) -> None:
    pages = series_pages(fetched_catalogue)
    viewers = [
        page for page in pages.values() if any(e.get("id") == "viewer" for e in page.all("div"))
    ]
    assert len(pages) == 10 and len(viewers) == 1
    assert "Lesion" in viewers[0].text
    advised = [page for page in pages.values() if "tcia-assets catalogue --volumes" in page.text]
    assert len(advised) == 4  # CT without one; contours have no volume of their own


@pytest.mark.slow
def test_contours_are_shown_over_their_image(fetched_catalogue: Path) -> None:
    sources = [
        {image["src"] for image in page.all("img")}
        for page in series_pages(fetched_catalogue).values()
    ]
    shared = [one & other for i, one in enumerate(sources) for other in sources[:i] if one & other]
    assert shared  # the page of the CT and that of its RTSTRUCT


def test_pictures_are_made_once(
    pictured_mirror: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(gallery.Gallery, "_make_picture", lambda *given: made.append(given))
    pictured_mirror.path(SERIES, SMALL).touch()
    build_catalogue(pictured_mirror)
    assert made == []


@pytest.mark.slow
def test_a_number_of_volumes_is_kept_until_another_is_given(fetched_mirror: Warehouse) -> None:
    for volumes, expected in ((0, 0), (None, 0), (1, 1), (None, 1), (0, 0)):
        made = build_catalogue(fetched_mirror, volumes=volumes)
        assert len(list(made.folder.glob("volumes/*/*.js"))) == expected


def test_without_the_extra_pages_say_so(
    fetched_mirror: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise MissingExtra("pydicom", "datasets", "pictures of Series")

    with monkeypatch.context() as patched:
        patched.setattr(gallery, "import_module", missing)
        made = build_catalogue(fetched_mirror)
        assert not (made.folder / "pictures").exists()
        for page in [*series_pages(made.folder).values()]:
            assert "pictures of Series needs 'pydicom'" in page.text
    # Once it is installed they are made.
    assert list(build_catalogue(fetched_mirror, volumes=0).folder.glob("pictures/*/*.jpg"))


def test_what_was_shown_of_a_lost_zip_stays(pictured_mirror: Warehouse) -> None:
    zips = (pictured_mirror.root / "archives" / SMALL).glob("*.zip")
    max(zips, key=lambda path: path.stat().st_size).unlink()
    manifest = pictured_mirror.path(IMAGE_ARCHIVES, SMALL)
    manifest.touch()  # as any fetch of the Collection does
    made = build_catalogue(pictured_mirror)
    assert (made.bad_zips, made.unpictured) == (1, 0)
    assert len(list(made.folder.glob("pictures/*/*.jpg"))) == 5


def test_a_zip_that_verify_has_marked_waits_for_a_fetch(pictured_mirror: Warehouse) -> None:
    lost = next((pictured_mirror.root / "archives" / SMALL).glob("*.zip"))
    lost.unlink()
    verify_zips(SMALL, pictured_mirror)
    page = series_pages(build_catalogue(pictured_mirror).folder)[lost.stem]
    assert "The next fetch replaces it" in page.text
    assert f"tcia-assets fetch {SMALL}" in page.text


def test_a_zip_that_is_lost_or_damaged_costs_only_its_own_picture(
    fetched_mirror: Warehouse, tmp_path: Path
) -> None:
    zips = sorted(
        (fetched_mirror.root / "archives" / SMALL).glob("*.zip"), key=lambda p: p.stat().st_size
    )
    content = zips[-1].read_bytes()
    zips[-1].write_bytes(b"damaged")
    zips[-2].rename(tmp_path / "away.zip")
    made = build_catalogue(fetched_mirror, volumes=0)
    pages = series_pages(made.folder)
    for path, problem in ((zips[-1], "damaged"), (zips[-2], "missing")):
        text = pages[path.stem].text
        assert f"Its zip is {problem}" in text and f"tcia-assets verify {SMALL}" in text
        assert "complete, verified by" not in text and str(fetched_mirror.root) not in text
    assert len(list(made.folder.glob("pictures/*/*.jpg"))) == 3
    assert (made.unpictured, made.bad_zips) == (2, 2)
    assert "2 Series with a missing or damaged zip" in Page(made.index.read_text()).text
    # Nobody opens the zip of contours for a picture: the list of the folder shows that it is gone.
    contours = zips[0].rename(tmp_path / zips[0].name)
    lost = build_catalogue(fetched_mirror)
    page = series_pages(lost.folder)[contours.stem]
    assert "Its zip is missing" in page.text and "zip missing" in page.text
    assert (lost.unpictured, lost.bad_zips) == (2, 3)
    contours.rename(zips[0])
    # The same zip again, with the same hash, has its picture.
    zips[-1].write_bytes(content)
    assert build_catalogue(fetched_mirror).bad_zips == 1
