"""The channels of a dataset in its plan: how many cases have each, and how surely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tcia_assets.datasets.cohort import Cohort
from tcia_assets.datasets.quality import (
    CHANNEL_AMBIGUOUS,
    CHANNEL_MISSING,
    CHANNEL_OTHER_FRAME,
    SAMPLE_CODES,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted

# Frames of reference are known of Series on disk. Of those in several frames, a build reads one.
_OTHER_FRAMES = """
    WITH read AS (
        SELECT SeriesInstanceUID AS uid, list(DISTINCT FrameOfReferenceUID) AS frames
        FROM images WHERE nullif(FrameOfReferenceUID, '') NOTNULL AND SeriesInstanceUID IN (
            SELECT SeriesInstanceUID FROM channels
            UNION SELECT image_series_instance_uid FROM channels
        ) GROUP BY ALL
    )
    SELECT c.channel, o.uid, r.uid AS reference
    FROM channels AS c JOIN read AS o ON o.uid = c.SeriesInstanceUID
    JOIN read AS r ON r.uid = c.image_series_instance_uid
    WHERE NOT list_has_any(o.frames, r.frames) ORDER BY ALL
"""


@dataclass(frozen=True)
class ChannelPlan:
    """A channel of a dataset.

    Attributes:
        name: Of the channel.
        is_reference: Whether its Series are the cases.
        cases: How many cases have a Series for it.
        modalities: These Series by Modality.
        findings: Cases by the code of what is uncertain about their Series, or missing.
        examples: The message of the first such case, by code.
    """

    name: str
    is_reference: bool
    cases: int
    modalities: Mapping[str, int]
    findings: Mapping[str, int]
    examples: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """One line about it."""
        series = " and ".join(f"{count:,} {name}" for name, count in self.modalities.items())
        found = "".join(f", {count:,} {code}" for code, count in self.findings.items())
        return f"{series or 'none'}{' (reference)' if self.is_reference else ''}{found}"


def plan_channels(cohort: Cohort, warehouse: Warehouse) -> tuple[ChannelPlan, ...]:
    """Return the channels of a cohort, in the order of their numbers; none without channels.

    Args:
        cohort: Whose channels are counted.
        warehouse: Has the frames of reference of Series on disk.
    """
    if not cohort.channels.num_rows:
        return ()
    columns = (cohort.series[name].to_pylist() for name in ("SeriesInstanceUID", "Modality"))
    modality = dict(zip(*columns, strict=True))
    rows = cohort.channels.to_pylist()
    elsewhere = _other_frames(cohort, warehouse)
    plans = []
    for name in dict.fromkeys(row["channel"] for row in rows):
        mine = [row for row in rows if row["channel"] == name]
        found = [*(row for row in mine if row["finding"]), *elsewhere.get(name, ())]
        uids = [row["SeriesInstanceUID"] for row in mine if row["SeriesInstanceUID"]]
        plans.append(
            ChannelPlan(
                name=name,
                is_reference=mine[0]["is_reference"],
                cases=len(uids),
                modalities=dict(Counter(modality[uid] or "unknown" for uid in uids).most_common()),
                findings=dict(Counter(row["finding"] for row in found).most_common()),
                examples={row["finding"]: row["message"] for row in reversed(found)},
            )
        )
    return tuple(plans)


def _other_frames(cohort: Cohort, warehouse: Warehouse) -> dict[str, list[Mapping[str, str]]]:
    """Return the finding of each Series in another frame than its case, by channel."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in warehouse.query(_OTHER_FRAMES, tables={"channels": cohort.channels}).to_pylist():
        detail = f"{row['uid']}, not as {row['reference']}"
        message = f"{SAMPLE_CODES[CHANNEL_OTHER_FRAME]}: {detail}"
        found.setdefault(row["channel"], []).append(
            {"finding": CHANNEL_OTHER_FRAME, "message": message}
        )
    return found


def channel_notes(channels: tuple[ChannelPlan, ...]) -> Iterator[str]:
    """Yield what may be a mistake about the channels."""
    for channel in channels:
        for code in (CHANNEL_MISSING, CHANNEL_AMBIGUOUS, CHANNEL_OTHER_FRAME):
            if count := channel.findings.get(code):
                yield f"{counted(count, 'case')} `{code}`, such as: {channel.examples[code]}"
