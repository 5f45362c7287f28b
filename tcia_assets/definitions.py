"""The plugin: `build_definitions` for other people's code locations, `defs` for workspace.yaml."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from tcia_assets import settings
from tcia_assets.defs import alarms, images, io, jobs, metadata, schedules, sensors
from tcia_assets.defs import datasets as declared
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import TciaResource


def build_definitions(
    *,
    key_prefix: str | Sequence[str] = "tcia",
    group_name: str | None = None,
    owners: Sequence[str] = (),
    resource: TciaResource | None = None,
    sensor_interval_s: int | None = None,
    compare_cron: str | None = None,
    datasets: str | Path | None = None,
) -> dg.Definitions:
    """The archive's assets, checks, jobs, schedules and sensors, to be merged into a project.

    `resource` holds the settings; a field that it leaves open, and all where it is None, come from
    the environment (TCIA_DIALECT, TCIA_DATA_DIR, ...) when a run starts. Everything is named after
    `key_prefix`: assets `<prefix>/series`, resources `<prefix>` and `<prefix>_io`, partitions
    `<prefix>_collections`, jobs `<prefix>_refresh`, so that two archives go into one code location;
    the second one writes below `<data dir>/<prefix>` unless it has a `data_dir` of its own. Claims
    neither the key `io_manager` nor an executor. Schedules and sensors are off until switched on.
    How often the sensor and the schedule `<prefix>_compare` look is said here, or else by
    TCIA_SENSOR_INTERVAL_S and TCIA_COMPARE_CRON as they are now.

    Each file `*.yaml` of the folder `datasets` (without it, of TCIA_DATASETS_DIR, or of `datasets`
    in the current folder, if there is one; "" for none) becomes three assets: `<name>_cohort`,
    `<name>_samples`, `<name>_dataset`, and a job `<prefix>_dataset_<name>`.

    Raises:
        UsageError: a prefix that cannot be part of a Dagster name, times that are none, or no such
            folder.
    """
    names = Names.chosen(key_prefix, group_name, owners)
    built = jobs.jobs(names)
    files = declared.sources(names, declared.folder_of(datasets))
    more = declared.jobs(files)
    return dg.Definitions(
        assets=[*metadata.assets(names), *images.assets(names), *declared.assets(files)],
        asset_checks=declared.checks(files),
        jobs=[*built, *more],
        schedules=schedules.schedules(names, settings.compare_cron(compare_cron)),
        sensors=[
            *sensors.sensors(names, built, settings.sensor_interval_s(sensor_interval_s)),
            *alarms.alarms(names, [*built, *more]),
        ],
        resources={names.resource: _resource(names, resource), names.io: io.io_manager(names)},
    )


def _resource(names: Names, given: TciaResource | None) -> TciaResource:
    resource = given or TciaResource()
    if names.name != Names().name and resource.data_dir is None and not resource.subfolder:
        # Made anew: Dagster builds the run's resource from what a resource was made of.
        chosen = {name: getattr(resource, name) for name in resource.model_fields_set}
        return type(resource)(**chosen, subfolder=names.name)
    return resource


defs = build_definitions()
