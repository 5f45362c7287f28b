"""A selection is read from YAML, JSON, a file or fields; what is wrong is named."""

from __future__ import annotations

import json
from datetime import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.metadata.licenses import Licenses, short_license
from tcia_assets.metadata.quiet_hours import QuietHours
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.selection_parser import (
    override_selection,
    parse_selection,
    selection_from_fields,
    selection_to_fields,
)
from tcia_assets_tests.metadata.licence_names import TEXTS
from tcia_assets_tests.metadata.series_list_files import written

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
    assert parse_selection(text) == MEANT


@pytest.mark.parametrize(
    ("name", "text"), [("s.yaml", YAML), ("s.yml", YAML), ("s.json", json.dumps(WRITTEN))]
)
def test_a_selection_may_be_in_a_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert parse_selection(f" {path}\n".rstrip()) == MEANT


def test_a_selection_may_be_the_fields_of_a_config() -> None:
    assert selection_from_fields(WRITTEN) == MEANT
    assert selection_from_fields({"where": True}) == Selection(where="true")
    assert selection_from_fields({"collections": [4711]}) == Selection(collections=("4711",))
    assert selection_from_fields({"collections": ("LCTSC",)}) == Selection(collections=("LCTSC",))


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_no_selection(text: str) -> None:
    assert parse_selection(text) is None


@pytest.mark.parametrize(
    "name", ["4711", "0123", "no", "NO", "on", "1_000", "12:30", "null", "1e3"]
)
def test_names_that_yaml_would_take_for_something_else_stay_as_written(name: str) -> None:
    assert parse_selection(f"body_parts: [{name}]") == Selection(body_parts=(name,))
    assert parse_selection(f"collections: {name}") == Selection(collections=(name,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{collections: [LCTSC", "neither YAML nor JSON"),
        ("{collections: &a [LCTSC], modalities: *a}", r"the alias \*a is not allowed"),
        ("{collections: " + "[" * 100_000, "nested more than 10 levels deep"),
        ("a: &a [x, x]\n" + "b: &b [*a, *a]\n" * 30, "the alias .* is not allowed"),
        (
            "collections: [LCTSC]\nmodalities: [CT]\ncollections: [4D-Lung]",
            "image selection, line 3: 'collections' appears twice, first in line 1",
        ),
        ('{"licenses": {"deny": ["a"],\n"deny": ["b"]}}', "line 2: 'deny' appears twice"),
        ("{[a]: b}", "neither YAML nor JSON"),
        ("/dev/zero.yaml", "cannot be read"),
        ("LCTSC", "'LCTSC' is neither a file nor fields such as"),
        ("[LCTSC]", "neither a file nor fields"),
        ("missing.yaml", r"'missing.yaml' cannot be read: No such file or directory$"),
        ("{where: 3}", "where is '3'; it must be one SQL condition"),
        ("{where: 'true', max_minutes_per_run: 0}", "max_minutes_per_run is 0; .* 1 or more"),
        ("{where: 'true', max_series_per_run: 0}", "max_series_per_run is 0; .* 1 or more"),
        ("{where: 'true', max_bytes_per_run: 0}", "max_bytes_per_run is 0; .* 1 or more"),
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
def test_the_error_for_a_bad_selection_names_the_field_and_the_reason(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_selection(text)
    assert str(caught.value).isprintable()


def test_the_error_for_an_unknown_field_suggests_near_ones() -> None:
    with pytest.raises(UnknownName, match=r"'collection'; did you mean 'collections'"):
        parse_selection("{collection: [LCTSC]}")


@pytest.mark.parametrize("value", [True, -1, 1.5, None])
def test_a_limit_must_be_a_whole_number(value: object) -> None:
    with pytest.raises(UsageError, match="max_series_per_run"):
        selection_from_fields({"where": "true", "max_series_per_run": value})


@pytest.mark.parametrize("value", [True, None, 1.5, [False], [None], 3.0])
def test_names_must_be_texts(value: object) -> None:
    with pytest.raises(UsageError, match="collections"):
        selection_from_fields({"collections": value})


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"{collections: [a"])
def test_the_error_for_a_file_that_is_not_a_selection_names_it(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "selection.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="image selection"):
        parse_selection(str(path))


def test_a_folder_is_not_a_selection(tmp_path: Path) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        parse_selection(str(folder))


def test_paths_of_series_lists_are_relative_to_the_file_of_the_selection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    written(folder, "m.csv", "SeriesUID\n1.1\n")
    (folder / "selection.yaml").write_text("manifests: m.csv")
    monkeypatch.chdir(tmp_path)
    beside = parse_selection("lists/selection.yaml")
    assert beside == parse_selection("manifests: lists/m.csv")
    monkeypatch.chdir(folder)
    assert beside is not None and beside.manifests == (str(folder / "m.csv"),)
    assert selection_from_fields(selection_to_fields(beside)) == beside


@pytest.mark.parametrize("uid", ["1.", "a", "1" * 65, "1.1'", "\u0661.1"])
def test_a_series_is_named_by_its_uid(uid: str) -> None:
    with pytest.raises(UsageError, match=r"series has .*; it must be a list of UIDs"):
        selection_from_fields({"series": ["1.1", uid]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{where: 'true', licenses: {}}", "licenses needs names under deny or allow"),
        ("{where: 'true', licenses: {deny: []}}", "licenses.deny is empty"),
        ("{collections: [], modalities: [CT]}", "collections is empty; name some"),
        ("{where: 'true', licenses: NC}", r"licenses is 'NC'; it must be like \{deny:"),
        ("{where: 'true', licenses: {denied: [NC]}}", "'denied'; did you mean 'deny'"),
        ("{where: 'true', licenses: {deny: ['--']}}", "'--' in licenses is not a licence's name"),
        ("{where: 'true', licenses: {deny: {a: b}}}", r"licenses.deny is \{'a': 'b'\}"),
        ("{where: 'true', max_minutes_per_run: 1.5}", "max_minutes_per_run is '1.5'"),
    ],
)
def test_the_error_for_bad_licences_or_minutes_names_the_field(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_selection(text)


NAMES = st.lists(TEXTS.filter(str.strip), max_size=3).map(tuple)
LIMITS = st.integers(1, 10**15)


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    licences = st.lists(TEXTS.filter(short_license).filter(str.strip), max_size=2).map(tuple)
    deny, allow = draw(licences), draw(licences)
    return Selection(
        collections=draw(NAMES),
        modalities=draw(NAMES),
        body_parts=draw(NAMES),
        where=draw(st.sampled_from(["true", "a = ')' -- x", "(a) OR (b)"])),
        series=draw(st.lists(st.from_regex(r"[1-9](\.[1-9]){0,9}", fullmatch=True)).map(tuple)),
        shared_lists=draw(NAMES),
        licenses=Licenses(deny, allow) if deny or allow else None,
        max_series_bytes=draw(st.none() | LIMITS),
        max_bytes_per_run=draw(LIMITS),
        max_series_per_run=draw(LIMITS),
        max_minutes_per_run=draw(st.none() | LIMITS),
        quiet_hours=draw(st.none() | st.just(QuietHours(time(8), time(18), "Europe/Berlin"))),
    )


@settings(deadline=None)
@given(selections())
def test_the_fields_of_a_selection_make_it_again(selection: Selection) -> None:
    as_json = json.dumps(selection_to_fields(selection))
    assert selection_from_fields(json.loads(as_json)) == selection


def test_the_fields_of_a_selection_are_those_that_were_given(tmp_path: Path) -> None:
    fields = {
        "collections": ["LCTSC"],
        "manifests": [written(tmp_path, "m.csv", "SeriesUID\n1.1\n")],
        "licenses": {"deny": ["NC"]},
        "max_minutes_per_run": 1,
        "quiet_hours": {"from": "08:00", "to": "18:00", "timezone": "Europe/Berlin"},
    }
    assert selection_to_fields(selection_from_fields(fields)) == fields
    assert parse_selection(json.dumps(fields)) == selection_from_fields(fields)


def test_criteria_replace_the_fields_of_a_selection_and_leave_the_others() -> None:
    base = Selection(collections=("LCTSC",), modalities=("CT",))
    changed = override_selection(base, {"modalities": ["RTSTRUCT"], "max_series_per_run": 3})

    assert changed.collections == ("LCTSC",)
    assert changed.modalities == ("RTSTRUCT",)
    assert changed.max_series_per_run == 3


def test_both_conditions_in_sql_must_hold() -> None:
    base = Selection(where="ImageCount > 1 OR ImageCount < 0")
    changed = override_selection(base, {"where": "Modality = 'CT'"})

    assert changed.where == "(ImageCount > 1 OR ImageCount < 0\n) AND (Modality = 'CT'\n)"


@pytest.mark.parametrize("empty", [None, "", [], ()])
def test_an_empty_criterion_is_no_criterion(empty: object) -> None:
    base = Selection(modalities=("CT",))
    assert override_selection(base, {"modalities": empty}) == base
    with pytest.raises(UsageError, match="name Collections"):
        override_selection(None, {"modalities": empty})


def test_a_selection_file_is_a_regular_file_of_limited_size(tmp_path: Path) -> None:
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=r"endless.yaml' cannot be read: it is not a regular"):
        parse_selection(str(tmp_path / "endless.yaml"))
    with (tmp_path / "long.yaml").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UsageError, match=r"long.yaml' is longer than \d+ bytes"):
        parse_selection(str(tmp_path / "long.yaml"))
