"""The whole plugin as Dagster definitions; `definitions.py` makes those of this repository."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from tcia_assets import settings
from tcia_assets.defs import (
    alarms,
    catalogue,
    cleanup,
    clinical,
    images,
    io_manager,
    jobs,
    metadata,
    mirror,
    schedules,
    sensors,
    zip_checks,
)
from tcia_assets.defs import datasets as dataset_defs
from tcia_assets.defs.dataset_files import dataset_files, datasets_folder
from tcia_assets.defs.names import Names
from tcia_assets.defs.old_runs import Ours
from tcia_assets.defs.resource import TciaResource
from tcia_assets.errors import UsageError


def build_definitions(
    *,
    key_prefix: str | Sequence[str] = "tcia",
    group_name: str | None = None,
    owners: Sequence[str] = (),
    resource: TciaResource | None = None,
    sensor_interval_s: int | None = None,
    compare_cron: str | None = None,
    datasets: str | Path | None = None,
    op_tags: Mapping[str, Any] | None = None,
    metadata_pool: str | None = None,
    images_pool: str | None = None,
    datasets_pool: str | None = None,
    get_asset_spec: Callable[[dg.AssetSpec], dg.AssetSpec] | None = None,
) -> dg.Definitions:
    """Return the plugin: assets, checks, jobs, schedules and sensors, to merge into a project.

    Schedules and sensors are off until switched on. Neither the resource key `io_manager` nor an
    executor is defined, so your own stay in use. Two sets with different prefixes fit into one code
    location.

    Args:
        key_prefix: Prefix of all names: assets `<prefix>/series`, resources `<prefix>` and
            `<prefix>_io`, partitions `<prefix>_collections`, jobs `<prefix>_refresh`. With another
            prefix than "tcia", data are stored below `<data dir>/<prefix>`, unless the resource has
            a `data_dir` of its own.
        group_name: What the asset groups begin with, `<group_name>_metadata`, `_images` and
            `_datasets`; the prefix by default.
        owners: Owners of all assets, such as "team:imaging".
        resource: The settings. A field that is not given is read from the environment
            (TCIA_DIALECT, TCIA_DATA_DIR, ...) when a run starts.
        sensor_interval_s: Seconds between ticks of the sensor; TCIA_SENSOR_INTERVAL_S by default.
        compare_cron: When the schedule `<prefix>_compare` runs; TCIA_COMPARE_CRON by default.
        datasets: Folder of dataset declarations, "" for none; by default TCIA_DATASETS_DIR, or the
            folder `datasets` if it exists. Each file NAME.yaml becomes the assets `NAME_cohort`,
            `NAME_samples` and `NAME_dataset`, and the job `<prefix>_dataset_NAME`.
        op_tags: Tags of all steps, for an executor or a run launcher that reads them.
        metadata_pool: Dagster pool of the steps that refresh metadata; none by default.
        images_pool: Pool of the step that fetches images; `<prefix>_images` by default.
        datasets_pool: Pool of the steps that build and verify datasets; none by default.
        get_asset_spec: Returns what to show of an asset: its description, group, tags and such. It
            is given what is shown otherwise, and must keep the key.

    Returns:
        The definitions; `dg.Definitions.merge` joins them with your own.

    Raises:
        UsageError: The prefix cannot be part of a Dagster name, the interval or cron line is not
            valid, the folder does not exist, or `get_asset_spec` changes a key.
    """
    names = Names.chosen(
        key_prefix,
        group_name,
        owners,
        op_tags,
        metadata=metadata_pool,
        images=images_pool,
        datasets=datasets_pool,
    )
    table_jobs = [*jobs.jobs(names), zip_checks.job(names), catalogue.job(names)]
    files = dataset_files(names, datasets_folder(datasets))
    dataset_jobs = dataset_defs.jobs(files)
    assets = [
        *metadata.assets(names),
        clinical.asset(names),
        *images.assets(names),
        mirror.asset(names),
        catalogue.asset(names),
        *dataset_defs.assets(files),
    ]
    ours = Ours.of([*table_jobs, *dataset_jobs], assets)
    interval_s = settings.read_alone("sensor_interval_s", sensor_interval_s)
    return dg.Definitions(
        assets=_shown(assets, get_asset_spec),
        asset_checks=[mirror.check(names), *dataset_defs.checks(files)],
        jobs=[*table_jobs, *dataset_jobs, cleanup.job(names, ours)],
        schedules=[
            *schedules.schedules(names, settings.read_alone("compare_cron", compare_cron)),
            clinical.schedule(names),
            zip_checks.schedule(names),
            cleanup.schedule(names),
        ],
        sensors=[
            *sensors.sensors(names, table_jobs, interval_s),
            *alarms.alarms(names, [*table_jobs, *dataset_jobs]),
            catalogue.sensor(names),
        ],
        resources={
            names.resource: _resource(names, resource),
            names.io: io_manager.io_manager(names),
        },
    )


def _shown(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec],
    get_asset_spec: Callable[[dg.AssetSpec], dg.AssetSpec] | None,
) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    if get_asset_spec is None:
        return assets

    def change(spec: dg.AssetSpec) -> dg.AssetSpec:
        changed = get_asset_spec(spec)
        if changed.key != spec.key:  # which runs, jobs and sensors know
            raise UsageError(
                f"get_asset_spec gives {spec.key.to_user_string()} the key "
                f"{changed.key.to_user_string()}; keys can be changed by key_prefix only"
            )
        return changed

    return list(dg.map_asset_specs(change, assets))


def _resource(names: Names, given: TciaResource | None) -> TciaResource:
    resource = given or TciaResource()
    if names.name != Names().name and resource.data_dir is None and not resource.subfolder:
        # A new object, since Dagster builds a run's resource from the arguments of this one.
        chosen = {name: getattr(resource, name) for name in resource.model_fields_set}
        return type(resource)(**chosen | {"subfolder": names.name})
    return resource
