"""File names of pages: plain, distinct, and inside the folder."""

from __future__ import annotations

import re

from tcia_assets.pages import addresses


def test_names_of_files_are_plain_and_distinct_whatever_a_collection_is_called() -> None:
    names = [
        "A",
        "a",
        "A b",
        "A-b",
        "..",
        ".",
        "",
        "../../etc",
        "COM1",
        "nul.txt",
        "ä" * 300,
        "x\0",
    ]
    found = addresses.slugs(names)
    assert list(found) == names
    assert all(
        re.fullmatch(r"[A-Za-z0-9._-]+", slug) and len(slug) < 100 for slug in found.values()
    )
    assert len({slug.casefold() for slug in found.values()}) == len(names)
    assert not any(slug.startswith(".") for slug in found.values())
    assert found["COM1"] != "COM1"


def test_a_plain_name_is_its_own_file_name() -> None:
    assert addresses.slugs(["LIDC-IDRI", "4D-Lung"]) == {
        "LIDC-IDRI": "LIDC-IDRI",
        "4D-Lung": "4D-Lung",
    }
