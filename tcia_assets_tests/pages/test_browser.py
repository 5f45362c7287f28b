"""The catalogue in a real browser, opened from the disk: found, read, filtered and taken along.

They need Debian's chromium: `make browser-tests` installs it, and sets BROWSER.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, SERIES
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.series_lists import read_series_list
from tcia_assets.pages.build import build_catalogue
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for
from tcia_assets_tests.pages.conftest import HOSTILE, describe, series_row, write_series
from tcia_assets_tests.pages.test_datasets import publish

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page, Playwright

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("BROWSER"), reason="make browser-tests runs it"),
    # playwright's own loop is closed late.
    pytest.mark.filterwarnings("default::ResourceWarning"),
]

CHROMIUM = "/usr/bin/chromium"
GPU = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WIDTHS = (400, 1400)
# A Collection with CT of the lung and segmentations, and others without them.
WANTED = "QIN LUNG CT"
MANY = 20_000


@dataclass
class Watched:
    """What must not happen while a page is open."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def catalogue(
    served: Sandbox, fetched_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A catalogue of several Collections, one of them fetched and one hostile, and of a dataset."""
    root = tmp_path_factory.mktemp("browsed") / "data"
    shutil.copytree(fetched_root, root)
    warehouse = Warehouse(root)
    served.reset()
    with open_source(settings_for(served, root), pacing=IMPATIENT) as source:
        for name in (SMALL, WANTED, "VICTRE"):
            for table in (SERIES, COLLECTION_DESCRIPTIONS):
                refresh(table, name, source, warehouse, datetime.now(UTC), ProbeBudget(0))
    odd = {
        "SeriesDescription": HOSTILE,
        "Manufacturer": HOSTILE,
        "LicenseURI": "javascript:alert(1)",
    }
    write_series(warehouse, series_row(1, "Hostile", **odd))
    describe(warehouse, "Hostile", title=HOSTILE, description=HOSTILE, citation=HOSTILE)
    write_series(warehouse, *(series_row(n, "Many", PatientID=f"P{n % 900}") for n in range(MANY)))
    publish(root)
    return build_catalogue(warehouse, tmp_path_factory.mktemp("out"), volumes=1).folder


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(GPU))
    yield browser
    browser.close()


@contextmanager
def opened(browser: Browser, page_file: Path, width: int = 1400, **options: Any) -> Iterator[Page]:
    """Open a page from the disk; at the end nothing must have failed or asked a network."""
    watched = Watched()
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    page.on("console", lambda m: watched.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("dialog", lambda dialog: watched.errors.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: watched.requests.append(request.url))
    page.goto(page_file.as_uri())
    yield page
    assert watched.errors == []
    assert [u for u in watched.requests if not u.startswith(("file:", "blob:", "data:"))] == []
    assert context.cookies() == []
    context.close()


def show_table(page: Page) -> None:
    page.locator("#table").scroll_into_view_if_needed()
    page.wait_for_selector('#table[data-state="ready"] .tabulator-row')


def download(page: Page, kind: str, folder: Path) -> Path:
    with page.expect_download() as found:
        page.click(f'[data-list="{kind}"]')
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


@pytest.mark.parametrize("width", WIDTHS)
def test_someone_finds_a_collection_its_citation_and_a_list_by_clicking(
    browser: Browser, catalogue: Path, width: int, tmp_path: Path
) -> None:
    with opened(browser, catalogue / "index.html", width) as page:
        if page.locator("#facets").get_attribute("open") != "":
            page.click("#facets > summary")
        for name, value in (("modality", "ct"), ("modality", "seg"), ("license", "cc by 3.0")):
            page.check(f'input[name="{name}"][value="{value}"]')
        page.check('input[name="body_part"][value="lung"]')
        if width < 960:
            assert page.inner_text("#show").replace("\u202f", " ") == "Show 1 Collection"
            page.click("#show")
        assert page.inner_text("#found").replace("\u202f", " ") == "1 of 5 Collections"
        page.click(".card:visible h3 a")
        assert page.inner_text("h1") == WANTED
        assert "CC BY 3.0" in page.inner_text("aside")
        assert "https://doi.org/10.7937/" in page.inner_text("#citation-1")
        show_table(page)
        uids = read_series_list(str(download(page, "uids", tmp_path))).to_pylist()
        listed = int(page.get_attribute("#table", "data-count") or 0)
        assert len(uids) == len(set(uids)) == listed > 100
        # Back leads to the same filters.
        page.go_back()
        assert page.locator(".card:visible").count() == 1


def test_each_filter_counts_what_the_others_leave(browser: Browser, catalogue: Path) -> None:
    def count(name: str, value: str) -> int:
        label = page.locator(f'label.facet:has(input[name="{name}"][value="{value}"])')
        return int((label.locator(".num").text_content() or "").split(" ")[0].replace("\u202f", ""))

    def listed() -> int:
        cards = page.locator(".card:visible").all()
        return sum(int(card.get_attribute("data-series") or 0) for card in cards)

    with opened(browser, catalogue / "index.html") as page:
        every_ct, every_license = count("modality", "ct"), count("license", "cc by 3.0")
        assert count("modality", "mg") > 0 and every_license < listed()
        page.check('input[name="license"][value="cc by 3.0"]')
        # Within a facet of which one value is enough, the others still say what they would add.
        assert listed() == every_license == count("license", "cc by 3.0")
        assert count("license", "cc by 4.0") == MANY + 1
        assert 0 < count("modality", "ct") < every_ct
        # Of a facet of which all must match, one value narrows the others.
        page.check('input[name="modality"][value="seg"]')
        assert page.locator(".card:visible h3").all_inner_texts() == [WANTED]
        assert count("modality", "rtstruct") == count("modality", "mg") == 0
        page.fill("#words", "no such word")
        assert count("modality", "ct") == count("license", "cc by 4.0") == 0
        page.click("#clear")
        assert (count("modality", "ct"), count("license", "cc by 3.0")) == (every_ct, every_license)


def test_selected_and_filtered_series_are_taken_along(
    browser: Browser, catalogue: Path, tmp_path: Path
) -> None:
    with opened(browser, catalogue / "collections" / "QIN-LUNG-CT.html") as page:
        show_table(page)
        page.fill("#search", "seg")
        page.wait_for_selector("#selected:has-text(' of ')")
        some = read_series_list(str(download(page, "csv", tmp_path))).to_pylist()
        page.fill("#search", "")
        page.wait_for_selector("#selected:not(:has-text(' of '))")
        boxes = page.locator('.tabulator-row input[type="checkbox"]')
        boxes.nth(0).check()
        boxes.nth(2).check()
        chosen = read_series_list(str(download(page, "tcia", tmp_path))).to_pylist()
        every = read_series_list(str(download(page, "uids", tmp_path))).to_pylist()
    assert 0 < len(some) < 137 and len(chosen) == len(every) == 2


def test_the_table_is_sorted_by_keyboard_and_has_no_lists_of_nothing(
    browser: Browser, catalogue: Path
) -> None:
    with opened(browser, catalogue / "collections" / "QIN-LUNG-CT.html") as page:
        show_table(page)
        header = page.locator('.tabulator-col[tabulator-field="PatientID"]')
        header.focus()
        for order in ("ascending", "descending"):
            page.keyboard.press("Enter")
            page.wait_for_selector(f'[tabulator-field="PatientID"][aria-sort="{order}"]')
        page.fill("#search", "no such Series")
        page.wait_for_selector("text=No Series match")
        assert all(button.is_disabled() for button in page.locator("[data-list]").all())
        page.fill("#search", "seg")
        page.wait_for_selector('[data-list="csv"]:enabled')


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault_for_people_with_disabilities(
    browser: Browser, catalogue: Path, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    series = next(p for p in catalogue.glob("series/*/*.html") if 'id="viewer"' in p.read_text())
    names = ["index.html", "changes.html", "datasets.html", "datasets/lung_ct.html"]
    names += ["collections/LCTSC.html", "collections/Hostile.html"]
    for path in [*(catalogue / name for name in names), series]:
        with opened(browser, path, width, color_scheme=scheme) as page:
            if page.locator("#table").count():
                show_table(page)
            # Without loading the style sheets once more, which the policy forbids.
            found = Axe().run(page, options={"preload": False}).response["violations"]
            faults = [
                (each["id"], each["nodes"][0]["html"][:200])
                for each in found
                if each["impact"] in {"serious", "critical"}
            ]
            assert faults == [], path.name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name


def test_a_volume_opens_with_its_mask_and_closes(browser: Browser, catalogue: Path) -> None:
    series = next(p for p in catalogue.glob("series/*/*.html") if 'id="viewer"' in p.read_text())
    with opened(browser, series) as page:
        page.locator("#slice").focus()
        before = page.inner_text("#position")
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#position") != before
        page.click("#open")
        page.wait_for_selector('#viewer[data-state="open"] canvas', timeout=60_000)
        page.wait_for_timeout(1000)
        picture = page.locator("canvas").screenshot()
        assert len(picture) > 10_000  # grey and coloured, not black
        slider = page.get_by_label("Opacity of the mask")
        assert (slider.input_value(), slider.get_attribute("aria-valuetext")) == ("50", "50\u202f%")
        slider.focus()
        page.keyboard.press("Home")
        assert page.inner_text("#share") == "0\u202f%"
        page.wait_for_timeout(1000)
        assert page.locator("canvas").screenshot() != picture  # without the mask
        page.click("#open")
        assert page.locator("canvas").count() == 0 and not slider.is_visible()


def test_without_webgl_the_slices_stay(playwright: Playwright, catalogue: Path) -> None:
    series = next(p for p in catalogue.glob("series/*/*.html") if 'id="viewer"' in p.read_text())
    options = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
    with opened(browser, series) as page:
        page.click("#open")
        assert "no WebGL" in page.inner_text("#open")
        page.locator("#slice").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator(".slice").count() == 1
    browser.close()


def test_hostile_texts_do_nothing(browser: Browser, catalogue: Path) -> None:
    with opened(browser, catalogue / "collections" / "Hostile.html") as page:
        show_table(page)
        assert "<script>alert(1)</script>" in page.inner_text("main")
        assert page.locator("main img, main script").count() == 0
    with opened(browser, catalogue / "index.html") as page:
        assert "<script>alert(1)</script>" in page.inner_text("#cards")


def test_twenty_thousand_series_are_there_within_a_second(
    browser: Browser, catalogue: Path
) -> None:
    with opened(browser, catalogue / "collections" / "Many.html") as page:
        session = page.context.new_cdp_session(page)
        # The processor time of the page's thread, because tests share their machine.
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = processor_seconds(session)
        show_table(page)
        assert processor_seconds(session) - before < 1
        assert page.inner_text("#selected").replace("\u202f", "") == f"{MANY} Series"


def processor_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


def test_pages_work_without_scripts_and_by_keyboard(browser: Browser, catalogue: Path) -> None:
    with opened(browser, catalogue / "index.html", java_script_enabled=False) as page:
        assert page.locator(".card:visible").count() == 5
    with opened(
        browser, catalogue / "collections" / "LCTSC.html", java_script_enabled=False
    ) as page:
        assert "tcia-assets query" in page.inner_text("noscript")
    with opened(browser, catalogue / "index.html") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
