"""A cohort is frozen from what the warehouse knows, and changes only if that is wanted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES
from tcia_assets.datasets import cohort
from tcia_assets.datasets.declaration import Declaration, load, parse
from tcia_assets.datasets.split import proof, split
from tcia_assets.errors import BadDeclaration, CohortMoved, LicenseConflict
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.datasets.known import change, fetched_again, served, without, zip_of
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
    return parse(text, "lung_ct")


def images(frozen: cohort.Cohort) -> list[str]:
    return list(frozen.of_role("image")["SeriesInstanceUID"].to_pylist())


# --- Freezing -------------------------------------------------------------------------------------


def test_the_example_is_each_ct_with_its_contours(known: Warehouse) -> None:
    frozen = cohort.freeze(load(EXAMPLE), known)
    rows = frozen.series.to_pylist()
    assert [row["role"] for row in rows] == ["image"] * 5 + ["target"] * 5
    assert {row["Modality"] for row in rows} == {"CT", "RTSTRUCT"}
    assert [row["SeriesInstanceUID"] for row in rows[:5]] == sorted(images(frozen))
    sha256 = dict(
        zip(
            *(
                known.read(IMAGE_ARCHIVES, [SMALL])[name].to_pylist()
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


def test_a_cohort_can_be_split_and_the_split_proven(known: Warehouse) -> None:
    declaration = load(EXAMPLE)
    parts = split(cohort.freeze(declaration, known).of_role("image"), declaration.split)
    assert proof(parts, declaration.split.proven) == []
    assert set(parts["part"].to_pylist()) <= set(declaration.split.parts)


def test_the_same_warehouse_gives_the_same_bytes(known: Warehouse) -> None:
    assert cohort.freeze(declared(), known).text == cohort.freeze(declared(), known).text


def test_sql_and_criteria_ask_the_same(known: Warehouse) -> None:
    asked = (
        "sql: SELECT * FROM current_series WHERE Collection = 'LCTSC' AND Modality = 'CT' -- all"
    )
    text = EXAMPLE.read_text().replace("collections: [LCTSC]\n  modalities: [CT]", asked)
    by_sql = cohort.freeze(parse(text, "lung_ct"), known)
    assert by_sql.sha256 == cohort.freeze(declared(), known).sha256


def test_what_is_listed_and_not_there_is_a_row_that_says_so(known: Warehouse) -> None:
    first, second, *_ = images(cohort.freeze(declared(), known))
    rows = known.read(IMAGE_ARCHIVES, [SMALL])
    left = [uid != first for uid in rows["SeriesInstanceUID"].to_pylist()]
    known.write(IMAGE_ARCHIVES, rows.filter(pa.array(left)), SMALL)
    change(known, "withdrawn_at", datetime.now(UTC), second)
    text = EXAMPLE.read_text().replace(
        "collections: [LCTSC]\n  modalities: [CT]", f"series: [{first}, {second}, 1.2.3]"
    )
    frozen = cohort.freeze(parse(text, "lung_ct"), known)
    states = {r["SeriesInstanceUID"]: r["state"] for r in frozen.of_role("image").to_pylist()}
    assert states == {first: "not_fetched", second: "withdrawn", "1.2.3": "unknown"}
    assert set(frozen.not_fetched) == {first, "1.2.3"}


def test_which_masks_count_is_declared(known: Warehouse) -> None:
    none = declared(kind="  kind: RTSTRUCT\n  where: PatientID = 'nobody'\n")
    assert cohort.freeze(none, known).pairs.num_rows == 0
    by_sop = declared(kind="  kind: RTSTRUCT\n  ways: [sop]\n")
    assert cohort.freeze(by_sop, known).of_role("target").num_rows == 0
    segs = declared(kind="  kind: SEG\n")
    assert images(cohort.freeze(segs, known)) == images(cohort.freeze(declared(), known))


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
            "no Modality that is known here is called 'CTX'; did you mean 'CT'",
        ),
        ({"where": "  body_parts: [LUNG, LNUG]\n"}, "cohort.body_parts", 7, "'LNUG'"),
        ({"where": "  shared_lists: [mine]\n"}, "cohort.shared_lists", 7, "'mine'"),
        ({"deny": "  deny: [Kreatif]\n"}, "licenses", 33, "no licence is called 'Kreatif'"),
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
    known: Warehouse, changed: dict[str, str], key: str, line: int, said: str
) -> None:
    with pytest.raises(BadDeclaration, match=said) as caught:
        cohort.freeze(declared(**changed), known)
    assert (caught.value.key, caught.value.line) == (key, line)


# --- Licences -------------------------------------------------------------------------------------


def test_a_collection_beside_a_known_one_is_not_passed_over(known: Warehouse) -> None:
    text = EXAMPLE.read_text().replace("[LCTSC]", "[LCTSC, LCTSX]")
    with pytest.raises(BadDeclaration, match="'LCTSX'; did you mean 'LCTSC'") as caught:
        cohort.freeze(parse(text, "lung_ct"), known)
    assert caught.value.key == "cohort.collections"


def test_a_value_that_nobody_has_holds_nobody_out(known: Warehouse, lock: Path) -> None:
    frozen, _ = cohort.ask(declared(), known, lock)
    text = EXAMPLE.read_text()

    def holding_out(value: str) -> Declaration:
        said = f"  holdout: {{part: test, column: Manufacturer, values: [{value}]}}\n  folds: 5\n"
        return parse(text.replace("  folds: 5\n", said), "lung_ct")

    assert cohort.locked(holding_out("SIEMENS"), known, lock).sha256 == frozen.sha256
    for asked in (cohort.freeze, lambda how, of: cohort.locked(how, of, lock)):
        with pytest.raises(BadDeclaration, match="'Siemens'; did you mean 'SIEMENS'") as caught:
            asked(holding_out("Siemens"), known)
        assert caught.value.key == "split.holdout.values"
    with pytest.raises(BadDeclaration, match="'None'"):  # those that are not told are no value
        cohort.freeze(holding_out("None"), known)


def test_licences_that_conflict_are_refused_with_the_series(known: Warehouse) -> None:
    with pytest.raises(LicenseConflict) as caught:
        cohort.freeze(declared(deny="  deny: [CC BY 3.0]\n"), known)
    assert len(caught.value.series) == 10
    assert min(caught.value.series) in str(caught.value)
    assert "Creative Commons Attribution 3.0" in str(caught.value)


def test_one_mask_under_another_licence_is_enough(known: Warehouse) -> None:
    mask = cohort.freeze(declared(), known).pairs["target_series_instance_uid"][0].as_py()
    change(known, "LicenseName", "CC BY-NC 4.0", mask)
    with pytest.raises(LicenseConflict) as caught:
        cohort.freeze(declared(), known)
    assert caught.value.series == {mask: "CC BY-NC 4.0"}


def test_an_untold_licence_is_none_that_is_allowed(known: Warehouse) -> None:
    allowed = declared(deny="  allow: [CC BY]\n")
    first = images(cohort.freeze(allowed, known))[0]
    for column in ("LicenseName", "LicenseURI"):
        change(known, column, None, first)
    with pytest.raises(LicenseConflict) as caught:
        cohort.freeze(allowed, known)
    assert caught.value.series == {first: "none told"}
    assert cohort.freeze(declared(), known).series.num_rows == 10


# --- The lock file --------------------------------------------------------------------------------


def test_a_lock_file_is_read_back_as_it_was(known: Warehouse, lock: Path) -> None:
    asked, changes = cohort.ask(declared(), known, lock)
    assert not changes
    again = cohort.locked(declared(), known, lock)
    assert again.text == asked.text == lock.read_text()
    assert again.series.equals(asked.series) and again.pairs.equals(asked.pairs)


def test_asking_again_tells_what_changed_and_changes_nothing(known: Warehouse, lock: Path) -> None:
    before, _ = cohort.ask(declared(), known, lock)
    kept = lock.read_bytes()
    first, second, *_ = images(before)
    change(known, "PatientAge", "099Y", first)
    change(known, "withdrawn_at", datetime.now(UTC), second)
    same, changes = cohort.ask(declared(), known, lock)
    assert lock.read_bytes() == kept
    assert same.text == before.text
    assert second in changes.removed
    assert len(changes.removed) == 2  # with its mask
    assert changes.changed is not None and changes.changed[first]["PatientAge"][1] == "099Y"
    assert f"- Series {second}" in str(changes)
    assert f"~ Series {first}: PatientAge" in str(changes)
    assert len(changes.pairs_removed) == 1

    now, _ = cohort.ask(declared(), known, lock, update=True)
    assert lock.read_text() == now.text != before.text
    assert cohort.ask(declared(), known, lock)[1] == cohort.Diff(changed={})


def test_a_change_elsewhere_leaves_the_lock_file_alone(known: Warehouse, lock: Path) -> None:
    text = EXAMPLE.read_text().replace(
        "  modalities: [CT]\n", "  modalities: [CT]\n  where: PatientID NOT LIKE '%nobody%'\n"
    )
    text = (
        text.replace("target:", "target: none\nx:").split("\nx:")[0]
        + text[text.index("\nsplit:") :]
    )
    declaration = parse(text, "lung_ct")
    cohort.ask(declaration, known, lock)
    kept = lock.read_bytes()
    masks = known.query("SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'RTSTRUCT'")
    change(known, "fingerprint", "another", masks["uid"][0].as_py())
    _, changes = cohort.ask(declaration, known, lock, update=True)
    assert not changes
    assert lock.read_bytes() == kept


def test_locked_needs_the_same_question_and_the_same_zips(known: Warehouse, lock: Path) -> None:
    with pytest.raises(CohortMoved, match="no such lock file"):
        cohort.locked(declared(), known, lock)
    frozen, _ = cohort.ask(declared(), known, lock)
    with pytest.raises(CohortMoved, match="another question"):
        cohort.locked(declared(where="  where: Modality = 'CT'\n"), known, lock)
    with pytest.raises(LicenseConflict):
        cohort.locked(declared(deny="  deny: [CC BY]\n"), known, lock)
    first, second, *_ = images(frozen)
    rows = known.read(IMAGE_ARCHIVES, [SMALL]).to_pylist()
    for row in rows:
        if row["SeriesInstanceUID"] == first:
            row["sha256"] = "0" * 64
    left = [row for row in rows if row["SeriesInstanceUID"] != second]
    known.write(
        IMAGE_ARCHIVES,
        conform(IMAGE_ARCHIVES, pa.Table.from_pylist(left, schema=IMAGE_ARCHIVES.schema)),
        SMALL,
    )
    with pytest.raises(CohortMoved) as caught:
        cohort.locked(declared(), known, lock)
    assert f"{first} (another zip)" in str(caught.value)
    assert f"{second} (absent)" in str(caught.value)


def test_a_series_that_is_fetched_again_is_the_same(known: Warehouse, lock: Path) -> None:
    frozen, _ = cohort.ask(declared(), known, lock)
    text, uid = lock.read_text(), images(frozen)[0]
    before = zip_of(known, uid).read_bytes()
    fetched_again(known, *frozen.series["SeriesInstanceUID"].to_pylist())
    assert zip_of(known, uid).read_bytes() != before
    again, changes = cohort.ask(declared(), known, lock, update=True)
    assert not changes
    assert (again.sha256, lock.read_text()) == (frozen.sha256, text)
    assert cohort.freeze(declared(), known).sha256 == frozen.sha256
    assert cohort.locked(declared(), known, lock).sha256 == frozen.sha256


def test_where_objects_are_not_known_the_zip_has_to_be_the_same(
    known: Warehouse, lock: Path
) -> None:
    uid = images(cohort.freeze(declared(), known))[0]
    rows = known.read(IMAGES, [SMALL])
    left = pa.array([each != uid for each in rows["SeriesInstanceUID"].to_pylist()])
    known.write(IMAGES, rows.filter(left), SMALL)
    frozen, _ = cohort.ask(declared(), known, lock)
    row = next(r for r in frozen.series.to_pylist() if r["SeriesInstanceUID"] == uid)
    assert row["content_md5"] is None and row["archive_sha256"]
    served(known, uid, without(zip_of(known, uid), lambda place: place == 0))
    with pytest.raises(CohortMoved, match=f"{uid} .another zip."):
        cohort.locked(declared(), known, lock)
    _, changes = cohort.ask(declared(), known, lock)
    assert set((changes.changed or {})[uid]) == {"archive_sha256"}


def test_a_lock_file_that_was_edited_is_none(known: Warehouse, lock: Path) -> None:
    cohort.ask(declared(), known, lock)
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
            cohort.locked(declared(), known, lock)
    other = parse(EXAMPLE.read_text(), "other")
    lock.unlink()
    cohort.ask(declared(), known, lock)
    with pytest.raises(CohortMoved, match="of the dataset 'lung_ct'"):
        cohort.ask(other, known, lock)
