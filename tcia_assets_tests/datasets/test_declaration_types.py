"""Field types of a declaration: what they accept, and what their errors say."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator, Field, ValidationError

from tcia_assets.datasets.declaration import parse_declaration
from tcia_assets.datasets.declaration_types import (
    Names,
    Section,
    Text,
    choice,
    read_number,
    shown,
    whole_number,
    word,
)
from tcia_assets.errors import BadDeclaration


class Example(Section):
    text: Text = "a"
    names: Names = ()
    way: Annotated[str, choice(("series", "sop"), "way")] = "sop"
    count: Annotated[int, whole_number(2, 9)] = 2
    label: Annotated[Text, word("label")] = "a"
    share: Annotated[Fraction, BeforeValidator(lambda v: read_number(v, "a share"))] = Fraction(1)


class Required(Section):
    fractions: Text = Field(description="such as {train: 1}")


@pytest.mark.parametrize(
    ("key", "value", "result"),
    [
        ("text", " a b ", "a b"),
        ("names", "LCTSC", ("LCTSC",)),
        ("names", ["a", "b", "a"], ("a", "b")),
        ("way", "series", "series"),
        ("count", "9", 9),
        ("label", "left_lung-1", "left_lung-1"),
        ("share", "1/3", Fraction(1, 3)),
        ("share", "0.1", Fraction(1, 10)),
    ],
)
def test_valid_values_are_converted(key: str, value: Any, result: Any) -> None:
    assert getattr(Example.model_validate({key: value}), key) == result


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("text", None, "nothing is not a text"),
        ("text", ["a"], "a list is not a text"),
        ("text", {"a": "b"}, "a group of keys is not a text"),
        ("names", [], "an empty list is not a list of names with at least one"),
        ("names", ["a", ""], "'' is not a name"),
        ("way", "serie", "'serie' is not a way; valid: 'series', 'sop'; did you mean 'series'?"),
        ("count", "2.5", "'2.5' is not a whole number from 2 to 9"),
        ("count", "10", "'10' is not a whole number from 2 to 9"),
        ("label", "1st", "'1st' is not a name for a label"),
        ("share", "1/0", "'1/0' is not a share"),
        ("txt", "a", "no key 'txt'; did you mean 'text'?"),
    ],
)
def test_an_invalid_value_is_an_error_that_says_what_is_valid(
    key: str, value: Any, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({key: value})
    (error,) = caught.value.errors()
    assert error["msg"].startswith(message)


def test_a_missing_key_is_an_error_with_advice() -> None:
    with pytest.raises(ValidationError) as caught:
        Required.model_validate({})
    message = "the key 'fractions' is missing; such as {train: 1}"
    assert caught.value.errors()[0]["msg"] == message
    with pytest.raises(ValidationError, match="a list is not a group of keys with values"):
        Required.model_validate(["a"])


def test_a_section_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().text = "b"


def test_a_long_value_is_cut_off_in_errors() -> None:
    assert shown("x" * 100) == repr("x" * 80) + "..."


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("split: {train: 0.8, test: 0.2}", "below 'fractions'"),
        ("split: {fractions: {train: 1}, seed: 1}", "'salt' gives another split"),
        ("target: {kind: seg, labels: {a: b}}", "did you mean 'SEG'"),
        ("target: {kind: SEG, labels: [a, b]}", "each label has a pattern"),
        ("cohort: {collections: [A], patients: [B]}", "PatientID IN"),
        ("volume: {spacing: 1}", "one length for all axes is \\[1, 1, 1\\]"),
        ("split: {fractions: {train: 1}, random_state: 1}", "'salt' gives another split"),
        ("split: {fractions: {train: 1}, val: 0.2}", "below 'fractions'"),
        ("target: {kind: SEG, labels: {lung: [a, b]}}", r"join its names as 'Lung_L\|Lung_R'"),
        ("target: false", "write 'target: none'"),
        ("volume: {window: lungs}", "or the name of one .lung, soft_tissue"),
        ("volume: {orientation: ras}", "is not an orientation; .* did you mean 'RAS'"),
        ("labels: {lung: Lung}", "it belongs below 'target'"),
        ("name: lung", "the name of its file"),
        ("seed: 1", "'salt' below 'split'"),
        ("window: lung", "it belongs below 'volume'"),
        ("formats: nnUNet", "did you mean 'nnunet'"),
    ],
)
def test_what_people_guess_gets_a_hint(text: str, hint: str) -> None:
    keys = {
        "title": "title: T",
        "cohort": "cohort: {collections: [A]}",
        "split": "split: {fractions: {train: 1}}",
    }
    lines = keys | {text.partition(":")[0]: text}
    with pytest.raises(BadDeclaration, match=hint):
        parse_declaration("\n".join(lines.values()), "t")


@pytest.mark.parametrize(
    ("text", "section", "key", "value"),
    [
        ("spacing: [1, 1, native]", "volume", "spacing", (1.0, 1.0, None)),
        ("window: lung", "volume", "window", (-1350.0, 150.0)),
    ],
)
def test_what_people_guess_may_be_right(text: str, section: str, key: str, value: object) -> None:
    keys = f"title: T\ncohort: {{collections: [A]}}\nsplit: {{fractions: {{train: 1}}}}\n{section}:"
    declaration = parse_declaration(f"{keys}\n  {text}\n", "t")
    assert getattr(getattr(declaration, section), key) == value


def test_no_target_may_be_written_as_null() -> None:
    text = "title: T\ncohort: {collections: [A]}\nsplit: {fractions: {train: 1}}\ntarget: null\n"
    assert parse_declaration(text, "t").target is None
