"""`references` and `targets` as assets: beside `images`, in the same jobs."""

from __future__ import annotations

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.datasets.pairing import find_pairs
from tcia_assets_tests.conftest import SMALL, Dagster


@pytest.mark.slow
def test_a_run_that_fetches_images_reads_whom_they_refer_to(dagster: Dagster) -> None:
    dagster.start_listed()
    dagster.run("tcia_refresh", SMALL, SMALL)
    (patient,) = dagster.warehouse.query(
        "SELECT PatientID FROM series WHERE Collection = $c ORDER BY ImageCount, PatientID LIMIT 1",
        {"c": SMALL},
    )["PatientID"].to_pylist()
    where = f"PatientID = '{patient}'"
    ops: dict[str, object] = {
        "tcia_image_archives": {"config": {"selection": {"collections": [SMALL], "where": where}}}
    }
    run = dagster.run("tcia_images", SMALL, SMALL, ops=ops)

    assert run.success
    for table in ("references", "targets"):
        (event,) = dagster.events(table)
        rows = dagster.warehouse.row_count(catalog.table(table), SMALL)
        assert event.metadata["dagster/partition_row_count"].value == rows > 0
        assert event.metadata["zips_read"].value == 1
    checked = {
        (check.asset_key, check.check_name): check.passed
        for check in run.get_asset_check_evaluations()
        if check.asset_key.path[-1] in {"references", "targets"}
    }
    assert all(checked.values())
    assert {name for key, name in checked if key == dg.AssetKey(["tcia", "references"])} == {
        "keys_unique",
        "image_archives_exist",
        "references_readable",
        "masks_refer",
    }
    read = dagster.warehouse.read(catalog.REFERENCES)["SeriesInstanceUID"].to_pylist()
    (pair,) = find_pairs(dagster.warehouse, read).to_pylist()
    assert (pair["state"], pair["how"], pair["image_modality"]) == ("paired", "series", "CT")
    assert dagster.warehouse.query('SELECT count(*) AS n FROM "references"')["n"][0].as_py() > 1
