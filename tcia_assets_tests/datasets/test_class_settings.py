"""The section `classes` of a declaration: one source of values, and names that are patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.datasets.class_settings import ClassSettings
from tcia_assets.datasets.declaration import parse_declaration
from tcia_assets.errors import BadDeclaration

_TEXT = """\
title: Classes
cohort: {{collections: [LCTSC], modalities: [CT]}}
split:
  fractions: {{train: 1}}
  stratify: [{stratify}]
{target}
"""


def _classes(section: str, stratify: str = "Modality") -> ClassSettings:
    text = _TEXT.format(target=section, stratify=stratify)
    settings = parse_declaration(text, "classes", folder=Path("below")).classes
    assert settings is not None
    return settings


def test_values_come_from_a_table_a_query_or_a_file() -> None:
    plain = _classes("classes: {column: PatientSex}")
    assert (plain.origin, plain.statement) == ("table", 'SELECT * FROM "current_series"')
    query = _classes("classes: {column: stage, sql: 'SELECT 1 AS stage;'}")
    assert (query.origin, query.statement) == ("sql", "SELECT 1 AS stage")
    file = _classes("classes: {column: stage, csv: stages.csv, key: PatientID}")
    assert (file.origin, file.csv_path) == ("csv", Path("below/stages.csv"))


def test_names_keep_their_order_which_gives_their_numbers() -> None:
    settings = _classes("classes: {column: stage, names: {late: '3|4', early: '[12]'}}")
    assert settings.model_dump(mode="json")["names"] == [["late", "3|4"], ["early", "[12]"]]


@pytest.mark.parametrize(
    ("section", "line", "problem"),
    [
        ("classes: {table: series}", 6, "the key 'column' is missing"),
        ("classes: {column: a, csv: b.csv, table: c}", 6, "values have one source"),
        ("classes: {column: a, sql: 'DROP TABLE x'}", 6, "it must be one SELECT"),
        ("classes: {column: a, key: Patient}", 6, "did you mean 'PatientID'"),
        ("classes: {column: a, names: {x: '('}}", 6, "is not a regular expression"),
        ("classes: {column: a, values: b}", 6, "no key 'values'"),
        ("target: {kind: class, labels: {a: b}}", 6, "write them as 'classes: {column: ...}'"),
    ],
)
def test_a_problem_is_named_with_its_line(section: str, line: int, problem: str) -> None:
    with pytest.raises(BadDeclaration, match=problem.replace("(", r"\(")) as raised:
        _classes(section)
    assert raised.value.line == line


def test_splits_are_kept_even_by_class_only_where_there_are_classes() -> None:
    assert _classes("classes: {column: PatientSex}", stratify="class_name")
    with pytest.raises(BadDeclaration, match="'class_name' needs a section 'classes'"):
        _classes("target: none", stratify="class_name")
