"""What a gallery has made is read from its state: files, what is final, what has no picture."""

from __future__ import annotations

from tcia_assets.pages import addresses
from tcia_assets.pages.gallery_state import State, files_of, is_final, unpictured

MADE = {"key": "a", "why": ""}
REFUSED = {"key": "b", "why": "it has no pixels"}
FOR_WANT_OF_A_LIBRARY = {"key": "", "why": "pip install it"}


def state(*pictures: dict[str, str], **more: object) -> State:
    return {"pictures": {str(n): each for n, each in enumerate(pictures)}, "volumes": {}} | more


def test_only_files_that_were_made_are_named() -> None:
    assert [*files_of(state(MADE, REFUSED, FOR_WANT_OF_A_LIBRARY))] == [addresses.picture("a")]
    volume = {"volumes": {"1": {"key": "c", "why": "", "viewer": {}}}}
    assert {*files_of(state(**volume))} == {
        addresses.volume("c"),
        addresses.slices("c"),
        addresses.picture("c"),
    }
    assert not [*files_of({})]


def test_what_a_library_or_a_zip_would_change_is_not_final() -> None:
    assert is_final(state(MADE, REFUSED))
    assert not is_final(state(MADE, FOR_WANT_OF_A_LIBRARY))
    assert not is_final(state(MADE, lost={"0": "the zip is missing"}))


def test_series_without_a_picture_are_counted() -> None:
    assert unpictured(state(MADE, REFUSED, FOR_WANT_OF_A_LIBRARY)) == 2
    assert unpictured({}) == 0
