"""A source that counts as gone: one failed check, and one alarm."""

from datetime import UTC, datetime

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.checks import SOURCE_ANSWERS
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import TciaResource
from tcia_assets.metadata.source_outage import Outage, find_outage

_INTERVAL_S = 3600


_Event = dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation


def gone_events(names: Names, outage: Outage | None) -> list[_Event]:
    """Return the result of the check `source_answers`.

    Args:
        names: The names of the assets.
        outage: The outage for which it fails; None if the source answers again.
    """
    return [
        dg.AssetCheckEvaluation(
            asset_key=names.key(catalog.COLLECTIONS),
            check_name=SOURCE_ANSWERS,
            passed=outage is None,
            severity=dg.AssetCheckSeverity.ERROR,
            description=str(outage) if outage else None,
        )
    ]


def gone_alarm(names: Names) -> dg.SensorDefinition:
    """Return the sensor that logs one line when the source counts as gone, off until switched on.

    Its cursor is the moment of the first failure: each outage has one alarm.
    """

    @dg.sensor(
        name=names.of("source_gone"),
        description=(
            "Writes one line to the log, once, if the source has not answered for "
            "TCIA_SOURCE_GONE_DAYS. Sends no request."
        ),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={names.resource},
    )
    def source_gone(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        tcia: TciaResource = getattr(context.resources, names.resource)
        outage = find_outage(tcia.warehouse, tcia.settings, datetime.now(UTC))
        if outage is None or not outage.is_gone:
            return dg.SkipReason(str(outage or f"{tcia.settings.address} answered last time"))
        if context.cursor != outage.since.isoformat():
            context.log.error(str(outage))
            context.update_cursor(outage.since.isoformat())
        return dg.SkipReason(str(outage))

    return source_gone
