# ruff: noqa: INP001 - a file that Dagster loads, in no package
"""The archive's assets, and a job whose steps Celery workers take: `dagster -f` this file.

One run fetches one shard of a Collection, so that as many machines work at once as there are runs:

    ops: {tcia_image_archives: {config: {shards: 2, shard: 0}}}       and another with shard: 1

All machines see the same TCIA_DATA_DIR; `docs/scale-out.md` tells more.
"""

import dagster as dg
from dagster_celery import celery_executor

from tcia_assets import build_definitions

IMAGES = dg.AssetSelection.assets(["tcia", "image_archives"], ["tcia", "images"])

defs = dg.Definitions.merge(
    build_definitions(),
    dg.Definitions(
        jobs=[
            dg.define_asset_job("tcia_images_celery", IMAGES, executor_def=celery_executor),
        ]
    ),
)
