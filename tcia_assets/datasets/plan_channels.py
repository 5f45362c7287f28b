"""What a plan says about the channels of a dataset: how many cases have each, and how surely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tcia_assets.datasets.cohort import Cohort
from tcia_assets.datasets.quality import CHANNEL_AMBIGUOUS, CHANNEL_MISSING
from tcia_assets.units import counted


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


def plan_channels(cohort: Cohort) -> tuple[ChannelPlan, ...]:
    """Return the channels of a cohort, in the order of their numbers; none without channels."""
    columns = (cohort.series[name].to_pylist() for name in ("SeriesInstanceUID", "Modality"))
    modality = dict(zip(*columns, strict=True))
    rows = cohort.channels.to_pylist()
    plans = []
    for name in dict.fromkeys(row["channel"] for row in rows):
        mine = [row for row in rows if row["channel"] == name]
        found = [row for row in mine if row["finding"]]
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


def channel_notes(channels: tuple[ChannelPlan, ...]) -> Iterator[str]:
    """Yield what may be a mistake about the channels."""
    for channel in channels:
        for code in (CHANNEL_MISSING, CHANNEL_AMBIGUOUS):
            if count := channel.findings.get(code):
                yield f"{counted(count, 'case')} `{code}`, such as: {channel.examples[code]}"
