from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import SERIES as SERIES_TABLE
from tcia_assets.catalog import SHARED_LISTS
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.metadata import licenses
from tcia_assets.metadata.licenses import Licenses, short_license, unmatched_licenses
from tcia_assets.metadata.selection import Selection, check_shared_lists
from tcia_assets.metadata.selection_parser import parse_selection, selection_from_fields, selection_to_fields
from tcia_assets.store import sql
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

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
    with pytest.raises(
        UsageError, match="needs one of collections, modalities, body_parts, where, manifests"
    ):
        Selection(max_series_per_run=5)
    with pytest.raises(UsageError, match="needs one of"):
        Selection(where=" ", licenses=Licenses(allow=("CC BY",)))


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
def test_an_empty_selection_is_nobodys(text: str) -> None:
    assert parse_selection(text) is None


@pytest.mark.parametrize(
    "name", ["4711", "0123", "no", "NO", "on", "1_000", "12:30", "null", "1e3"]
)
def test_names_that_yaml_would_take_for_something_else_stay_as_written(name: str) -> None:
    assert parse_selection(f"body_parts: [{name}]") == Selection(body_parts=(name,))
    assert parse_selection(f"collections: {name}") == Selection(collections=(name,))


@pytest.mark.parametrize("written", ["true", "'true'", "TRUE"])
def test_everything_is_selected_by_a_condition_that_is_true(written: str) -> None:
    selection = parse_selection(f"where: {written}")
    assert selection is not None
    assert selected(selection) == "12345"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{collections: [LCTSC", "neither YAML nor JSON"),
        ("LCTSC", "'LCTSC' is neither a file nor fields such as"),
        ("[LCTSC]", "neither a file nor fields"),
        ("missing.yaml", r"'missing.yaml' cannot be read"),
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
def test_a_selection_that_cannot_be_meant_says_which_field_and_why(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_selection(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "where",
    ["true) OR (true", "true)\n or (true", "true; SELECT 1", "true, false", "true /*", "'a", "1e9"],
)
def test_a_condition_cannot_reach_beyond_its_parentheses(where: str) -> None:
    with pytest.raises(UsageError, match="it must be one SQL condition"):
        Selection(where=where, licenses=Licenses(deny=("BY",)))


def test_an_unknown_field_is_named_with_the_near_ones() -> None:
    with pytest.raises(UnknownName, match=r"'collection'; did you mean 'collections'"):
        parse_selection("{collection: [LCTSC]}")


@pytest.mark.parametrize("value", [True, -1, 1.5, None])
def test_a_limit_of_a_config_is_a_whole_number(value: object) -> None:
    with pytest.raises(UsageError, match="max_series_per_run"):
        selection_from_fields({"where": "true", "max_series_per_run": value})


@pytest.mark.parametrize("value", [True, None, 1.5, [False], [None], 3.0])
def test_names_of_a_config_are_texts(value: object) -> None:
    with pytest.raises(UsageError, match="collections"):
        selection_from_fields({"collections": value})


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"{collections: [a"])
def test_a_file_that_is_no_selection_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "selection.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="image selection"):
        parse_selection(str(path))


def test_a_folder_is_no_selection(tmp_path: Path) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        parse_selection(str(folder))


# --- Allow-lists ----------------------------------------------------------------------------------

HEAD = """\
downloadServerUrl=https://nbia.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet
includeAnnotation=true
noOfrRetry=4
databasketId=manifest-1561766528292.tcia
manifestVersion=3.0
ListOfSeriesToDownload=
"""


@pytest.fixture
def stored(tmp_path: Path) -> Warehouse:
    """Series 1.1 to 1.5 of two Collections, 1.9 withdrawn, and two shared lists."""
    warehouse = Warehouse(tmp_path / "data")
    now = datetime.now(UTC)
    for collection, uids in {
        "LCTSC": ["1.1", "1.2", "1.9"],
        "4D-Lung": ["1.3", "1.4", "1.5"],
    }.items():
        rows = pa.table(
            {
                "SeriesInstanceUID": uids,
                "Modality": ["CT", "RTSTRUCT", "CT"],
                "first_seen_at": [now] * 3,
                "changed_at": [now] * 3,
                "missing_snapshots": [0] * 3,
                "withdrawn_at": [now if uid == "1.9" else None for uid in uids],
            }
        )
        warehouse.write(
            SERIES_TABLE, conform(SERIES_TABLE, rows, Collection=collection), collection
        )
    for name, uids in {"My List": ["1.1", "1.3"], "other": ["1.5", "1.7"]}.items():
        rows = pa.table({"SeriesInstanceUID": uids})
        warehouse.write(SHARED_LISTS, conform(SHARED_LISTS, rows, list_name=name), name)
    return warehouse


def chosen(selection: Selection, warehouse: Warehouse) -> list[str]:
    statement = (
        f"SELECT SeriesInstanceUID FROM current_series WHERE {selection.predicate} ORDER BY 1"
    )
    return warehouse.query(statement, tables=selection.tables)["SeriesInstanceUID"].to_pylist()


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.tcia", HEAD + "1.1\n1.3\n"),
        ("m.TCIA", HEAD + "1.1\n\n 1.3 \n1.1"),
        ("bom.tcia", b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode() + b"1.1\r\n1.3\r\n"),
        ("inline.tcia", HEAD.rstrip() + "1.1\n1.3"),
        ("s.csv", "SeriesInstanceUID\n1.1\n1.3\n"),
        ("quoted.csv", '"SeriesInstanceUID"\r\n"1.1"\r\n\r\n"1.3"\r\n'),
        ("bom.csv", b"\xef\xbb\xbfSeriesInstanceUID\r\n1.1\r\n1.3\r\n"),
        ("more.csv", 'Subject ID,Series UID,Note\np,1.1,"a, ""b""\nc"\nq,1.3,\n'),
        ("more.tsv", "PatientID\tSeries Instance UID\np\t1.1\nq\t1.3\n"),
    ],
)
def test_a_manifest_is_a_list_of_series(
    tmp_path: Path, stored: Warehouse, name: str, content: str | bytes
) -> None:
    selection = selection_from_fields({"manifests": [written(tmp_path, name, content)]})
    assert chosen(selection, stored) == ["1.1", "1.3"]


def test_lists_unite_and_criteria_intersect(tmp_path: Path, stored: Warehouse) -> None:
    manifests = [
        written(tmp_path, "a.tcia", HEAD + "1.1"),
        written(tmp_path, "b.csv", "SeriesUID\n1.2"),
    ]
    assert chosen(selection_from_fields({"manifests": manifests}), stored) == ["1.1", "1.2"]
    lists: dict[str, Any] = {"manifests": manifests, "series": "1.4", "shared_lists": [" MY LIST"]}
    assert chosen(selection_from_fields(lists), stored) == ["1.1", "1.2", "1.3", "1.4"]
    assert chosen(selection_from_fields({**lists, "collections": ["lctsc"]}), stored) == [
        "1.1",
        "1.2",
    ]
    assert chosen(selection_from_fields({**lists, "modalities": ["CT"]}), stored) == ["1.1", "1.3"]
    assert chosen(selection_from_fields({"shared_lists": ["other"]}), stored) == ["1.5"]
    assert chosen(selection_from_fields({"series": ["1.9", "1.5"]}), stored) == ["1.5"]


def test_series_on_a_list_that_are_not_known_are_told(tmp_path: Path, stored: Warehouse) -> None:
    manifest = written(tmp_path, "m.tcia", HEAD + "1.1\n1.9\n1.8\n1.8")
    given = {"manifests": [manifest], "shared_lists": ["other"], "modalities": ["CT"]}
    selection = selection_from_fields(given)
    unknown = stored.query(selection.unknown_series, tables=selection.tables).to_pylist()
    assert [row["SeriesInstanceUID"] for row in unknown] == ["1.7", "1.8", "1.9"]
    assert [row["withdrawn_at"] is None for row in unknown] == [True, True, False]
    everything = Selection(where="true")
    assert stored.query(everything.unknown_series, tables=everything.tables).num_rows == 0


def test_a_shared_list_that_is_not_there_is_told() -> None:
    check_shared_lists(Selection(shared_lists=("MY list ",)), ["My List"])
    with pytest.raises(UnknownName, match="'Mi List'; did you mean 'My List'"):
        check_shared_lists(Selection(shared_lists=("Mi List",)), ["My List", "other"])


def test_a_list_of_a_hundred_thousand_is_no_part_of_the_sql(
    tmp_path: Path, stored: Warehouse
) -> None:
    uids = "\n".join(f"1.{n}" for n in range(100_000))
    selection = selection_from_fields({"manifests": [written(tmp_path, "m.tcia", HEAD + uids)]})
    assert len(selection.predicate) < 1000
    assert selection.tables["selected_series"].num_rows == 100_000
    assert chosen(selection, stored) == ["1.1", "1.2", "1.3", "1.4", "1.5"]


def test_a_manifest_that_changes_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, "m.csv", "SeriesUID\n1.1\n")
    selection = selection_from_fields({"manifests": [path]})
    assert selection.tables["selected_series"]["SeriesInstanceUID"].to_pylist() == ["1.1"]
    written(tmp_path, "m.csv", "SeriesUID\n1.2\n")
    os.utime(path, ns=(1, 1))
    assert selection.tables["selected_series"]["SeriesInstanceUID"].to_pylist() == ["1.2"]


def test_a_manifest_lies_where_the_selection_says_it(
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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.tcia", HEAD + "1.1\n\n1..3\n", r"m.tcia', line 9: '1..3' is not a SeriesInstanceUID"),
        ("m.tcia", HEAD + "1." * 40 + "1\n", "line 7: .* is not a SeriesInstanceUID"),
        ("m.tcia", HEAD + "x" * 200, r"'x{80}'\.\.\. is not a SeriesInstanceUID"),
        ("m.tcia", HEAD, "m.tcia' has no Series"),
        ("m.tcia", "", "m.tcia' has no line ListOfSeriesToDownload="),
        ("m.tcia", "noOfrRetry=4\n1.1\n1.2\n", "m.tcia', line 2: '1.1' is before the line"),
        ("m.tcia", b"\xff\xfe1\x00", "m.tcia' is not in UTF-8"),
        ("m.csv", "SeriesInstanceUID\n1.1\n1.2;1.3\n", "m.csv', line 3: '1.2;1.3' is no"),
        ("m.csv", "a,SeriesUID\nb\n", "m.csv', line 2: '' is no"),
        ("m.csv", 'a,SeriesUID\n"b\nc",1.1\nd,e\n', "m.csv', line 4: 'e' is no"),
        ("m.csv", "SeriesInstanceUID\n", "m.csv' has no Series"),
        ("m.csv", "", "no column has the heading SeriesInstanceUID or Series UID"),
        ("m.csv", "1.1\n1.2\n", "no column has the heading"),
        ("m.csv", "Series UID,SeriesInstanceUID\n1,1\n", "more than one column has the heading"),
        ("m.csv", 'SeriesUID\n"1.1\n', "m.csv', line 2: unexpected end of data"),
        ("m.xlsx", "PK", r"m.xlsx' must be a file \*.tcia, \*.csv or \*.tsv"),
        ("m", "1.1", "must be a file"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_where(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        selection_from_fields({"manifests": [written(tmp_path, name, content)]})


@pytest.mark.parametrize("path", ["missing.tcia", "folder.csv", "nul\0.csv", "\ud800.csv"])
def test_a_manifest_that_is_no_file_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match=r"the series list '.*' cannot be read"):
        selection_from_fields({"manifests": [path]}, folder=tmp_path)


@pytest.mark.parametrize("uid", ["1.", "a", "1" * 65, "1.1'", "\u0661.1"])
def test_a_series_is_named_by_its_uid(uid: str) -> None:
    with pytest.raises(UsageError, match=r"series has .*; it must be a list of UIDs"):
        selection_from_fields({"series": ["1.1", uid]})


# --- Licences -------------------------------------------------------------------------------------

BY3 = "Creative Commons Attribution 3.0 Unported License"
BY4 = "Creative Commons Attribution 4.0 International License"
NC3 = "Creative Commons Attribution-NonCommercial 3.0 Unported License"
NC4 = "CC BY-NC 4.0"
NLM = "National Library of Medicine Terms and Conditions; May 21, 2019"
LICENSED = pa.table(
    {
        "SeriesInstanceUID": list("1234567"),
        "Collection": ["a"] * 6 + ["b"],
        "LicenseName": [BY3, BY4, NC3, NC4, NLM, None, " "],
        "LicenseURI": [None] * 6 + ["https://creativecommons.org/licenses/by-nc/4.0/"],
    }
)


def licensed(predicate: str) -> str:
    with sql.connect() as connection:
        connection.register("current_series", LICENSED)
        statement = f"SELECT SeriesInstanceUID FROM current_series WHERE {predicate} ORDER BY 1"
        return "".join(uid for (uid,) in connection.execute(statement).fetchall())


@pytest.mark.parametrize(
    ("licenses", "taken", "denied"),
    [
        (Licenses(deny=("NC",)), "1256", "347"),
        (Licenses(deny=("non-commercial",)), "1256", "347"),
        (Licenses(deny=("CC-BY-NC-3.0",)), "124567", "3"),
        (Licenses(deny=("cc by nc 4.0",)), "12356", "47"),
        (Licenses(deny=("CC BY-NC",)), "1256", "347"),
        (Licenses(deny=("BY-NC",)), "1256", "347"),
        (Licenses(deny=(NC3.upper(),)), "124567", "3"),
        (Licenses(deny=("CC BY",)), "34567", "12"),
        (Licenses(deny=(NLM, "ND")), "123467", "5"),
        (Licenses(deny=("x') OR ('1' = '1", "a.*|b")), "1234567", ""),
        (Licenses(allow=("CC BY",)), "12", "3457"),
        (Licenses(allow=("CC BY 3.0", "NC")), "1347", "25"),
        (Licenses(allow=("CC BY", "NC"), deny=("CC-BY-NC-4.0",)), "123", "457"),
    ],
    ids=repr,
)
def test_licences_that_are_refused_are_not_selected_but_told(
    licenses: Licenses, taken: str, denied: str
) -> None:
    selection = Selection(where="true -- all", licenses=licenses)
    assert licensed(selection.predicate) == taken
    assert licensed(selection.denied) == denied
    assert licensed(selection.unlicensed) == "6"
    of_one = Selection(collections=("b",), licenses=licenses)
    assert licensed(of_one.predicate) == ("7" if "7" in taken else "")
    assert licensed(of_one.denied) == ("7" if "7" in denied else "")
    assert licensed(of_one.unlicensed) == ""


def test_without_a_word_on_licences_none_is_refused() -> None:
    selection = Selection(where="true")
    assert licensed(selection.predicate) == "1234567"
    assert licensed(selection.denied) == ""
    assert licensed(selection.unlicensed) == "6"


def test_an_address_at_creative_commons_refuses_where_the_name_says_nothing() -> None:
    rows = {
        "LicenseName": ["Terms of this dataset"] * 2,
        "LicenseURI": ["x", "HTTP://creativeCommons.org/licenses/by-NC-sa/3.0"],
    }
    with sql.connect() as connection:
        connection.register("current_series", pa.table(rows))
        refused = Licenses(deny=("NC",)).refused
        answer = connection.execute(f"SELECT {refused} FROM current_series").fetchall()
    assert answer == [(False,), (True,)]


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
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


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


def test_names_of_licences_that_nobody_bears_are_told() -> None:
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
def test_licences_and_minutes_that_cannot_be_meant(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_selection(text)


# --- There and back -------------------------------------------------------------------------------

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
    )


@settings(deadline=None)
@given(selections())
def test_the_fields_of_a_selection_make_it_again(selection: Selection) -> None:
    as_json = json.dumps(selection_to_fields(selection))
    assert selection_from_fields(json.loads(as_json)) == selection


def test_the_fields_of_a_selection_are_what_was_chosen(tmp_path: Path) -> None:
    fields = {
        "collections": ["LCTSC"],
        "manifests": [written(tmp_path, "m.csv", "SeriesUID\n1.1\n")],
        "licenses": {"deny": ["NC"]},
        "max_minutes_per_run": 1,
    }
    assert selection_to_fields(selection_from_fields(fields)) == fields
    assert parse_selection(json.dumps(fields)) == selection_from_fields(fields)
