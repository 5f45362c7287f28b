"""Text from a source stays text in each of the files."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.metadata.attribution import render_files
from tcia_assets_tests.metadata.attribution_files import (
    HOSTILE,
    NASTY,
    card,
    cells,
    cleaned,
    entries,
    table,
)


@settings(deadline=None)
@given(st.sampled_from(NASTY) | HOSTILE, st.sampled_from(NASTY) | HOSTILE)
def test_texts_of_the_source_stay_text(licence: str, told: str) -> None:
    made = render_files(
        "t\ud800" + licence, table(("c" + licence, "l" + licence, told, "d" + told, 1, 2))
    )
    for text in made.values():
        assert text.encode().decode() == text
    name, source = cleaned("l" + licence), cleaned("d" + told)
    assert card(made["CITATION.cff"])["title"] == cleaned("t " + licence)
    both = f"{name} ({cleaned(told)})" if cleaned(told) else name
    assert cells(made["LICENSES.md"]) == [[cleaned("c" + licence), both, source, "1", "2"]]
    read = card(made["CITATION.cff"])
    assert read["references"][0]["notes"].startswith(f"1 Series; licence: {name}. ")
    assert read["identifiers"] == [
        {"type": "other", "value": source, "description": f"Data of {cleaned('c' + licence)}"}
    ]
    [entry] = entries(made["CITATIONS.bib"]).values()
    assert entry["note"] == f"{source}. 1 Series; licence: {name}."
