"""An index release becomes typed rows under our names, by Collection and by Series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.catalog import (
    BODY_PART_VALUES,
    COLLECTION_DESCRIPTIONS,
    COLLECTIONS,
    LICENSES,
    MODALITY_VALUES,
    PATIENTS,
    SERIES,
    SERIES_SIZES,
    SHARED_LISTS,
    STUDIES,
)
from tcia_assets.errors import BadValue, UsageError
from tcia_assets.sources.idc.index import Index
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform
from tcia_assets_tests.sources.idc.index_files import (
    ANALYSIS_DOI,
    DOI,
    OTHER_DOI,
    RELEASE,
    collection,
    published,
    series,
    write_index,
)

NAME = "RIDER Lung CT"
Open = Callable[..., Index]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Writes a release and opens it."""
    with ExitStack() as stack:

        def open_index(*given: Any, is_whole: bool = False, **more: Any) -> Index:
            number = len(list(tmp_path.iterdir()))
            scratch = tmp_path / f"{number}-scratch"
            scratch.mkdir()
            folder = write_index(tmp_path / f"{number}-index", *given, **more)
            index = Index(folder, scratch, is_whole=is_whole)
            stack.callback(index.close)
            return index

        yield open_index


def rows(index: Index, table: Table, key: str = NAME) -> list[dict[str, Any]]:
    found = index.rows(table, key if table.partitioned_by else "").table
    constants = {table.partitioned_by: key} if table.partitioned_by else {}
    return (
        conform(table, found, **constants).to_pylist()
        if table is not SERIES
        else (found.sort_by("SeriesInstanceUID").to_pylist())
    )


def test_a_series_is_typed_and_named_as_at_the_first_source(opened: Open) -> None:
    [row] = rows(opened([series(7)]), SERIES)
    assert row == row | {
        "Collection": NAME,
        "SeriesInstanceUID": "1.2.7",
        "SeriesDate": date(2006, 10, 31),
        "SeriesNumber": 7,
        "ImageCount": 10,
        "FileSize": 5_250_000,
        "LicenseName": "Creative Commons Attribution 3.0 Unported License",
        "LicenseURI": "http://creativecommons.org/licenses/by/3.0/",
        "DataDescriptionURI": f"https://doi.org/{DOI}",
        "ThirdPartyAnalysis": "NO",
        "crdc_series_uuid": "uuid-7",
        "aws_bucket": "idc-open-data",
        "analysis_result_id": None,
    }


def test_a_value_that_cannot_be_read_costs_only_itself(opened: Open) -> None:
    odd = [series(0, SeriesDate="soon", SeriesNumber="7a", series_size_MB=-1.0), series(1)]
    found = opened(odd).rows(SERIES, NAME)
    by_uid = {row["SeriesInstanceUID"]: row for row in found.table.to_pylist()}
    first, second = by_uid["1.2.0"], by_uid["1.2.1"]

    assert (first["SeriesDate"], first["SeriesNumber"], first["FileSize"]) == (None, None, None)
    assert (second["SeriesDate"], second["SeriesNumber"]) == (date(2006, 10, 31), 1)
    texts = {name: each.texts.to_pylist() for name, each in found.unreadable.items()}
    assert texts == {"SeriesDate": ["soon"], "SeriesNumber": ["7a"], "FileSize": ["-1000000.0"]}
    assert found.unreadable["SeriesDate"].rows["SeriesInstanceUID"].to_pylist() == ["1.2.0"]
    assert found.unreadable["SeriesDate"].values == 2


def test_what_is_made_of_series_names_what_cannot_be_read_too(opened: Open) -> None:
    index = opened([series(0, StudyDate="soon", instanceCount=-1)])
    studies, sizes = (
        index.rows(STUDIES, NAME),
        index.rows_of(SERIES_SIZES, "SeriesInstanceUID", ["1.2.0"]),
    )
    assert studies.unreadable["StudyDate"].texts.to_pylist() == ["soon"]
    assert sizes.unreadable["ObjectCount"].texts.to_pylist() == ["-1"]


def test_a_missing_value_is_not_an_unreadable_one(opened: Open) -> None:
    found = opened([series(0, SeriesDate=None, SeriesNumber="", instanceCount=None)]).rows(
        SERIES, NAME
    )
    assert not found.unreadable
    assert found.table["SeriesNumber"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("SeriesInstanceUID", "not a uid"),
        ("SeriesInstanceUID", None),
        ("SeriesInstanceUID", "1." + "2" * 64),
        ("StudyInstanceUID", "1..2"),
        ("PatientID", ""),
    ],
)
def test_a_row_without_a_key_costs_its_collection_only(
    opened: Open, column: str, value: str | None
) -> None:
    index = opened(
        [series(0, **{column: value}), series(1, collection_id="other")],
        collections=[collection(NAME), collection("Other")],
    )
    with pytest.raises(BadValue, match=f"{column}.*{RELEASE}"):
        index.rows(SERIES, NAME)
    assert index.rows(SERIES, "Other").table.num_rows == 1


def test_collections_have_the_spelling_of_tcia(opened: Open) -> None:
    index = opened(
        [series(0), series(1, collection_id="unknown_one")], collections=[collection(NAME)]
    )
    assert [row["Collection"] for row in rows(index, COLLECTIONS)] == [NAME, "unknown_one"]
    assert index.rows(SERIES, "unknown_one").table.num_rows == 1
    assert index.rows(SERIES, "rider_lung_ct").table.num_rows == 0


def test_lists_are_made_from_the_series(opened: Open) -> None:
    index = opened([series(0), series(1, Modality="SR", BodyPartExamined=None), series(3)])
    assert [row["Modality"] for row in rows(index, MODALITY_VALUES)] == ["CT", "SR"]
    assert [row["BodyPartExamined"] for row in rows(index, BODY_PART_VALUES)] == [None, "CHEST"]
    assert [(p["PatientID"], p["PatientSex"]) for p in rows(index, PATIENTS)] == [
        ("P0", "F"),
        ("P1", "F"),
    ]
    first, second = rows(index, STUDIES)
    assert (first["StudyInstanceUID"], first["SeriesCount"]) == ("1.1.0", 2)
    assert (second["StudyDate"], second["SeriesCount"]) == (date(2006, 10, 31), 1)


def test_what_others_derived_is_in_the_scope_of_all_only(opened: Open) -> None:
    derived = series(1, source_DOI=ANALYSIS_DOI, analysis_result_id="model_x", Modality="SEG")
    given = [series(0), derived, series(2, source_DOI=OTHER_DOI, analysis_result_id="by_tcia")]
    sources = [published(doi) for doi in (DOI, OTHER_DOI, ANALYSIS_DOI)]
    described = [collection(NAME, *sources)]

    index = opened(given, collections=described)
    assert [r["SeriesInstanceUID"] for r in rows(index, SERIES)] == ["1.2.0", "1.2.2"]
    assert [r["ThirdPartyAnalysis"] for r in rows(index, SERIES)] == ["NO", "YES"]
    dois = [r["doi"] for r in rows(index, COLLECTION_DESCRIPTIONS)]
    assert dois == [DOI.lower(), OTHER_DOI]

    index = opened(given, collections=described, is_whole=True)
    assert rows(index, SERIES)[1]["analysis_result_id"] == "model_x"
    assert rows(index, SERIES)[1]["DataDescriptionURI"] == f"https://doi.org/{ANALYSIS_DOI}"
    assert len(rows(index, COLLECTION_DESCRIPTIONS)) == 3


NLM = "National Library of Medicine Terms and Conditions; May 21, 2019"


@pytest.mark.parametrize(
    ("name", "as_of_tcia"),
    [
        *LICENSES.items(),
        (
            "CC BY-NC-SA 4.0",
            ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
        ),
        (NLM, (NLM, None)),
        (None, (None, None)),
    ],
)
def test_the_short_name_decides_the_licence_which_is_written_as_by_tcia(
    opened: Open, name: str | None, as_of_tcia: tuple[str | None, str | None]
) -> None:
    [row] = rows(opened([series(0, license_short_name=name)]), SERIES)
    assert (row["LicenseName"], row["LicenseURI"]) == as_of_tcia


def test_a_description_is_plain_text(opened: Open) -> None:
    [row] = rows(opened([series(0)]), COLLECTION_DESCRIPTIONS)
    assert row == row | {
        "doi": DOI.lower(),
        "title": f"Data of {DOI}",
        "description": "Scans of lungs & more",
        "LicenseName": "Creative Commons Attribution 3.0 Unported License",
        "citation": "Doe, J., & Roe, R. Data. https://doi.org/10.7937/A",
        "cancer_types": "Lung Cancer",
        "tumor_locations": "Lung",
        "species": "Human",
        "program": "rider",
        "status": "Complete",
        "updated_on": date(2021, 4, 10),
    }


def test_an_analysis_has_its_own_text_and_day(opened: Open) -> None:
    analysis = {"analysis_result_id": "x", "source_DOI": OTHER_DOI.upper(), "description": "A <b>"}
    index = opened(
        [series(0)],
        collections=[collection(NAME, published(DOI), published(OTHER_DOI))],
        analyses=[analysis | {"updated": "2025-01-02"}],
    )
    first, second = rows(index, COLLECTION_DESCRIPTIONS)
    assert (first["description"], second["description"]) == ("Scans of lungs & more", "A")
    assert second["updated_on"] == date(2025, 1, 2)


def test_a_description_without_a_readable_day_keeps_its_text(opened: Open) -> None:
    index = opened([series(0)], collections=[collection(NAME, updated="lately")])
    found = index.rows(COLLECTION_DESCRIPTIONS, NAME)
    assert found.table["updated_on"].to_pylist() == [None]
    assert found.unreadable["updated_on"].texts.to_pylist() == ["lately"]


def test_there_are_no_shared_lists(opened: Open) -> None:
    with pytest.raises(UsageError, match="no shared lists: set TCIA_SOURCE to nbia"):
        opened().rows(SHARED_LISTS, "any")


@pytest.mark.parametrize("many", [1, 1000])
def test_series_are_found_whatever_is_loaded(
    opened: Open, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr("tcia_assets.sources.idc.index._MANY", many)
    names = [f"C-{n}" for n in range(9)]
    given = [series(n, collection_id=f"c_{n // 3}") for n in range(27)]
    index = opened(given, collections=[collection(name) for name in names])

    def found(*uids: str) -> list[str]:
        return sorted(
            index.rows_of(SERIES, "SeriesInstanceUID", uids).table["Collection"].to_pylist()
        )

    for name in names:
        assert found("1.2.0", "1.2.26", "9.9") == ["C-0", "C-8"]
        assert len(rows(index, SERIES, name)) == 3
        assert found("1.2.0") == ["C-0"]
        assert found("1.2.26", "1.2.25") == ["C-8", "C-8"]
        assert index.find("1.2.26", "Collection, aws_bucket AS b") == {
            "Collection": "C-8",
            "b": "idc-open-data",
        }
        assert index.find("9.9", "Collection") is None
    assert index.query("SELECT count(*) AS n FROM all_series")["n"].to_pylist() == [27]
    assert index.rows(SERIES, "C-10").table.num_rows == 0


def test_a_large_collection_is_sorted_by_its_key_and_has_the_same_rows(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = ["1.2.9", "1.2.10", "1.2.1", "1.2.200", "1.2.3"]
    given = [series(n, SeriesInstanceUID=uid, StudyDate="x") for n, uid in enumerate(uids)]
    index = opened(given)
    small = index.rows(SERIES, NAME)
    monkeypatch.setattr("tcia_assets.sources.idc.index._LARGE", 4)
    large = index.rows(SERIES, NAME)
    assert large.table["SeriesInstanceUID"].to_pylist() == sorted(uids)
    assert large.table.equals(small.table.sort_by("SeriesInstanceUID"))
    assert large.promised == small.promised
    # Each text stays beside its row.
    found = large.unreadable["StudyDate"]
    assert found.rows.equals(large.table) and found.texts.to_pylist() == ["x"] * len(uids)


def test_a_series_that_is_gone_names_the_version(opened: Open) -> None:
    prior = [
        {"SeriesInstanceUID": "1.2.9", "min_idc_version": 1, "max_idc_version": version}
        for version in (3, 12)
    ]
    assert opened(prior=prior).gone_in(["1.2.9", "1.2.0"]) == {"1.2.9": "13"}


@pytest.mark.parametrize(
    ("column", "file"),
    [
        ("crdc_series_uuid", "idc_index.parquet"),
        ("max_idc_version", "prior_versions_index.parquet"),
        ("sources", "collections_index.parquet"),
    ],
)
def test_a_file_without_a_column_is_refused(opened: Open, column: str, file: str) -> None:
    with pytest.raises(UsageError, match=f"release {RELEASE} .*{file} has no column.*{column}"):
        opened(without=(column,))


def test_a_list_of_other_things_is_named(tmp_path: Path) -> None:
    folder = write_index(tmp_path / "index")
    path = folder / "collections_index.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("sources")
    texts = pa.array([["10.7937/a"]] * table.num_rows)
    pq.write_table(table.set_column(at, "sources", texts), path)
    with pytest.raises(UsageError, match=f"release {RELEASE} .*cannot be made from"):
        Index(folder, tmp_path, is_whole=False)


def test_a_missing_file_names_the_ways_to_have_an_index(tmp_path: Path) -> None:
    folder = write_index(tmp_path / "index")
    (folder / "prior_versions_index.parquet").unlink()
    with pytest.raises(UsageError) as caught:
        Index(folder, tmp_path, is_whole=False)
    text = str(caught.value)
    assert f"release {RELEASE}" in text and "no file prior_versions_index.parquet" in text
    for way in ("pip install 'idc-index-data>=", "folder", "URL"):
        assert way in text
