"""Series lists, read back by an image selection."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.datasets import formats
from tcia_assets.metadata import selection
from tcia_assets_tests.datasets.example_dataset import (
    KEPT,
    MASK,
    SPLITS,
    example_info,
)


@pytest.mark.parametrize("ending", ["csv", "tcia"])
def test_the_series_list_can_be_selected_from(
    tmp_path: Path, samples: pa.Table, ending: str
) -> None:
    formats.write("retriever", tmp_path, samples, example_info())
    path = tmp_path / "retriever" / f"lung_ct.{ending}"
    chosen = selection.Selection(manifests=(str(path),))
    expected = sorted([*(member.uid for member in KEPT), MASK])
    assert chosen.named_series.to_pylist() == expected


def test_each_split_has_a_list(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("retriever", tmp_path, samples, example_info())
    for part, uids in SPLITS.items():
        text = (tmp_path / "retriever" / f"lung_ct-{part}.csv").read_text()
        assert text.splitlines() == ["SeriesInstanceUID", *uids, MASK]
