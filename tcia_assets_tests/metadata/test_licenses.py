"""Licence names have one short form, in Python and in SQL."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.errors import UnknownName
from tcia_assets.metadata import licenses
from tcia_assets.metadata.licenses import Licenses, short_license, unmatched_licenses
from tcia_assets.metadata.selection import Selection
from tcia_assets.store import sql
from tcia_assets_tests.metadata.licence_names import BY3, BY4, NC3, NLM, TEXTS


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (BY3, "cc-by-3.0"),
        (BY4, "cc-by-4.0"),
        (NC3, "cc-by-nc-3.0"),
        ("CC BY-NC 4.0", "cc-by-nc-4.0"),
        ("CC-BY-NC-ND-4.0", "cc-by-nc-nd-4.0"),
        ("Attribution-NonCommercial-NoDerivs 2.5 Generic", "cc-by-nc-nd-2.5"),
        (
            "Creative Commons Attribution\u2013Non\u2013Commercial 4.0 (CC BY-NC 4.0)",
            "cc-by-nc-4.0",
        ),
        (
            "Creative Commons Attribution-ShareAlike 4.0 International Public License",
            "cc-by-sa-4.0",
        ),
        (
            "https://creativecommons.org/licenses/by/4.0/",
            "https-creativecommons.org-licenses-by-4.0",
        ),
        ("creativecommons.org/licenses/by-nc/3.0/", "cc-by-nc-3.0"),
        ("creativecommons.org/publicdomain/zero/1.0/", "cc0-1.0"),
        ("CC0 1.0 Universal", "cc0-1.0"),
        ("CCBY v4.0", "cc-by-4.0"),
        (NLM, "national-library-of-medicine-terms-and-conditions-may-21-2019"),
        ("TCIA Restricted License", "tcia-restricted"),
        ("\u8bb8\u53ef", "\u8bb8\u53ef"),
        ("-", ""),
    ],
)
def test_a_licence_has_one_short_form(name: str, short: str) -> None:
    assert short_license(name) == short


WORDS = st.sampled_from(
    [
        *BY3.split(),
        *NC3.split(),
        "(CC",
        "BY-NC",
        "4.0)",
        "NoDerivs",
        "Share",
        "Alike",
        "CC0",
        "v3",
        "by",
    ]
)


@settings(deadline=None)
@given(st.lists(st.lists(WORDS, max_size=8).map(" ".join) | TEXTS, min_size=1, max_size=20))
def test_sql_and_python_agree_on_the_short_form(names: list[str]) -> None:
    with sql.scratch() as connection:
        statement = f"SELECT {licenses._short('x')} FROM (SELECT unnest(?) AS x)"
        shorts = [short for (short,) in connection.execute(statement, [names]).fetchall()]
    assert shorts == [short_license(name) for name in names]


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8).map(" ".join) | TEXTS.filter(short_license))
def test_a_licence_matches_its_own_name(name: str) -> None:
    with sql.scratch() as connection:
        matched = licenses._matches(licenses._short("?"), (name,))
        assert connection.execute(f"SELECT {matched}", [name]).fetchall() == [(True,)]


def test_licence_names_that_match_nothing_are_returned() -> None:
    known = [BY3, NC3, NLM]
    selection = Selection(where="true", licenses=Licenses(deny=("NC", "CC BY-ND 4.0", "CC BY")))
    assert unmatched_licenses(selection.licenses, known) == ("CC BY-ND 4.0",)
    near = Selection(where="true", licenses=Licenses(deny=("National Library of Medicine",)))
    assert unmatched_licenses(near.licenses, known) == ("National Library of Medicine",)
    far = Selection(where="true", licenses=Licenses(deny=("GPL",)))
    with pytest.raises(UnknownName, match="no licence 'GPL'; valid: 'Creative Commons"):
        unmatched_licenses(far.licenses, known)
    assert unmatched_licenses(far.licenses, []) == ("GPL",)
    assert unmatched_licenses(None, known) == ()
