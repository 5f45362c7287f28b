"""Whether the image archives still are what was proven: a sample of them, as asset checks.

What belongs here: `archive.verify` and `archive.audit` by another name. The whole of either is
`tcia-assets verify`. A check is the next day's other sample, so that in time all is looked at.
What the run has fetched itself it has hashed and proven just now: it is not hashed once more.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import TciaResource
from tcia_assets.images.audit import audit_hashes
from tcia_assets.images.verify import verify_zips

_ZIPS = 20
_QUESTIONS = 5
_INTACT = "archives_intact"
_EQUAL = "hashes_equal"
_ABOUT = {
    _INTACT: f"A daily sample of {_ZIPS} zips a Collection has the SHA-256 that was proven; those "
    "that the run has just fetched and proven are not among them.",
    _EQUAL: f"The archive's own hash of {_QUESTIONS} Series a Collection, others each day, is that "
    "of what is on disk (nbia-v4; elsewhere there is nothing to compare with).",
}


def specs(names: Names) -> list[dg.AssetCheckSpec]:
    """The checks of proof on `image_archives`."""
    key = names.key(catalog.IMAGE_ARCHIVES)
    return [dg.AssetCheckSpec(name, asset=key, description=said) for name, said in _ABOUT.items()]


def results(
    names: Names,
    tcia: TciaResource,
    partitions: Sequence[str],
    just_fetched: Mapping[str, frozenset[str]],
) -> Iterator[dg.AssetCheckResult]:
    """What a sample of these Collections shows now.

    `just_fetched` are, by Collection, the Series that this run has fetched, when the checks begin.
    """
    key = names.key(catalog.IMAGE_ARCHIVES)
    yield _intact(key, tcia, partitions, just_fetched)
    yield _equal(key, tcia, partitions, just_fetched)


def _intact(
    key: dg.AssetKey,
    tcia: TciaResource,
    partitions: Sequence[str],
    just_fetched: Mapping[str, frozenset[str]],
) -> dg.AssetCheckResult:
    found = [
        verify_zips(
            name, tcia.warehouse, sample=_ZIPS, just_fetched=just_fetched.get(name, frozenset())
        )
        for name in partitions
    ]
    damaged = [f"{d.series_instance_uid}: {d.problem}" for each in found for d in each.damaged]
    checked, skipped = sum(each.checked for each in found), sum(map(len, just_fetched.values()))
    said = f"{checked} zips were hashed"
    if skipped:
        said += f"; {skipped} more this run has itself hashed and proven when it fetched them"
    return _result(key, _INTACT, damaged, said, checked=checked, just_proven=skipped)


def _equal(
    key: dg.AssetKey,
    tcia: TciaResource,
    partitions: Sequence[str],
    just_fetched: Mapping[str, frozenset[str]],
) -> dg.AssetCheckResult:
    if not tcia.source.hash_levels:
        return _result(key, _EQUAL, [], note=f"{tcia.source.name} gives no MD5 hashes")
    found = [
        audit_hashes(
            name,
            tcia.source,
            tcia.warehouse,
            sample=_QUESTIONS,
            max_requests=_QUESTIONS,
            just_fetched=just_fetched.get(name, frozenset()),
        )
        for name in partitions
    ]
    against = [uid for each in found for uid in each.differing]
    against += [f"the archive could not be asked: {e.failure}" for e in found if e.failure]
    return _result(
        key,
        _EQUAL,
        against,
        compared=sum(each.equal + len(each.differing) for each in found),
        equal=sum(each.equal for each in found),
        not_asked=sum(each.not_requested for each in found),
        not_compared=sum(each.not_compared for each in found),
    )


def _result(
    key: dg.AssetKey, name: str, against: Iterable[str], said: str | None = None, **facts: Any
) -> dg.AssetCheckResult:
    against = list(against)
    return dg.AssetCheckResult(
        passed=not against,
        check_name=name,
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        description=said,
        metadata={"against": dg.MetadataValue.json(against), **facts},
    )
