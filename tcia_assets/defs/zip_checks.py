"""Asset checks of a sample of the zips: are they as they were when verified?

`tcia-assets verify` checks all of them; here a different sample is checked each day, so that in
time every zip is checked. Zips that the run itself fetched were verified just now, and are not
hashed again.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.checks import check_result, check_specs, selected_checks
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import RunResource
from tcia_assets.images.audit import audit_hashes
from tcia_assets.images.verify import verify_zips
from tcia_assets.units import counted

_ZIPS_PER_COLLECTION = 20
_HASHES_PER_COLLECTION = 5
_INTACT = "archives_intact"
_EQUAL = "hashes_equal"
_DESCRIPTIONS = {
    _INTACT: f"A daily sample of {_ZIPS_PER_COLLECTION} zips per Collection has the SHA-256 that "
    "was recorded when they were verified; zips that the run just fetched are left out.",
    _EQUAL: f"The source's own hash of {_HASHES_PER_COLLECTION} Series per Collection, others each "
    "day, is that of the zip on disk (nbia-v4; other dialects have no hashes to compare with).",
}

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
    """Check a sample of the run's Collections, if it has selected that, once this is iterated.

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
    found = [
        verify_zips(name, tcia.warehouse, sample=_ZIPS_PER_COLLECTION, just_fetched=series)
        for name, series in fetched.items()
    ]
    damaged = [f"{d.series_instance_uid}: {d.problem}" for each in found for d in each.damaged]
    checked, skipped = sum(each.checked for each in found), sum(map(len, fetched.values()))
    description = f"{counted(checked, 'zip')} hashed"
    if skipped:
        description += f"; {skipped:,} more verified by this run when fetched"
    facts = {"checked": checked, "just_proven": skipped}
    return _result(key, _INTACT, damaged, description=description, **facts)


def _check_equal(key: dg.AssetKey, tcia: RunResource, fetched: _Fetched) -> dg.AssetCheckResult:
    if not tcia.source_of_metadata.hash_levels:
        return _result(
            key, _EQUAL, [], note=f"{tcia.source_of_metadata.name} provides no MD5 hashes"
        )
    found = [
        audit_hashes(
            name,
            tcia.source_of_metadata,
            tcia.warehouse,
            sample=_HASHES_PER_COLLECTION,
            max_requests=_HASHES_PER_COLLECTION,
            just_fetched=series,
        )
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
