"""The page of a plan is one file without a script, in which nothing from the archive runs."""

from __future__ import annotations

from dataclasses import replace

from tcia_assets.datasets.plan import NamePlan
from tcia_assets.pages.dataset_plan import plan_page
from tcia_assets_tests.datasets.test_plan_notes import SOUND
from tcia_assets_tests.pages.html import Page

HOSTILE = '<img src=x onerror="alert(1)">'


def test_the_page_shows_what_the_plan_has() -> None:
    text = Page(plan_page(SOUND, ["one to look at"])).text
    for part in ("Lungs", "5.0 MB", "2 min", "one to look at", "Lung_L lung 3 3", "SIEMENS"):
        assert part in text, part
    assert "train 1 2 2 0" in text and "test 1 1 0 1" in text
    assert "CC BY 4.0 6 Series : Credit the authors" in text.replace("Series:", "Series :")


def test_the_page_is_one_file_without_scripts() -> None:
    page = Page(plan_page(SOUND, []))
    assert page.open == [] and not page.all("script") and not page.all("img")
    [sheet] = page.all("link")
    assert sheet["href"].startswith("data:text/css;base64,")
    [policy] = [each["content"] for each in page.all("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'; style-src data:") and "unsafe" not in policy


def test_texts_of_the_archive_are_only_texts() -> None:
    plan = replace(
        SOUND,
        title=HOSTILE,
        names=(NamePlan(HOSTILE, "", 1, 1),),
        licenses={HOSTILE: 1, "none": 2},
        masks={HOSTILE: 1},
    )
    page = Page(plan_page(plan, [HOSTILE]))
    assert page.open == [] and not page.all("img")
    assert page.text.count(HOSTILE) >= 4 and "No licence stated" in page.text
