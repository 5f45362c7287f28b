"""Asset checks of some of the zips: are they as they were when verified?

`tcia-assets verify` checks all of them; here those that are due today, so that each is read within
TCIA_VERIFY_DAYS. A run that fetches images reads a gigabyte of those of its Collections, so that
one more Series stays cheap; the schedule `verify_daily` reads all that are due.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.checks import check_result, check_specs, selected_checks
from tcia_assets.defs.jobs import verify_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import RunResource
from tcia_assets.errors import TciaError
from tcia_assets.images.audit import audit_sample
from tcia_assets.images.verify import VerifyResult, find_known_damage, verify_parts
from tcia_assets.images.zip_parts import due_parts
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted

# What a run that fetches images reads; the job `verify` has hours, and no other limit.
_MINUTES_AFTER_FETCH = 1
_BYTES_AFTER_FETCH = 1 << 30
_MINUTES_A_DAY = 240
_HASHES_PER_COLLECTION = 5
_CRON = "0 6 * * *"
_INTACT = "archives_intact"
_EQUAL = "hashes_equal"
_DESCRIPTIONS = {
    _INTACT: "The zips that are due today have the SHA-256 that was recorded when they were "
    "verified. Each is due within TCIA_VERIFY_DAYS, those that were not read for longest first. A "
    "zip of any Collection that was found damaged fails it until it is fetched again, or is read "
    "as it was.",
    _EQUAL: f"The source's own hash of {_HASHES_PER_COLLECTION} Series per Collection, others each "
    "day, is that of the zip on disk (nbia-v4; other dialects have no hashes to compare with).",
}
_JOB_DESCRIPTION = "Reads the zips that are due today, and evaluates the check `archives_intact`."
_SCHEDULE_DESCRIPTION = (
    "Reads, every day at 6, as many zips as make all of them in TCIA_VERIFY_DAYS, those that were "
    "not read for longest first, for four hours at most."
)

# The Series of a Collection that the run fetched, by Collection.
_Fetched = dict[str, frozenset[str]]


def specs(names: Names) -> list[dg.AssetCheckSpec]:
    """Return the checks of zips, which belong to `image_archives`."""
    return check_specs(names.key(catalog.IMAGE_ARCHIVES), _DESCRIPTIONS)


def results(
    context: dg.AssetExecutionContext,
    names: Names,
    tcia: RunResource,
    just_fetched: Mapping[str, frozenset[str]],
) -> Iterator[dg.AssetCheckResult]:
    """Check a sample of the run's Collections, if it has selected that.

    Nothing is read before this is iterated.

    Args:
        context: The context of the step.
        names: The names of the assets.
        tcia: The source and the warehouse.
        just_fetched: The Series that the run fetched, by Collection; read when the checks begin.
    """
    key = names.key(catalog.IMAGE_ARCHIVES)
    selected = selected_checks(context, key)
    fetched = {name: just_fetched.get(name, frozenset()) for name in context.partition_keys}
    if _INTACT in selected:
        yield _check_intact(key, tcia, fetched)
    if _EQUAL in selected:
        yield _check_equal(key, tcia, fetched)


def _check_intact(key: dg.AssetKey, tcia: RunResource, fetched: _Fetched) -> dg.AssetCheckResult:
    found = _read_due(tcia, list(fetched), _MINUTES_AFTER_FETCH, _BYTES_AFTER_FETCH)
    skipped = sum(map(len, fetched.values()))
    damage = _damage(found, tcia.warehouse)
    description = _describe(found, damage)
    if skipped:
        description += f"; {skipped:,} more verified by this run when fetched"
    facts = {"checked": found.checked, "just_proven": skipped, "left": found.left}
    return _result(key, _INTACT, damage, description=description, **facts)


def _read_due(
    tcia: RunResource, collections: Sequence[str], minutes: float, max_bytes: float = math.inf
) -> VerifyResult:
    """Read zips of Collections that are due today, for some minutes and bytes at most."""
    until = time.monotonic() + 60 * minutes
    now, days = datetime.now(UTC), tcia.settings.verify_days
    due = due_parts(tcia.warehouse, collections, days, now)
    # The first part is always read: without this, one that is larger would never be.
    before = accumulate((part.bytes for part in due), initial=0)
    chosen = [part for part, size in zip(due, before, strict=False) if size < max_bytes]
    found = verify_parts(chosen, tcia.warehouse, until=until)
    return replace(found, left=found.left + sum(part.zips for part in due[len(chosen) :]))


def _describe(found: VerifyResult, damage: Sequence[str]) -> str:
    restored = f", {found.restored:,} complete again" if found.restored else ""
    left = f", {found.left:,} more are due" if found.left else ""
    # Most may have been found damaged before, when others were due.
    damaged = f"; {len(damage):,} damaged, such as {damage[0]}" if damage else ""
    return f"{counted(found.checked, 'zip')} hashed{restored}{left}{damaged}"


def _damage(found: VerifyResult, warehouse: Warehouse) -> list[str]:
    """Return a line for each damaged zip: those that were just found, and those known before."""
    unknown = []
    try:
        known = find_known_damage(warehouse)
    except TciaError as error:
        known, unknown = [], [f"zips that were found damaged before do not count: {error}"]
    problems = {each.series_instance_uid: each.problem for each in (*found.damaged, *known)}
    return [*(f"{uid}: {problem}" for uid, problem in sorted(problems.items())), *unknown]


def _check_equal(key: dg.AssetKey, tcia: RunResource, fetched: _Fetched) -> dg.AssetCheckResult:
    if not tcia.source_of_metadata.hash_levels:
        return _result(
            key, _EQUAL, [], note=f"{tcia.source_of_metadata.name} provides no MD5 hashes"
        )
    found = [
        audit_sample(name, tcia.source_of_metadata, tcia.warehouse, _HASHES_PER_COLLECTION, series)
        for name, series in fetched.items()
    ]
    problems = [uid for each in found for uid in each.differing]
    problems += [f"not checked: {each.failure}" for each in found if each.failure]
    return _result(
        key,
        _EQUAL,
        problems,
        compared=sum(each.equal + len(each.differing) for each in found),
        equal=sum(each.equal for each in found),
        not_asked=sum(each.not_requested for each in found),
        not_compared=sum(each.not_compared for each in found),
    )


def _result(key: dg.AssetKey, name: str, problems: list[str], **facts: Any) -> dg.AssetCheckResult:
    against = dg.MetadataValue.json(problems)
    return check_result(key, name, passed=not problems, against=against, **facts)


# --- All zips, a part of them each day ------------------------------------------------------------


class VerifyConfig(dg.Config):
    """Configuration of a run that reads the zips that are due."""

    minutes: int = _MINUTES_A_DAY
    """How long it may take; what is left is read first the next day."""


def job(names: Names) -> dg.JobDefinition:
    """Return the job that reads the zips of all Collections that are due today."""
    op_name = verify_job(names)

    @dg.op(name=f"{op_name}_zips", required_resource_keys={names.resource})
    def verify_zips(context: dg.OpExecutionContext, config: VerifyConfig) -> None:
        """Read them, oldest first; a zip that is damaged is fetched again by the next fetch."""
        tcia: RunResource = getattr(context.resources, names.resource)
        found = _read_due(tcia, tcia.warehouse.keys(catalog.IMAGE_ARCHIVES), config.minutes)
        damage = _damage(found, tcia.warehouse)
        context.instance.report_runless_asset_event(_evaluation(names, found, damage))
        context.log.info(_describe(found, damage))

    @dg.job(
        name=op_name,
        description=_JOB_DESCRIPTION,
        executor_def=dg.in_process_executor,
        tags={"tcia": op_name},
    )
    def verify() -> None:
        verify_zips()

    return verify


def _evaluation(names: Names, found: VerifyResult, damage: list[str]) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=names.key(catalog.IMAGE_ARCHIVES),
        check_name=_INTACT,
        passed=not damage,
        severity=dg.AssetCheckSeverity.WARN,
        description=_describe(found, damage),
        metadata={
            "against": dg.MetadataValue.json(damage),
            "checked": found.checked,
            "left": found.left,
        },
    )


def schedule(names: Names) -> dg.ScheduleDefinition:
    """Return the daily schedule of that job, which is off until switched on."""
    return dg.ScheduleDefinition(
        name=f"{verify_job(names)}_daily",
        job_name=verify_job(names),
        cron_schedule=_CRON,
        description=_SCHEDULE_DESCRIPTION,
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
