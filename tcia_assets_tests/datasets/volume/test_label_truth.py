"""Random cases against analytic truth: no label is wrong in silence.

In each case, labels are right to the stated tolerance, or a finding names what is uncertain, or the
sample is dropped. Cases without anything uncertain have no finding.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP
from tcia_assets.datasets.volume.arrays import Labels
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.analytic import Case, make_case
from tcia_assets_tests.datasets.volume.synthetic import finding_codes, write_zip
from tcia_assets_tests.datasets.volume.synthetic_labels import volume_of

TUMOUR = LabelPatterns.compile({"tumour": "GTV"})
CASES, BATCH = 1000, 25
# A fortieth in `make test`, all in `make test-all`.
BATCHES = [
    pytest.param(first, marks=[] if first < CASES // 40 else pytest.mark.slow)
    for first in range(0, CASES, BATCH)
]
# Findings that say that labels may differ from what was meant, and where.
UNCERTAIN = {
    "contours_between_slices",
    "frames_off_grid",
    "label_gaps",
    "label_gaps_filled",
    "overlapping_contours",
    "several_readers",
}


def read(case: Case, folder: Path) -> Labels:
    """Read a case from zips; only each tenth image is written, which takes most of the time."""
    paths = [
        write_zip(folder / f"{case.number}-{place}.zip", [made], stored=True)
        for place, made in enumerate(case.objects)
    ]
    volume = volume_of(case.series)
    if case.number % 10 == 0:
        volume = read_volume(write_zip(folder / f"{case.number}.zip", case.series.objects()))
    return read_labels(paths, volume, TUMOUR, choices=case.choices)


def possible(case: Case) -> tuple[Any, Any]:
    """Return the voxels that must have the label, and those that may have it."""
    drawn = case.drawn()
    votes = drawn.sum(axis=0)
    if case.choices.readers == "first":
        return drawn[0], drawn[0]
    if case.choices.readers == "majority":
        return 2 * votes > len(drawn), 2 * votes > len(drawn)
    if case.choices.readers == "staple":
        return votes == len(drawn), votes > 0
    if case.choices.readers == "each":
        return drawn, drawn
    return votes > 0, votes > 0


def faults(case: Case, labels: Labels) -> list[str]:
    """Return what is wrong with the labels of a case."""
    codes = set(finding_codes(labels))
    found = []
    if missing := case.uncertain - codes:
        found.append(f"not reported: {', '.join(sorted(missing))}")
    if more := (codes & UNCERTAIN) - case.uncertain:
        found.append(f"reported without a reason: {', '.join(sorted(more))}")
    if any(DEFAULT_POLICIES[code] == DROP for code in codes):
        return found
    must, may = possible(case)
    has = labels.voxels == 1
    wrong = ((must & ~has) | (has & ~may)) & case.is_far()
    if wrong.any():
        found.append(f"{wrong.sum()} voxels are wrong by more than {case.tolerance:.2f} mm")
    return found


@pytest.mark.parametrize("first", BATCHES)
def test_no_label_is_wrong_in_silence(tmp_path: Path, first: int) -> None:
    wrong = {}
    for number in range(first, first + BATCH):
        case = make_case(number)
        if found := faults(case, read(case, tmp_path)):
            wrong[number] = (found, case.choices, sorted(case.uncertain))
    assert wrong == {}


def test_cases_are_of_all_kinds() -> None:
    cases = [make_case(number) for number in range(40)]
    kinds = Counter(code for case in cases for code in case.uncertain)
    assert kinds.keys() == UNCERTAIN
    assert sum(not case.uncertain for case in cases) >= 5
    assert all(np.isfinite(case.points).all() for case in cases[:3])
