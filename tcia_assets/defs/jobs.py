"""Jobs: what is run together. In one process: starting one costs more than the work.

What belongs here: selections of assets. What does not: when (`schedules.py`, `sensors.py`).
"""

from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.metadata import BY_COLLECTION
from tcia_assets.defs.names import Names

# What define_asset_job gives; Dagster does not export its type.
Job = Any


def collections_job(names: Names) -> str:
    return names.of("list_collections")


def refresh_job(names: Names) -> str:
    return names.of("refresh")


def images_job(names: Names) -> str:
    return names.of("images")


def update_job(names: Names) -> str:
    return names.of("update")


def shared_lists_job(names: Names) -> str:
    return names.of("refresh_shared_lists")


def jobs(names: Names) -> list[Job]:
    """Refresh (metadata), images, update (both), and the shared lists."""
    metadata = [names.key(t) for t in (catalog.COLLECTIONS, *BY_COLLECTION)]
    held = (catalog.IMAGE_ARCHIVES, catalog.IMAGES, catalog.REFERENCES, catalog.TARGETS)
    images = [names.key(t) for t in held]
    return [
        _job(
            collections_job(names), metadata[:1], "Lists the Collections: they are the partitions."
        ),
        _job(refresh_job(names), metadata, "Asks the archive for all metadata of Collections."),
        _job(
            images_job(names),
            images,
            "Fetches the selected images of Collections and reads their headers.",
        ),
        _job(update_job(names), metadata + images, "Metadata of Collections, then their images."),
        _job(
            shared_lists_job(names),
            [names.key(catalog.SHARED_LISTS)],
            "Asks the archive for the Series on shared lists.",
        ),
    ]


def _job(name: str, keys: list[dg.AssetKey], about: str) -> Job:
    selection = dg.AssetSelection.assets(*keys)
    # The checks of the assets come along by themselves.
    return dg.define_asset_job(
        name,
        selection=selection,
        description=about,
        executor_def=dg.in_process_executor,
        tags={"tcia": name},
    )


def image_runs(names: Names, shards: int, run_key: str, **asked: Any) -> list[dg.RunRequest]:
    """Requests for a run over images, or for one over each of so many shards of them."""
    job, op = images_job(names), names.of(catalog.IMAGE_ARCHIVES.name)
    if shards == 1:
        return [dg.RunRequest(run_key, job_name=job, **asked)]
    return [
        dg.RunRequest(
            f"{run_key}:{shard}-of-{shards}",
            {"ops": {op: {"config": {"shards": shards, "shard": shard}}}},
            job_name=job,
            **asked,
        )
        for shard in range(shards)
    ]
