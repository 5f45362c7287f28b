"""A cohort is queried from the warehouse; a query that fails names its line."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES
from tcia_assets.datasets.cohort import Cohort
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import load_declaration, parse_declaration
from tcia_assets.datasets.split import assign_splits, find_leaks
from tcia_assets.errors import BadDeclaration
from tcia_assets.store.clinical import write_clinical
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.datasets.example_cohorts import EXAMPLE, declared, images
from tcia_assets_tests.datasets.warehouse_edits import (
    set_column,
)


def test_the_example_has_each_ct_with_its_contours(fetched_warehouse: Warehouse) -> None:
    frozen = query_cohort(load_declaration(EXAMPLE), fetched_warehouse)
    rows = frozen.series.to_pylist()
    assert [row["role"] for row in rows] == ["image"] * 5 + ["target"] * 5
    assert {row["Modality"] for row in rows} == {"CT", "RTSTRUCT"}
    assert [row["SeriesInstanceUID"] for row in rows[:5]] == sorted(images(frozen))
    sha256 = dict(
        zip(
            *(
                fetched_warehouse.read(IMAGE_ARCHIVES, [SMALL])[name].to_pylist()
                for name in ("SeriesInstanceUID", "sha256")
            ),
            strict=True,
        )
    )
    for row in rows:
        assert row["state"] == "fetched"
        assert row["archive_sha256"] == sha256[row["SeriesInstanceUID"]]
        assert row["fingerprint"] and row["LicenseName"] and row["DataDescriptionURI"]
    pairs = frozen.pairs.to_pylist()
    assert {pair["image_series_instance_uid"] for pair in pairs} == set(images(frozen))
    assert {(pair["how"], pair["rank"]) for pair in pairs} == {("series", 1)}
    assert frozen.snapshot.series == 10


def test_a_cohort_is_split_without_leaks(fetched_warehouse: Warehouse) -> None:
    declaration = load_declaration(EXAMPLE)
    parts = assign_splits(
        query_cohort(declaration, fetched_warehouse).of_role("image"), declaration.split
    )
    assert find_leaks(parts, declaration.split.leak_columns) == []
    assert set(parts["part"].to_pylist()) <= set(declaration.split.splits)


def test_a_series_that_moved_is_in_the_cohort_once(
    fetched_warehouse: Warehouse, example_cohort: Cohort
) -> None:
    left = fetched_warehouse.read(SERIES, [SMALL]).to_pylist()
    left = [row | {"Collection": "Left", "moved_to": SMALL} for row in left]
    fetched_warehouse.write(SERIES, pa.Table.from_pylist(left, schema=SERIES.schema), "Left")
    fetched_warehouse.ensure_views()
    assert query_cohort(declared(), fetched_warehouse).series.equals(example_cohort.series)


def test_the_same_warehouse_gives_the_same_bytes(
    fetched_warehouse: Warehouse, example_cohort: Cohort
) -> None:
    assert query_cohort(declared(), fetched_warehouse).text == example_cohort.text


def test_a_cohort_may_be_chosen_by_a_clinical_table(fetched_warehouse: Warehouse) -> None:
    patient = "LCTSC-Test-S1-201"
    stages = pa.table({"Collection": [SMALL], "PatientID": [patient], "stage": ["2"]})
    write_clinical(fetched_warehouse.root, "lctsc_clinical", stages)
    sql = (
        "sql: SELECT s.SeriesInstanceUID FROM current_series AS s JOIN clinical_lctsc_clinical "
        "AS c USING (Collection, PatientID) WHERE s.Modality = 'CT' AND c.stage = '2'"
    )
    text = EXAMPLE.read_text().replace("collections: [LCTSC]\n  modalities: [CT]", sql)
    found = query_cohort(parse_declaration(text, "lung_ct"), fetched_warehouse)
    assert set(found.series["PatientID"].to_pylist()) == {patient}


def test_sql_and_criteria_give_the_same_cohort(
    fetched_warehouse: Warehouse, example_cohort: Cohort
) -> None:
    asked = (
        "sql: SELECT * FROM current_series WHERE Collection = 'LCTSC' AND Modality = 'CT' -- all"
    )
    text = EXAMPLE.read_text().replace("collections: [LCTSC]\n  modalities: [CT]", asked)
    by_sql = query_cohort(parse_declaration(text, "lung_ct"), fetched_warehouse)
    assert by_sql.sha256 == example_cohort.sha256


def test_a_listed_series_without_images_has_a_row_with_its_state(
    fetched_warehouse: Warehouse, example_cohort: Cohort
) -> None:
    first, second, *_ = images(example_cohort)
    rows = fetched_warehouse.read(IMAGE_ARCHIVES, [SMALL])
    left = [uid != first for uid in rows["SeriesInstanceUID"].to_pylist()]
    fetched_warehouse.write(IMAGE_ARCHIVES, rows.filter(pa.array(left)), SMALL)
    set_column(fetched_warehouse, "withdrawn_at", datetime.now(UTC), second)
    text = EXAMPLE.read_text().replace(
        "collections: [LCTSC]\n  modalities: [CT]", f"series: [{first}, {second}, 1.2.3]"
    )
    frozen = query_cohort(parse_declaration(text, "lung_ct"), fetched_warehouse)
    states = {r["SeriesInstanceUID"]: r["state"] for r in frozen.of_role("image").to_pylist()}
    assert states == {first: "not_fetched", second: "withdrawn", "1.2.3": "unknown"}
    assert set(frozen.not_fetched) == {first, "1.2.3"}


def test_the_declaration_selects_masks(
    fetched_warehouse: Warehouse, example_cohort: Cohort
) -> None:
    none = declared(kind="  kind: RTSTRUCT\n  where: PatientID = 'nobody'\n")
    assert query_cohort(none, fetched_warehouse).pairs.num_rows == 0
    by_sop = declared(kind="  kind: RTSTRUCT\n  ways: [sop]\n")
    assert query_cohort(by_sop, fetched_warehouse).of_role("target").num_rows == 0
    segs = declared(kind="  kind: SEG\n")
    assert images(query_cohort(segs, fetched_warehouse)) == images(example_cohort)


@pytest.mark.parametrize(
    ("changed", "key", "line", "said"),
    [
        ({"where": "  where: Modalty = 'CT'\n"}, "cohort.where", 7, "Modalty"),
        ({"where": "  where: SELECT\n"}, "cohort.where", 7, "must be one SQL condition"),
        ({"where": "  modalities: [MR]\n"}, "cohort", 5, "selects no Series"),
        (
            {"where": "  modalities: [CT, CTX]\n"},
            "cohort.modalities",
            7,
            "no Modality 'CTX'; did you mean 'CT'",
        ),
        ({"where": "  body_parts: [LUNG, LNUG]\n"}, "cohort.body_parts", 7, "'LNUG'"),
        ({"where": "  shared_lists: [mine]\n"}, "cohort.shared_lists", 7, "'mine'"),
        ({"deny": "  deny: [Kreatif]\n"}, "licenses", 33, "no licence 'Kreatif'"),
        ({"where": ""}, "cohort", 5, "5 of the 10 selected Series are not images [(]RTSTRUCT[)]"),
        (
            {"kind": "  kind: SEG\n  where: nothing = 1\n"},
            "target.where",
            13,
            "the query fails: .*nothing",
        ),
    ],
)
def test_a_failing_query_names_its_line(
    fetched_warehouse: Warehouse, changed: dict[str, str], key: str, line: int, said: str
) -> None:
    with pytest.raises(BadDeclaration, match=said) as caught:
        query_cohort(declared(**changed), fetched_warehouse)
    assert (caught.value.key, caught.value.line) == (key, line)


def test_an_unknown_collection_beside_a_known_one_is_an_error(fetched_warehouse: Warehouse) -> None:
    text = EXAMPLE.read_text().replace("[LCTSC]", "[LCTSC, LCTSX]")
    with pytest.raises(BadDeclaration, match="'LCTSX'; did you mean 'LCTSC'") as caught:
        query_cohort(parse_declaration(text, "lung_ct"), fetched_warehouse)
    assert caught.value.key == "cohort.collections"


def test_a_cohort_can_be_narrowed_by_how_its_images_were_acquired(
    fetched_warehouse: Warehouse, example_cohort: Cohort
) -> None:
    chosen = (
        "  where: SeriesInstanceUID IN "
        "(SELECT SeriesInstanceUID FROM series_acquisition WHERE Modality = 'CT' AND KVP {})\n"
    )
    cohort = query_cohort(declared(where=chosen.format("= 120")), fetched_warehouse)
    assert images(cohort) == images(example_cohort)
    with pytest.raises(BadDeclaration, match="selects no Series"):
        query_cohort(declared(where=chosen.format("= 80")), fetched_warehouse)
