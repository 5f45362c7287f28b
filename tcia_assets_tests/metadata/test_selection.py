"""A selection means exactly the Series that meet its criteria."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.metadata.licenses import Licenses
from tcia_assets.metadata.selection import Selection, check_fetchable, check_shared_lists
from tcia_assets.metadata.selection_parser import parse_selection, selection_from_fields
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.metadata.licence_names import BY3, BY4, NC3, NC4, NLM
from tcia_assets_tests.metadata.series_list_files import HEAD, chosen, written

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
    with sql.scratch() as connection:
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
def test_a_selection_means_the_series_that_meet_all_its_criteria(
    selection: Selection, uids: str
) -> None:
    assert selected(selection) == uids


def test_a_selection_without_criteria_is_refused() -> None:
    with pytest.raises(
        UsageError, match="needs one of collections, modalities, body_parts, where, manifests"
    ):
        Selection(max_series_per_run=5)
    with pytest.raises(UsageError, match="needs one of"):
        Selection(where=" ", licenses=Licenses(allow=("CC BY",)))


@pytest.mark.parametrize("written", ["true", "'true'", "TRUE"])
def test_everything_is_selected_by_a_condition_that_is_true(written: str) -> None:
    selection = parse_selection(f"where: {written}")
    assert selection is not None
    assert selected(selection) == "12345"


@pytest.mark.parametrize(
    "where",
    ["true) OR (true", "true)\n or (true", "true; SELECT 1", "true, false", "true /*", "'a", "1e9"],
)
def test_a_condition_cannot_reach_beyond_its_parentheses(where: str) -> None:
    with pytest.raises(UsageError, match="it must be one SQL condition"):
        Selection(where=where, licenses=Licenses(deny=("BY",)))


def test_lists_unite_and_criteria_intersect(
    tmp_path: Path, warehouse_with_lists: Warehouse
) -> None:
    manifests = [
        written(tmp_path, "a.tcia", HEAD + "1.1"),
        written(tmp_path, "b.csv", "SeriesUID\n1.2"),
    ]
    assert chosen(selection_from_fields({"manifests": manifests}), warehouse_with_lists) == [
        "1.1",
        "1.2",
    ]
    lists: dict[str, Any] = {"manifests": manifests, "series": "1.4", "shared_lists": [" MY LIST"]}
    assert chosen(selection_from_fields(lists), warehouse_with_lists) == [
        "1.1",
        "1.2",
        "1.3",
        "1.4",
    ]
    assert chosen(
        selection_from_fields({**lists, "collections": ["lctsc"]}), warehouse_with_lists
    ) == [
        "1.1",
        "1.2",
    ]
    assert chosen(selection_from_fields({**lists, "modalities": ["CT"]}), warehouse_with_lists) == [
        "1.1",
        "1.3",
    ]
    assert chosen(selection_from_fields({"shared_lists": ["other"]}), warehouse_with_lists) == [
        "1.5"
    ]
    assert chosen(selection_from_fields({"series": ["1.9", "1.5"]}), warehouse_with_lists) == [
        "1.5"
    ]


def test_listed_series_that_are_not_known_are_returned(
    tmp_path: Path, warehouse_with_lists: Warehouse
) -> None:
    manifest = written(tmp_path, "m.tcia", HEAD + "1.1\n1.9\n1.8\n1.8")
    given = {"manifests": [manifest], "shared_lists": ["other"], "modalities": ["CT"]}
    selection = selection_from_fields(given)
    query = warehouse_with_lists.query
    unknown = query(selection.unknown_series, tables=selection.tables).to_pylist()
    assert [row["SeriesInstanceUID"] for row in unknown] == ["1.7", "1.8", "1.9"]
    assert [row["withdrawn_at"] is None for row in unknown] == [True, True, False]
    everything = Selection(where="true")
    assert query(everything.unknown_series, tables=everything.tables).num_rows == 0


def test_an_unknown_shared_list_is_refused() -> None:
    check_shared_lists(Selection(shared_lists=("MY list ",)), ["My List"])
    with pytest.raises(UnknownName, match="'Mi List'; did you mean 'My List'"):
        check_shared_lists(Selection(shared_lists=("Mi List",)), ["My List", "other"])


def test_a_list_of_a_hundred_thousand_series_is_not_in_the_sql(
    tmp_path: Path, warehouse_with_lists: Warehouse
) -> None:
    uids = "\n".join(f"1.{n}" for n in range(100_000))
    selection = selection_from_fields({"manifests": [written(tmp_path, "m.tcia", HEAD + uids)]})
    assert len(selection.predicate) < 1000
    assert selection.tables["selected_series"].num_rows == 100_000
    assert chosen(selection, warehouse_with_lists) == ["1.1", "1.2", "1.3", "1.4", "1.5"]


LICENSED = pa.table(
    {
        "SeriesInstanceUID": list("1234567"),
        "Collection": ["a"] * 6 + ["b"],
        "LicenseName": [BY3, BY4, NC3, NC4, NLM, None, " "],
        "LicenseURI": [None] * 6 + ["https://creativecommons.org/licenses/by-nc/4.0/"],
    }
)


def licensed(predicate: str) -> str:
    with sql.scratch() as connection:
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
def test_series_with_a_refused_licence_are_denied_and_not_selected(
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


def test_without_licences_in_the_selection_none_is_refused() -> None:
    selection = Selection(where="true")
    assert licensed(selection.predicate) == "1234567"
    assert licensed(selection.denied) == ""
    assert licensed(selection.unlicensed) == "6"


def test_a_creative_commons_address_is_matched_if_the_name_is_not_clear() -> None:
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
    "where",
    [
        "KVP > 100",
        "ImageCount < 300 AND patient_age_years > 18",
        "SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM series_acquisition WHERE KVP = 120)",
        "EXISTS (FROM warehouse.Series_Acquisition)",
    ],
)
def test_what_is_known_only_of_fetched_images_cannot_select_what_to_fetch(where: str) -> None:
    with pytest.raises(UsageError, match="known only of images that are fetched already"):
        check_fetchable(Selection(where=where))


@pytest.mark.parametrize(
    "where",
    [
        "",
        "ImageCount < 300",
        "SeriesDescription = 'KVP'",
        "PatientAge = '063Y' OR SoftwareVersions = 'KVP'",
        "SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM images WHERE KVP = 120)",
        # The query itself says what is wrong with these.
        "contain(SeriesDescription, 'x')",
        "ImageCount > $1",
    ],
)
def test_other_conditions_can_select_what_to_fetch(where: str) -> None:
    check_fetchable(Selection(collections=("LCTSC",), where=where))


@pytest.mark.parametrize(
    "where",
    [
        "SeriesInstanceUID IN (SELECT content FROM read_text('/etc/passwd'))",
        "EXISTS (FROM '/x.csv')",
        "EXISTS (FROM enable_logging())",
    ],
)
def test_a_condition_reaches_no_file(where: str) -> None:
    with pytest.raises(UsageError, match=r"it (calls|reads) "):
        Selection(where=where)
