"""What is true of a dataset as a whole, for whoever writes it down: formats and the card.

What belongs here: the noun. What does not: what is true of a sample (`samples.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.cohort import SERIES, TARGET, Cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.metadata.citations import POLICY


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset, apart from its samples.

    `settings` are `Declaration.settings`; `labels` the names of labels by their number, from 1,
    none without a target; `parts` those of the split in their order, of which the first may have
    `folds` (0: none); `made_with` the versions of what made it; `policy` the address of the
    archive's data usage policy; `masks` the Series of SEG and RTSTRUCT, as `cohort.SERIES`, which
    have licences and authors of their own. Nothing here says when or where it was made.
    """

    name: str
    title: str
    settings: Mapping[str, Any]
    labels: Mapping[int, str]
    splits: tuple[str, ...]
    folds: int
    cohort_sha256: str
    made_with: Mapping[str, str]
    policy: str = POLICY
    masks: pa.Table = field(default_factory=SERIES.empty_table, compare=False, repr=False)

    @classmethod
    def of(
        cls, declaration: Declaration, cohort: Cohort, made_with: Mapping[str, str]
    ) -> DatasetInfo:
        target = declaration.target
        return cls(
            name=declaration.name,
            title=declaration.title,
            settings=declaration.settings,
            labels={} if target is None else target.patterns.by_number,
            splits=declaration.split.splits,
            folds=declaration.split.folds,
            cohort_sha256=cohort.sha256,
            made_with=made_with,
            masks=cohort.of_role(TARGET),
        )
