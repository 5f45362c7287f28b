"""YAML is read as text, and each value has its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.datasets.yaml_lines import parse_yaml, read_yaml
from tcia_assets.errors import BadDeclaration

TEXT = """\
title: "0123"
cohort:
  collections:
  - NO
  - 007
  where: ~
"""


def refused(text: str) -> BadDeclaration:
    with pytest.raises(BadDeclaration) as caught:
        parse_yaml(text, "lungs.yaml")
    return caught.value


def test_scalars_stay_text() -> None:
    content = parse_yaml(TEXT, "lungs.yaml").content
    assert content == {"title": "0123", "cohort": {"collections": ["NO", "007"], "where": None}}


def test_each_location_has_its_line() -> None:
    document = parse_yaml(TEXT, "lungs.yaml")
    assert document.lines == {
        (): 1,
        ("title",): 1,
        ("cohort",): 2,
        ("cohort", "collections"): 3,
        ("cohort", "collections", 0): 4,
        ("cohort", "collections", 1): 5,
        ("cohort", "where"): 6,
    }


def test_an_error_has_the_line_of_the_nearest_location() -> None:
    document = parse_yaml(TEXT, "lungs.yaml")
    error = document.error_at(("cohort", "collections", 1), "unknown")
    assert str(error) == "lungs.yaml, line 5, cohort.collections: unknown"
    error = document.error_at(("cohort", "sql", "x"), "missing")
    assert (error.line, error.key) == (2, "cohort.sql.x")


@pytest.mark.parametrize(
    ("text", "line", "key", "problem"),
    [
        ("", 1, "", "the file is empty"),
        ("title: [\n", 2, "", "the file is not YAML"),
        ("a:\n  b: 1\n  b: 2\n", 3, "a.b", "the key appears twice, first in line 2"),
        ("a: 1\n? [b]\n: 2\n", 2, "", "a key must be a text"),
        ("a: &x 1\nb: *x\n", 2, "", "the alias *x is not allowed"),
        ("a: " + "[" * 50 + "]" * 50, 1, "", "nested more than 20 levels"),
        ("a: \x00", 1, "", "the file is not YAML"),
    ],
)
def test_an_unreadable_text_is_an_error_with_its_line(
    text: str, line: int, key: str, problem: str
) -> None:
    error = refused(text)
    assert (error.line, error.key) == (line, key)
    assert problem in error.problem


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lungs.yaml"
    with pytest.raises(BadDeclaration, match="cannot be read: No such file"):
        read_yaml(path)
    path.write_bytes(b"title: a\nx: \xe9\n")
    with pytest.raises(BadDeclaration, match="line 2: the file is not UTF-8"):
        read_yaml(path)
    path.write_bytes(b" " * (1 << 20) + b"a")
    with pytest.raises(BadDeclaration, match="1048577 bytes, more than 1048576"):
        read_yaml(path)
