"""The text of a new declaration is valid, whatever the names in it are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.datasets.declaration import parse_declaration
from tcia_assets.datasets.new_declaration import (
    Choices,
    count_modalities,
    count_names,
    declaration_text,
    propose_labels,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.examples import examples

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_NAMES = _TEXTS.filter(lambda text: bool(text.strip()))


def test_what_is_in_the_warehouse_is_counted(fetched_root: object) -> None:
    warehouse = Warehouse(str(fetched_root))
    images, masks = count_modalities(warehouse, [SMALL])
    assert (dict(images), dict(masks)) == ({"CT": 5}, {"RTSTRUCT": 5})
    names = {"Body": 5, "Lesion": 5}
    assert dict(count_names(warehouse, [SMALL], "RTSTRUCT", ["CT"])) == names
    assert dict(count_names(warehouse, [SMALL], "RTSTRUCT", ["MR", "CT"])) == names
    assert not count_names(warehouse, [SMALL], "RTSTRUCT", ["MR"])
    assert not count_names(warehouse, [SMALL], "SEG", ["CT"])


def test_spellings_of_one_name_are_one_label() -> None:
    labels = propose_labels({"GTV-1": 2, "gtv 1": 1, "Lung_L": 9, "!": 5, "2": 1})
    assert labels == {
        "lung_l": "(?i)lung[ _-]*l",
        "gtv_1": "(?i)gtv[ _-]*1",
        "label_2": "(?i)2",
    }


@settings(max_examples=examples(30), deadline=None)
@given(_NAMES, _NAMES, st.dictionaries(_TEXTS, st.integers(1, 9), max_size=5))
def test_any_names_give_a_valid_file(title: str, name: str, names: dict[str, int]) -> None:
    choices = Choices(title, (name,), ("CT",), "SEG", propose_labels(names))
    declaration = parse_declaration(declaration_text(choices, names), "new")
    assert declaration.cohort.collections == (name.strip(),)
    assert declaration.title == title.strip()
    plain = parse_declaration(declaration_text(Choices("T", ("A",), ("MR",)), {}), "new")
    assert (plain.target, plain.cohort.modalities) == (None, ("MR",))


def test_the_order_of_overlapping_labels_is_proposed() -> None:
    text = declaration_text(
        Choices("t", ("A",), ("CT",), "SEG", {"body": "body", "lesion": "gtv"}), {}
    )
    assert "# priority: [lesion, body]" in text
    chosen = parse_declaration(text.replace("# priority:", "priority:"), "new")
    assert chosen.target and chosen.target.priority == ("lesion", "body")
    assert "priority" not in declaration_text(Choices("t", ("A",), ("CT",), "SEG"), {})


def test_words_of_yaml_stay_names() -> None:
    choices = Choices("NULL", ("NULL", "yes"), ("CT",))
    declaration = parse_declaration(declaration_text(choices, {}), "new")
    assert declaration.cohort.collections == ("NULL", "yes")
    labels = propose_labels({"NULL": 2, "yes": 1})
    text = declaration_text(Choices("T", ("A",), ("CT",), "SEG", labels), {})
    made = parse_declaration(text, "new").target
    assert made and list(made.labels) == ["null", "yes"]


def test_channels_are_written_or_shown_as_a_comment() -> None:
    channels = {"ct": "Modality = 'CT'", "pet": "Modality = 'PT'"}
    choices = Choices("t", ("A",), ("CT", "PT"), channels=channels)
    declaration = parse_declaration(declaration_text(choices, {}), "new")
    assert {name: each.where for name, each in declaration.channels.items()} == channels
    assert declaration.reference == "ct"
    text = declaration_text(Choices("t", ("A",), ("CT", "PT")), {})
    assert not parse_declaration(text, "new").channels
    shown = text.replace("\n# channels:", "\nchannels:").replace("\n#   ", "\n  ")
    shown = shown.replace("\n# reference:", "\nreference:")
    assert list(parse_declaration(shown, "new").channels) == ["ct", "pt"]
