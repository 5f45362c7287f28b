"""The store of zips: whether it can be listed, written to, read and deleted from.

In a bucket, one small object is put and removed for it.
"""

from __future__ import annotations

from tcia_assets.doctor.step_result import StepResult, differs, ok
from tcia_assets.doctor.steps import Step
from tcia_assets.settings import Settings
from tcia_assets.store.archives import open_archives

_NAME = "zips"
# S3 refuses requests whose clock is off by a quarter of an hour.
_MOST_OFF_S = 300.0
_RETRY_S = 3.0


def archives_step(settings: Settings) -> Step:
    """Return the step about the store of zips."""
    return Step(_NAME, lambda: _archives(settings))


def _archives(settings: Settings) -> StepResult:
    archives = open_archives(
        settings.archives_url, settings.root, settings.cache_bytes, retry_s=_RETRY_S
    )
    place = archives.address("")
    ahead_s = archives.probe()
    if abs(ahead_s) > _MOST_OFF_S:
        problem = f"the clock here is {ahead_s:+.0f} s from that of {place}"
        return differs(_NAME, problem, "correct it: the store refuses what is 15 minutes off")
    done = "listed, written, read and deleted" if archives.is_shared else "can be written to"
    return ok(_NAME, f"{place}: {done}")
