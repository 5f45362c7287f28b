"""A cohort is frozen from what the warehouse knows, and changes only if that is wanted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES
from tcia_assets.datasets.cohort import Cohort, CohortDiff
from tcia_assets.datasets.cohort_lock import freeze_cohort, load_cohort
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import Declaration, load_declaration, parse_declaration
from tcia_assets.datasets.split import assign_splits, find_leaks
from tcia_assets.errors import BadDeclaration, CohortMoved, LicenseConflict
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.datasets.warehouse_edits import (
    refetch,
    replace_zip,
    set_column,
    zip_of,
    zip_without,
)
from tcia_assets_tests.repository import ROOT

EXAMPLE = ROOT / "datasets" / "lung_ct.yaml"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lung_ct.lock.json"


def declared(**changed: str) -> Declaration:
    """The example, with other lines for these keys."""
    text = EXAMPLE.read_text()
    for old, new in changed.items():
        was = {
            "where": "  modalities: [CT]\n",
            "deny": "  deny: [NC, ND]\n",
            "kind": "  kind: RTSTRUCT\n",
        }[old]
        assert was in text
        text = text.replace(was, new)
    return parse_declaration(text, "lung_ct")


def images(frozen: Cohort) -> list[str]:
    return list(frozen.of_role("image")["SeriesInstanceUID"].to_pylist())


# --- Freezing -------------------------------------------------------------------------------------


def test_the_example_is_each_ct_with_its_contours(fetched_warehouse: Warehouse) -> None:
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


def test_a_cohort_can_be_split_and_the_split_proven(fetched_warehouse: Warehouse) -> None:
    declaration = load_declaration(EXAMPLE)
    parts = assign_splits(
        query_cohort(declaration, fetched_warehouse).of_role("image"), declaration.split
    )
    assert find_leaks(parts, declaration.split.leak_columns) == []
    assert set(parts["part"].to_pylist()) <= set(declaration.split.splits)


def test_the_same_warehouse_gives_the_same_bytes(fetched_warehouse: Warehouse) -> None:
    assert (
        query_cohort(declared(), fetched_warehouse).text
        == query_cohort(declared(), fetched_warehouse).text
    )


def test_sql_and_criteria_ask_the_same(fetched_warehouse: Warehouse) -> None:
    asked = (
        "sql: SELECT * FROM current_series WHERE Collection = 'LCTSC' AND Modality = 'CT' -- all"
    )
    text = EXAMPLE.read_text().replace("collections: [LCTSC]\n  modalities: [CT]", asked)
    by_sql = query_cohort(parse_declaration(text, "lung_ct"), fetched_warehouse)
    assert by_sql.sha256 == query_cohort(declared(), fetched_warehouse).sha256


def test_what_is_listed_and_not_there_is_a_row_that_says_so(fetched_warehouse: Warehouse) -> None:
    first, second, *_ = images(query_cohort(declared(), fetched_warehouse))
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


def test_which_masks_count_is_declared(fetched_warehouse: Warehouse) -> None:
    none = declared(kind="  kind: RTSTRUCT\n  where: PatientID = 'nobody'\n")
    assert query_cohort(none, fetched_warehouse).pairs.num_rows == 0
    by_sop = declared(kind="  kind: RTSTRUCT\n  ways: [sop]\n")
    assert query_cohort(by_sop, fetched_warehouse).of_role("target").num_rows == 0
    segs = declared(kind="  kind: SEG\n")
    assert images(query_cohort(segs, fetched_warehouse)) == images(
        query_cohort(declared(), fetched_warehouse)
    )


@pytest.mark.parametrize(
    ("changed", "key", "line", "said"),
    [
        ({"where": "  where: Modalty = 'CT'\n"}, "cohort.where", 7, "Modalty"),
        ({"where": "  where: SELECT\n"}, "cohort.where", 7, "must be one SQL condition"),
        ({"where": "  modalities: [MR]\n"}, "cohort", 5, "no Series is asked for"),
        (
            {"where": "  modalities: [CT, CTX]\n"},
            "cohort.modalities",
            7,
            "no Modality that is known here 'CTX'; did you mean 'CT'",
        ),
        ({"where": "  body_parts: [LUNG, LNUG]\n"}, "cohort.body_parts", 7, "'LNUG'"),
        ({"where": "  shared_lists: [mine]\n"}, "cohort.shared_lists", 7, "'mine'"),
        ({"deny": "  deny: [Kreatif]\n"}, "licenses", 33, "no licence 'Kreatif'"),
        ({"where": ""}, "cohort", 5, "5 of the 10 Series .* are no images [(]RTSTRUCT[)]"),
        (
            {"kind": "  kind: SEG\n  where: nothing = 1\n"},
            "target.where",
            13,
            "cannot be answered: .*nothing",
        ),
    ],
)
def test_a_question_that_cannot_be_answered_names_its_line(
    fetched_warehouse: Warehouse, changed: dict[str, str], key: str, line: int, said: str
) -> None:
    with pytest.raises(BadDeclaration, match=said) as caught:
        query_cohort(declared(**changed), fetched_warehouse)
    assert (caught.value.key, caught.value.line) == (key, line)


# --- Licences -------------------------------------------------------------------------------------


def test_a_collection_beside_a_known_one_is_not_passed_over(fetched_warehouse: Warehouse) -> None:
    text = EXAMPLE.read_text().replace("[LCTSC]", "[LCTSC, LCTSX]")
    with pytest.raises(BadDeclaration, match="'LCTSX'; did you mean 'LCTSC'") as caught:
        query_cohort(parse_declaration(text, "lung_ct"), fetched_warehouse)
    assert caught.value.key == "cohort.collections"


def test_a_value_that_nobody_has_holds_nobody_out(fetched_warehouse: Warehouse, lock: Path) -> None:
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    text = EXAMPLE.read_text()

    def holding_out(value: str) -> Declaration:
        said = f"  holdout: {{part: test, column: Manufacturer, values: [{value}]}}\n  folds: 5\n"
        return parse_declaration(text.replace("  folds: 5\n", said), "lung_ct")

    assert load_cohort(holding_out("SIEMENS"), fetched_warehouse, lock).sha256 == frozen.sha256
    for asked in (query_cohort, lambda how, of: load_cohort(how, of, lock)):
        with pytest.raises(BadDeclaration, match="'Siemens'; did you mean 'SIEMENS'") as caught:
            asked(holding_out("Siemens"), fetched_warehouse)
        assert caught.value.key == "split.holdout.values"
    with pytest.raises(BadDeclaration, match="'None'"):  # those that are not told are no value
        query_cohort(holding_out("None"), fetched_warehouse)


def test_licences_that_conflict_are_refused_with_the_series(fetched_warehouse: Warehouse) -> None:
    with pytest.raises(LicenseConflict) as caught:
        query_cohort(declared(deny="  deny: [CC BY 3.0]\n"), fetched_warehouse)
    assert len(caught.value.series) == 10
    assert min(caught.value.series) in str(caught.value)
    assert "Creative Commons Attribution 3.0" in str(caught.value)


def test_one_mask_under_another_licence_is_enough(fetched_warehouse: Warehouse) -> None:
    mask = (
        query_cohort(declared(), fetched_warehouse).pairs["target_series_instance_uid"][0].as_py()
    )
    set_column(fetched_warehouse, "LicenseName", "CC BY-NC 4.0", mask)
    with pytest.raises(LicenseConflict) as caught:
        query_cohort(declared(), fetched_warehouse)
    assert caught.value.series == {mask: "CC BY-NC 4.0"}


def test_an_untold_licence_is_none_that_is_allowed(fetched_warehouse: Warehouse) -> None:
    allowed = declared(deny="  allow: [CC BY]\n")
    first = images(query_cohort(allowed, fetched_warehouse))[0]
    for column in ("LicenseName", "LicenseURI"):
        set_column(fetched_warehouse, column, None, first)
    with pytest.raises(LicenseConflict) as caught:
        query_cohort(allowed, fetched_warehouse)
    assert caught.value.series == {first: "none told"}
    assert query_cohort(declared(), fetched_warehouse).series.num_rows == 10


# --- The lock file --------------------------------------------------------------------------------


def test_a_lock_file_is_read_back_as_it_was(fetched_warehouse: Warehouse, lock: Path) -> None:
    asked, changes = freeze_cohort(declared(), fetched_warehouse, lock)
    assert not changes
    again = load_cohort(declared(), fetched_warehouse, lock)
    assert again.text == asked.text == lock.read_text()
    assert again.series.equals(asked.series) and again.pairs.equals(asked.pairs)


def test_asking_again_tells_what_changed_and_changes_nothing(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    before, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    kept = lock.read_bytes()
    first, second, *_ = images(before)
    set_column(fetched_warehouse, "PatientAge", "099Y", first)
    set_column(fetched_warehouse, "withdrawn_at", datetime.now(UTC), second)
    same, changes = freeze_cohort(declared(), fetched_warehouse, lock)
    assert lock.read_bytes() == kept
    assert same.text == before.text
    assert second in changes.removed
    assert len(changes.removed) == 2  # with its mask
    assert changes.changed is not None and changes.changed[first]["PatientAge"][1] == "099Y"
    assert f"- Series {second}" in str(changes)
    assert f"~ Series {first}: PatientAge" in str(changes)
    assert len(changes.pairs_removed) == 1

    now, _ = freeze_cohort(declared(), fetched_warehouse, lock, update=True)
    assert lock.read_text() == now.text != before.text
    assert freeze_cohort(declared(), fetched_warehouse, lock)[1] == CohortDiff(changed={})


def test_a_change_elsewhere_leaves_the_lock_file_alone(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    text = EXAMPLE.read_text().replace(
        "  modalities: [CT]\n", "  modalities: [CT]\n  where: PatientID NOT LIKE '%nobody%'\n"
    )
    text = (
        text.replace("target:", "target: none\nx:").split("\nx:")[0]
        + text[text.index("\nsplit:") :]
    )
    declaration = parse_declaration(text, "lung_ct")
    freeze_cohort(declaration, fetched_warehouse, lock)
    kept = lock.read_bytes()
    masks = fetched_warehouse.query(
        "SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'RTSTRUCT'"
    )
    set_column(fetched_warehouse, "fingerprint", "another", masks["uid"][0].as_py())
    _, changes = freeze_cohort(declaration, fetched_warehouse, lock, update=True)
    assert not changes
    assert lock.read_bytes() == kept


def test_locked_needs_the_same_question_and_the_same_zips(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    with pytest.raises(CohortMoved, match="no such lock file"):
        load_cohort(declared(), fetched_warehouse, lock)
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    with pytest.raises(CohortMoved, match="another question"):
        load_cohort(declared(where="  where: Modality = 'CT'\n"), fetched_warehouse, lock)
    with pytest.raises(LicenseConflict):
        load_cohort(declared(deny="  deny: [CC BY]\n"), fetched_warehouse, lock)
    first, second, *_ = images(frozen)
    rows = fetched_warehouse.read(IMAGE_ARCHIVES, [SMALL]).to_pylist()
    for row in rows:
        if row["SeriesInstanceUID"] == first:
            row["sha256"] = "0" * 64
    left = [row for row in rows if row["SeriesInstanceUID"] != second]
    fetched_warehouse.write(
        IMAGE_ARCHIVES,
        conform(IMAGE_ARCHIVES, pa.Table.from_pylist(left, schema=IMAGE_ARCHIVES.schema)),
        SMALL,
    )
    with pytest.raises(CohortMoved) as caught:
        load_cohort(declared(), fetched_warehouse, lock)
    assert f"{first} (another zip)" in str(caught.value)
    assert f"{second} (absent)" in str(caught.value)


def test_a_series_that_is_fetched_again_is_the_same(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    text, uid = lock.read_text(), images(frozen)[0]
    before = zip_of(fetched_warehouse, uid).read_bytes()
    refetch(fetched_warehouse, *frozen.series["SeriesInstanceUID"].to_pylist())
    assert zip_of(fetched_warehouse, uid).read_bytes() != before
    again, changes = freeze_cohort(declared(), fetched_warehouse, lock, update=True)
    assert not changes
    assert (again.sha256, lock.read_text()) == (frozen.sha256, text)
    assert query_cohort(declared(), fetched_warehouse).sha256 == frozen.sha256
    assert load_cohort(declared(), fetched_warehouse, lock).sha256 == frozen.sha256


def test_where_objects_are_not_known_the_zip_has_to_be_the_same(
    fetched_warehouse: Warehouse, lock: Path
) -> None:
    uid = images(query_cohort(declared(), fetched_warehouse))[0]
    rows = fetched_warehouse.read(IMAGES, [SMALL])
    left = pa.array([each != uid for each in rows["SeriesInstanceUID"].to_pylist()])
    fetched_warehouse.write(IMAGES, rows.filter(left), SMALL)
    frozen, _ = freeze_cohort(declared(), fetched_warehouse, lock)
    row = next(r for r in frozen.series.to_pylist() if r["SeriesInstanceUID"] == uid)
    assert row["content_md5"] is None and row["archive_sha256"]
    replace_zip(
        fetched_warehouse,
        uid,
        zip_without(zip_of(fetched_warehouse, uid), lambda place: place == 0),
    )
    with pytest.raises(CohortMoved, match=f"{uid} .another zip."):
        load_cohort(declared(), fetched_warehouse, lock)
    _, changes = freeze_cohort(declared(), fetched_warehouse, lock)
    assert set((changes.changed or {})[uid]) == {"archive_sha256"}


def test_a_lock_file_that_was_edited_is_none(fetched_warehouse: Warehouse, lock: Path) -> None:
    freeze_cohort(declared(), fetched_warehouse, lock)
    content = json.loads(lock.read_text())
    del content["series"][0]
    for spoiled in (
        json.dumps(content),
        "{}",
        "[]",
        "no JSON",
        json.dumps(content | {"format": 2}),
    ):
        lock.write_text(spoiled)
        with pytest.raises(CohortMoved, match=r"edited|no lock file"):
            load_cohort(declared(), fetched_warehouse, lock)
    other = parse_declaration(EXAMPLE.read_text(), "other")
    lock.unlink()
    freeze_cohort(declared(), fetched_warehouse, lock)
    with pytest.raises(CohortMoved, match="of the dataset 'lung_ct'"):
        freeze_cohort(other, fetched_warehouse, lock)
