"""Zips that are missing or damaged are found without opening any."""

from __future__ import annotations

import pytest

from tcia_assets.pages.bad_zips import DAMAGED_ZIP, MISSING_ZIP, advise_repair, find_bad_zips
from tcia_assets.pages.series import SeriesFacts, Zip
from tcia_assets.pages.series_page import Shown
from tcia_assets.store.warehouse import Warehouse

SIZE = 5


def facts(uid: str, status: str = "complete") -> SeriesFacts:
    archive = {"Collection": "Two words", "status": status, "archive_bytes": SIZE}
    return SeriesFacts(uid, {}, archive, Zip(f"archives/Lungs/{uid}.zip", "0" * 64))


def test_a_zip_that_is_gone_or_has_another_size_is_bad(warehouse: Warehouse) -> None:
    folder = warehouse.root / "archives" / "Lungs"
    folder.mkdir(parents=True)
    (folder / "1.zip").write_bytes(bytes(SIZE))
    (folder / "2.zip").write_bytes(bytes(SIZE - 1))
    found = {uid: facts(uid) for uid in "123"}

    assert find_bad_zips(found, warehouse) == {"2": DAMAGED_ZIP, "3": MISSING_ZIP}


@pytest.mark.parametrize(
    ("status", "advice"),
    [("complete", "tcia-assets verify 'Two words'"), ("failed", "tcia-assets fetch 'Two words'")],
)
def test_the_command_that_replaces_it_depends_on_its_row(status: str, advice: str) -> None:
    shown = advise_repair(facts("1", status), Shown(why="Its zip is missing."))
    assert shown.advice == advice
    assert shown.why.startswith("Its zip is missing. ")
