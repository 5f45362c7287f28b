"""Both sources fit into one code location, each under a prefix of its own."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from tcia_assets import TciaResource, build_definitions
from tcia_assets.catalog import IMAGES, SERIES
from tcia_assets.defs.partitions import range_tags
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import QUIET, Dagster

_SMALL = "LCTSC"
# Few: this is about whose they are.
_TABLES = {"refresh": ["series"], "images": ["image_archives", "images"]}


def _few(prefix: str, job: str) -> dict[str, object]:
    """Return the configuration of a run that fetches the contours only."""
    if job == "refresh":
        return {}
    selection = {"collections": [_SMALL], "modalities": ["RTSTRUCT"]}
    return {"ops": {f"{prefix}_image_archives": {"config": {"selection": selection}}}}


def test_nbia_and_the_idc_are_mirrored_side_by_side(dagster: Dagster, idc_index: Path) -> None:
    sandbox, root = dagster.sandbox, dagster.data_dir
    idc = TciaResource(
        source="idc",
        idc_index=str(idc_index),
        idc_base_url=sandbox.idc_base_url,
        data_dir=str(root / "idc"),
    )
    definitions = dg.Definitions.merge(
        build_definitions(resource=dagster.resource(), datasets=""),
        build_definitions(key_prefix="idc", resource=idc, datasets=""),
    )
    for prefix in ("tcia", "idc"):
        dagster.instance.add_dynamic_partitions(f"{prefix}_collections", [_SMALL])
        for job in ("refresh", "images"):
            keys = {dg.AssetKey([prefix, name]) for name in _TABLES[job]}
            result = (
                definitions.resolve_job_def(f"{prefix}_{job}")
                .get_subset(asset_selection=keys, asset_check_selection=set())
                .execute_in_process(
                    instance=dagster.instance,
                    tags=range_tags(_SMALL, _SMALL),
                    run_config=_few(prefix, job) | {"loggers": QUIET},
                )
            )
            assert result.success

    for place, begin in ((root, "nbia-v4@127.0.0.1"), (root / "idc", "idc-v25@127.0.0.1")):
        series = Warehouse(place).read(SERIES, [_SMALL])
        assert all(name.startswith(begin) for name in series["source"].to_pylist())
    uids = [
        set(Warehouse(place).read(IMAGES, [_SMALL])["SOPInstanceUID"].to_pylist())
        for place in (root, root / "idc")
    ]
    assert uids[0] == uids[1] != set()
