"""What is true of a dataset as a whole follows from its declaration and its cohort."""

from __future__ import annotations

from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_cohorts import declared


def test_info_is_taken_from_declaration_and_cohort(fetched_warehouse: Warehouse) -> None:
    declaration = declared()
    cohort = query_cohort(declaration, fetched_warehouse)
    info = DatasetInfo.of(declaration, cohort, {"numpy": "2"})
    assert (info.name, info.title) == ("lung_ct", "Lung CT with contours")
    assert info.settings == declaration.settings
    assert info.labels[1] == "lung" and len(info.labels) == 6
    assert (info.splits, info.folds) == (("train", "val", "test"), 5)
    assert (info.cohort_sha256, info.made_with) == (cohort.sha256, {"numpy": "2"})
    assert set(info.masks["Modality"].to_pylist()) == {"RTSTRUCT"}
