"""The asset `catalogue`: the HTML pages, brought up to date after each refresh and fetch.

It is no part of these runs, which must not wait for it, nor fail with it: a sensor requests a run
of its own when the asset `mirror` has an event, which each refresh and fetch records. Pages are
written again only where something has changed.
"""

from typing import Any

import dagster as dg

from tcia_assets.defs.jobs import Job, asset_job
from tcia_assets.defs.mirror import MIRROR
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import resource_of
from tcia_assets.defs.run_process import tag_with_process
from tcia_assets.pages.build import Catalogue, build_catalogue
from tcia_assets.progress import report

CATALOGUE = "catalogue"

_DESCRIPTION = """\
The HTML catalogue of the mirror: Collections, Series on disk, changes and datasets, as pages that
need no server and no network.

Written again where something has changed, after each refresh and fetch if the sensor `{sensor}` is
on. Plots: `pages`, `bytes` of all files, `files_written` and `files_removed`."""
_SENSOR_DESCRIPTION = (
    "Requests a run of the asset `catalogue` when a refresh or a fetch has ended, also one by the "
    "command line. Several that end while a run is going on cause one run after it."
)


def catalogue_job(names: Names) -> str:
    """Return the name of the job that writes the catalogue."""
    return names.of(CATALOGUE)


def asset(names: Names) -> dg.AssetsDefinition:
    """Return the asset `catalogue`."""
    spec = dg.AssetSpec(
        names.key(CATALOGUE),
        deps=[names.key(MIRROR)],
        description=_DESCRIPTION.format(sensor=names.of("catalogue_updates")),
        group_name=names.group_of("metadata"),
        owners=list(names.owners),
        kinds={"html"},
        automation_condition=dg.AutomationCondition.eager(),
    )

    @dg.multi_asset(
        name=names.of("catalogue_pages"),
        specs=[spec],
        required_resource_keys={names.resource},
        **names.step_options("metadata"),
    )
    def catalogue(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        """Write the pages of what has changed."""
        tag_with_process(context)
        tcia = resource_of(context, names)
        made = build_catalogue(
            tcia.warehouse,
            selection=tcia.selection,
            report=lambda done, total: report(done, total, "pages"),
        )
        return dg.MaterializeResult(asset_key=spec.key, metadata=_facts(made))

    return catalogue


def event(names: Names, made: Catalogue) -> dg.AssetMaterialization:
    """Return the event of a catalogue that was written without a run."""
    return dg.AssetMaterialization(names.key(CATALOGUE), metadata=_facts(made))


def _facts(made: Catalogue) -> dict[str, Any]:
    return {
        # A path to copy: a browser follows no link from Dagster's page to a file.
        "page": dg.MetadataValue.path(str(made.index)),
        "pages": made.pages,
        "bytes": made.bytes,
        "files_written": made.written,
        "files_removed": made.removed,
    }


def job(names: Names) -> Job:
    """Return the job that writes the catalogue."""
    about = "Writes the HTML catalogue where something has changed."
    return asset_job(catalogue_job(names), [names.key(CATALOGUE)], about)


def sensor(names: Names) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that keeps the catalogue up to date, which is off until switched on."""
    return dg.AutomationConditionSensorDefinition(
        names.of("catalogue_updates"),
        target=dg.AssetSelection.assets(names.key(CATALOGUE)),
        description=_SENSOR_DESCRIPTION,
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=60,
    )
