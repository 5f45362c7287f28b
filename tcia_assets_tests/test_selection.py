from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets import sql
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.selection import Selection, from_fields, parse

SERIES = pa.table(
    {
        "uid": ["1", "2", "3", "4", "5"],
        "Collection": ["4D-Lung", "LCTSC", "LCTSC", "4711", "It's"],
        "Modality": ["CT", "CT", "RTSTRUCT", None, "MR"],
        "BodyPartExamined": ["LUNG", "CHEST (THORAX) ", None, "NO", "ABD"],
        "FileSize": pa.array([100, 200, None, 400, 500], pa.int64()),
    }
)


def selected(selection: Selection) -> str:
    with sql.connect() as connection:
        connection.register("current_series", SERIES)
        statement = f"SELECT uid FROM current_series WHERE {selection.predicate} ORDER BY uid"
        return "".join(uid for (uid,) in connection.execute(statement).fetchall())


@pytest.mark.parametrize(
    ("selection", "uids"),
    [
        (Selection(collections=("LCTSC",)), "23"),
        (Selection(collections=("lctsc", " 4d-lung ")), "123"),
        (Selection(collections=("4711",)), "4"),
        (Selection(collections=("It's",)), "5"),
        (Selection(modalities=("ct",)), "12"),
        (Selection(body_parts=("chest (thorax)",)), "2"),
        (Selection(body_parts=("NO",)), "4"),
        (Selection(where="FileSize > 150"), "245"),
        (Selection(where="true"), "12345"),
        (Selection(where="Modality = 'MR' OR Modality = 'CT'", collections=("LCTSC",)), "2"),
        (Selection(where="Modality = 'CT' -- only these", collections=("LCTSC",)), "2"),
        (Selection(where="  ", collections=("LCTSC",)), "23"),
        (Selection(where="true", max_series_bytes=200), "12"),
        (Selection(where="true", max_series_bytes=0), ""),
        (
            Selection(collections=("LCTSC",), modalities=("CT",), body_parts=("CHEST (THORAX)",)),
            "2",
        ),
        (Selection(collections=("x') OR ('1' = '1",)), ""),
    ],
    ids=repr,
)
def test_a_selection_means_the_series_that_keep_all_its_criteria(
    selection: Selection, uids: str
) -> None:
    assert selected(selection) == uids


def test_a_selection_of_nothing_in_particular_is_refused() -> None:
    with pytest.raises(UsageError, match="needs one of collections, modalities, body_parts, where"):
        Selection(max_series_per_run=5)


WRITTEN = {
    "collections": ["LCTSC", "4D-Lung"],
    "modalities": ["CT"],
    "body_parts": ["LUNG"],
    "where": "ImageCount > 3",
    "max_series_bytes": 1_000_000,
    "max_bytes_per_run": 2_000_000,
    "max_series_per_run": 10,
}
MEANT = Selection(
    collections=("LCTSC", "4D-Lung"),
    modalities=("CT",),
    body_parts=("LUNG",),
    where="ImageCount > 3",
    max_series_bytes=1_000_000,
    max_bytes_per_run=2_000_000,
    max_series_per_run=10,
)
YAML = """\
collections: [LCTSC, 4D-Lung]
modalities: CT
body_parts:
  - LUNG
where: ImageCount > 3
max_series_bytes: 1000000
max_bytes_per_run: 2000000
max_series_per_run: 10
"""


@pytest.mark.parametrize("text", [YAML, json.dumps(WRITTEN)], ids=["yaml", "json"])
def test_a_selection_is_written_in_yaml_or_json(text: str) -> None:
    assert parse(text) == MEANT


@pytest.mark.parametrize(
    ("name", "text"), [("s.yaml", YAML), ("s.yml", YAML), ("s.json", json.dumps(WRITTEN))]
)
def test_a_selection_may_be_in_a_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert parse(f" {path}\n".rstrip()) == MEANT


def test_a_selection_may_be_the_fields_of_a_config() -> None:
    assert from_fields(WRITTEN) == MEANT
    assert from_fields({"where": True}) == Selection(where="true")
    assert from_fields({"collections": [4711]}) == Selection(collections=("4711",))
    assert from_fields({"collections": ("LCTSC",)}) == Selection(collections=("LCTSC",))


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_selection_is_nobodys(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "name", ["4711", "0123", "no", "NO", "on", "1_000", "12:30", "null", "1e3"]
)
def test_names_that_yaml_would_take_for_something_else_stay_as_written(name: str) -> None:
    assert parse(f"body_parts: [{name}]") == Selection(body_parts=(name,))
    assert parse(f"collections: {name}") == Selection(collections=(name,))


@pytest.mark.parametrize("written", ["true", "'true'", "TRUE"])
def test_everything_is_selected_by_a_condition_that_is_true(written: str) -> None:
    selection = parse(f"where: {written}")
    assert selection is not None
    assert selected(selection) == "12345"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{collections: [LCTSC", "neither YAML nor JSON"),
        ("LCTSC", "'LCTSC' is neither a file nor fields such as"),
        ("[LCTSC]", "neither a file nor fields"),
        ("missing.yaml", r"'missing.yaml' cannot be read"),
        ("{where: [a]}", r"where is \['a'\]; it must be SQL as text"),
        ("{where: 'true', max_series_bytes: -1}", "max_series_bytes is '-1'; .* a whole number"),
        ("{where: 'true', max_series_bytes: 1e9}", "max_series_bytes is '1e9'"),
        ("{where: 'true', max_series_bytes: }", "max_series_bytes is ''"),
        ("{where: 'true', max_series_per_run: [1]}", r"max_series_per_run is \['1'\]"),
        ("{collections: {a: b}}", r"collections is \{'a': 'b'\}; it must be a list of names"),
        ("{collections: [[a]]}", r"collections is \[\['a'\]\]"),
        ("{collections: ''}", "collections is ''"),
        ("{collections: }", "collections is ''"),
        ("{collections: [LCTSC, ' ']}", "collections is"),
    ],
)
def test_a_selection_that_cannot_be_meant_says_which_field_and_why(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse(text)
    assert str(caught.value).isprintable()


def test_an_unknown_field_is_named_with_the_near_ones() -> None:
    with pytest.raises(UnknownName, match=r"'collection'; did you mean 'collections'"):
        parse("{collection: [LCTSC]}")


@pytest.mark.parametrize("value", [True, -1, 1.5, None])
def test_a_limit_of_a_config_is_a_whole_number(value: object) -> None:
    with pytest.raises(UsageError, match="max_series_per_run"):
        from_fields({"where": "true", "max_series_per_run": value})


@pytest.mark.parametrize("value", [True, None, 1.5, [False], [None], 3.0])
def test_names_of_a_config_are_texts(value: object) -> None:
    with pytest.raises(UsageError, match="collections"):
        from_fields({"collections": value})


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"{collections: [a"])
def test_a_file_that_is_no_selection_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "selection.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="image selection"):
        parse(str(path))


def test_a_folder_is_no_selection(tmp_path: Path) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        parse(str(folder))
