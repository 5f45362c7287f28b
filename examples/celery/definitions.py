# ruff: noqa: INP001 - a file that Dagster loads, in no package
"""The plugin's assets, and a job whose steps run on Celery workers: `dagster -f` this file.

Each run fetches one shard of a Collection, so as many machines work in parallel as there are runs:

    ops: {tcia_image_archives: {config: {shards: 2, shard: 0}}}       and another with shard: 1

All machines need the same TCIA_ARCHIVES_URL, or the same TCIA_DATA_DIR; see `docs/scale-out.md`.
"""

import dagster as dg
from dagster_celery import celery_executor

from tcia_assets import build_definitions

TABLES = ("image_archives", "images", "references", "targets")
IMAGES = dg.AssetSelection.assets(*(["tcia", table] for table in TABLES))

defs = dg.Definitions.merge(
    build_definitions(),
    dg.Definitions(
        jobs=[
            dg.define_asset_job("tcia_images_celery", IMAGES, executor_def=celery_executor),
        ]
    ),
)
