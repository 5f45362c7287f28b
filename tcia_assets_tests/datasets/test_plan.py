"""A plan says what a build would take and give, and agrees with the build."""

from __future__ import annotations

import json

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.plan import DatasetPlan, NamePlan, plan_dataset
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.datasets.example_builds import NO_TARGET, built, declared
from tcia_assets_tests.datasets.warehouse_edits import set_column


def _plan(declaration: Declaration, warehouse: Warehouse) -> DatasetPlan:
    return plan_dataset(declaration, query_cohort(declaration, warehouse), warehouse)


def test_the_build_gives_what_the_plan_says(stocked_warehouse: Warehouse) -> None:
    plan = _plan(declared(), stocked_warehouse)
    samples = built(declared(), stocked_warehouse).samples.to_pylist()
    assert (plan.images, plan.patients, plan.to_fetch) == (5, 5, 0)
    assert dict(plan.masks) == {"series": 5}
    assert plan.names == (NamePlan("Body", "body", 5, 5), NamePlan("Lesion", "lesion", 5, 5))
    parts = [row["part"] for row in samples]
    assert {each.split: each.images for each in plan.splits} == {
        split: parts.count(split) for split in ("train", "val", "test")
    }
    assert not plan.leaks and sum(plan.licenses.values()) == 10
    written = sum(row["image_bytes"] + row["label_bytes"] for row in samples)
    assert 0.3 < plan.built_bytes / written < 3
    assert json.loads(json.dumps(plan.content))["images"] == 5


def test_it_says_what_is_not_on_disk_what_has_no_label_and_what_leaks(
    fetched_warehouse: Warehouse,
) -> None:
    warehouse = fetched_warehouse
    [mask, *_] = warehouse.query(
        "SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'RTSTRUCT' ORDER BY uid"
    )["uid"].to_pylist()
    with warehouse.update(IMAGE_ARCHIVES, SMALL) as partition:
        partition.rows = partition.rows.filter(
            [uid != mask for uid in partition.rows["SeriesInstanceUID"].to_pylist()]
        )
    images = warehouse.query("SELECT SeriesInstanceUID AS u FROM series WHERE Modality = 'CT'")
    set_column(warehouse, "StudyInstanceUID", "1.2.77", mask, *images["u"].to_pylist())
    plan = _plan(declared(('    body: "(?i)body|external"\n', "")), warehouse)
    assert (plan.to_fetch, plan.masks_to_fetch, plan.unlabelled) == (1, 1, 1)
    assert [each.label for each in plan.names] == ["", "lesion"]
    unlike = _plan(declared(('body: "(?i)body|external"', 'body: "Torso"')), warehouse)
    absent = ("lung", "heart", "esophagus", "cord")
    assert (plan.unmatched_labels, unlike.unmatched_labels) == (absent, (*absent, "body"))
    [leak] = plan.leaks
    assert leak.startswith("StudyInstanceUID '1.2.77'")


def test_classes_are_counted_by_split(fetched_warehouse: Warehouse) -> None:
    section = "target: none\n\nclasses: {column: PatientSex, names: {female: F}}"
    plan = _plan(declared((NO_TARGET[0], section)), fetched_warehouse)
    sexes = fetched_warehouse.query("SELECT PatientSex AS s FROM series WHERE Modality = 'CT'")
    females = sexes["s"].to_pylist().count("F")
    assert dict(plan.classes) == {"female": females, "": 5 - females}
    assert sum(each.strata["class_name"].get("female", 0) for each in plan.splits) == females
    assert plan.class_join and plan.class_join.key == "SeriesInstanceUID"
    assert (plan.names, plan.images_without_mask) == ((), 0)
