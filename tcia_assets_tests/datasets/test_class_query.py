"""Values are joined with images so that no key is lost or doubled without a word."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.datasets.class_query import query_classes
from tcia_assets.datasets.cohort import ClassJoin
from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.errors import BadDeclaration
from tcia_assets.store.clinical import write_clinical
from tcia_assets.store.warehouse import Warehouse

IMAGES = pa.table(
    {
        "Collection": ["A", "A", "B"],
        "PatientID": ["001", "002", "001"],
        "StudyInstanceUID": ["1.1", "1.2", "1.3"],
        "SeriesInstanceUID": ["1.1.1", "1.2.1", "1.3.1"],
    }
)


def _declared(section: str, folder: Path = Path()) -> Declaration:
    text = (
        "title: T\ncohort: {collections: [A]}\nsplit: {fractions: {train: 1}}\n"
        f"classes: {section}\n"
    )
    return parse_declaration(text, "t", folder=folder)


def _query(
    section: str, warehouse: Warehouse, images: pa.Table = IMAGES
) -> tuple[dict[str, str], ClassJoin]:
    declaration = _declared(section, warehouse.root)
    assert declaration.classes is not None
    return query_classes(declaration, declaration.classes, warehouse, images)


def _csv(warehouse: Warehouse, text: str) -> str:
    (warehouse.root / "own.csv").write_bytes(text.encode("utf-8-sig"))
    return "{column: stage, csv: own.csv}"


def test_ids_of_a_file_stay_texts_and_those_of_no_image_are_counted(warehouse: Warehouse) -> None:
    section = _csv(warehouse, "PatientID,stage\r\n001,II\r\n002, III \r\n009,I\r\n\r\n")
    values, joined = _query(section, warehouse)
    assert values == {"1.1.1": "II", "1.2.1": "III", "1.3.1": "II"}
    assert joined == ClassJoin("PatientID", keys=3, matched=2)
    assert (joined.unused, joined.example) == (1, "009")
    assert "009" not in str(joined.content)


def test_with_a_collection_it_must_be_equal_too(warehouse: Warehouse) -> None:
    rows = {"Collection": ["A", "B"], "PatientID": ["001", "001"], "stage": ["I", "II"]}
    write_clinical(warehouse.root, "own", pa.table(rows))
    values, joined = _query("{column: stage, table: clinical_own}", warehouse)
    assert values == {"1.1.1": "I", "1.3.1": "II"}
    assert joined == ClassJoin("PatientID", keys=2, matched=2)


def test_the_finest_key_is_used_unless_another_is_named(warehouse: Warehouse) -> None:
    query = "SELECT '001' AS PatientID, '1.1.1' AS SeriesInstanceUID, 'x' AS stage"
    values, joined = _query(f'{{column: stage, sql: "{query}"}}', warehouse)
    assert (list(values), joined.key) == (["1.1.1"], "SeriesInstanceUID")
    by_patient = f'{{column: stage, sql: "{query}", key: PatientID}}'
    assert list(_query(by_patient, warehouse)[0]) == ["1.1.1", "1.3.1"]


def test_several_values_of_one_key_are_refused_unless_they_are_one_class(
    warehouse: Warehouse,
) -> None:
    section = _csv(warehouse, "PatientID,stage\n001,IIa\n001,IIb\n002,\n002,I\n")
    with pytest.raises(BadDeclaration, match=r"1 PatientIDs have .*: '001' has 'IIa', 'IIb'"):
        _query(section, warehouse)
    named = section.replace("csv:", "names: {late: 'II.*', early: I}, csv:")
    assert _query(named, warehouse)[0] == {"1.1.1": "IIa", "1.2.1": "I", "1.3.1": "IIa"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("PatientID,grade\n001,I\n", "no column 'stage'"),
        ("Patient,stage\n001,I\n", "no column to join by"),
        ("PatientID,stage\n001,I,x\n", "row 2 has 3 values"),
        ("PatientID,stage,stage\n", "two columns are called 'stage'"),
        ('PatientID,stage\n"001,I\n', "cannot be read"),
        ("PatientID,stage\n777,I\n", "no image of the cohort has a value"),
        ("", "own.csv is empty"),
    ],
)
def test_a_file_that_cannot_be_joined_says_why(
    text: str, problem: str, warehouse: Warehouse
) -> None:
    with pytest.raises(BadDeclaration, match=problem):
        _query(_csv(warehouse, text), warehouse)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{column: stage, csv: none.csv}", "none.csv cannot be read"),
        ("{column: stage, table: nothing}", "the query fails"),
        ("{column: PatientSex, key: PatientID, sql: \"SELECT 'F' AS PatientSex\"}", "'PatientID'"),
        (
            "{column: v, sql: \"SELECT '001' AS PatientID, 3 AS v\", names: {a: 3, b: '.'}}",
            "classes a, b",
        ),
    ],
)
def test_a_source_that_is_not_there_has_the_line_of_its_key(
    section: str, problem: str, warehouse: Warehouse
) -> None:
    with pytest.raises(BadDeclaration, match=problem) as raised:
        _query(section, warehouse)
    assert raised.value.line == 4
