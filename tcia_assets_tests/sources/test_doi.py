"""DOIs as sources write them."""

from __future__ import annotations

import pytest

from tcia_assets.sources.doi import doi_of

DOI = "10.7937/K9/TCIA.2017.3r3fvz08"


@pytest.mark.parametrize("before", ["", "doi:", "https://doi.org/", "http://dx.doi.org/"])
def test_a_doi_is_read_with_or_without_its_address(before: str) -> None:
    assert doi_of(before + DOI) == DOI


@pytest.mark.parametrize("text", ["", "https://wiki.example.org/x", "10.7937/a b", "doi.org"])
def test_anything_else_is_no_doi(text: str) -> None:
    assert doi_of(text) == ""
