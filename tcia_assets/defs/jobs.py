"""Jobs: the assets that are materialized together, in one process.

When they run is in `schedules.py` and `sensors.py`.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.asset_specs import BY_COLLECTION
from tcia_assets.defs.events import OWN_EVENTS
from tcia_assets.defs.names import Names

# The type that define_asset_job returns is not exported by Dagster.
Job = Any


def collections_job(names: Names) -> str:
    """Return the name of the job that lists the Collections."""
    return names.of("list_collections")


def refresh_job(names: Names) -> str:
    """Return the name of the job for metadata."""
    return names.of("refresh")


def images_job(names: Names) -> str:
    """Return the name of the job for images."""
    return names.of("images")


def update_job(names: Names) -> str:
    """Return the name of the job for metadata and images."""
    return names.of("update")


def shared_lists_job(names: Names) -> str:
    """Return the name of the job for shared lists."""
    return names.of("refresh_shared_lists")


def clinical_job(names: Names) -> str:
    """Return the name of the job for clinical tables."""
    return names.of("clinical")


def verify_job(names: Names) -> str:
    """Return the name of the job that reads zips again."""
    return names.of("verify")


def jobs(names: Names) -> list[Job]:
    """Return the jobs over the tables of the catalog."""
    metadata = [names.key(t) for t in (catalog.COLLECTIONS, *BY_COLLECTION)]
    images = [names.key(t) for t in catalog.IMAGE_TABLES]
    both, lists = metadata + images, [names.key(catalog.SHARED_LISTS)]
    clinical = [names.key(catalog.CLINICAL_TABLES)]
    described = (
        (collections_job, metadata[:1], "Lists the Collections and makes them partitions."),
        (refresh_job, metadata, "Refreshes all metadata of Collections."),
        (images_job, images, "Fetches the selected images of Collections and reads their headers."),
        (update_job, both, "Refreshes metadata of Collections, then fetches their images."),
        (shared_lists_job, lists, "Refreshes shared lists and their Series."),
        (clinical_job, clinical, "Stores the clinical tables of Collections."),
    )
    return [
        asset_job(name(names), keys, description, OWN_EVENTS)
        for name, keys, description in described
    ]


def asset_job(
    name: str, keys: list[dg.AssetKey], description: str, tags: Mapping[str, str] | None = None
) -> Job:
    """Return a job over these assets and their checks.

    It runs in one process: starting another one for each step costs more than most steps.
    """
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*keys),
        description=description,
        executor_def=dg.in_process_executor,
        tags={"tcia": name, **(tags or {})},
    )
