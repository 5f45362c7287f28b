"""Croissant, read back by mlcroissant."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.datasets import formats
from tcia_assets_tests.datasets.example_dataset import (
    MEMBERS,
    TITLE,
    example_info,
)
from tcia_assets_tests.datasets.formats.written import written


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from libraries of mlcroissant
def test_mlcroissant_finds_no_error_and_reads_the_records(
    tmp_path: Path, samples: pa.Table
) -> None:
    import mlcroissant
    from absl import logging

    # absl keeps the stderr of its import, which is pytest's, and closes it with Dagster's logging.
    logging.get_absl_handler().python_handler.stream = sys.__stderr__

    formats.write("croissant", tmp_path, samples, example_info(released="2020-01-02"))
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings and str(dataset.metadata.date_published).startswith("2020-01-02")
    records = list(dataset.records("samples"))
    assert len(records) == len(MEMBERS)
    for record in records:
        member = next(m for m in MEMBERS if m.uid.encode() == record["samples/SeriesInstanceUID"])
        assert record["samples/part"] == (member.part.encode() if member.part else None)
        assert record["samples/state"] == (b"kept" if member.is_kept else b"dropped")
        if member.is_kept:
            path = tmp_path / record["samples/image"].decode()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert record["samples/image_sha256"] == digest.encode()


def test_croissant_holds_hash_licences_sources_and_splits(
    tmp_path: Path, samples: pa.Table
) -> None:
    formats.write("croissant", tmp_path, samples, example_info())
    told = written(tmp_path, "croissant.json")
    table, images, labels = told["distribution"]
    content = (tmp_path / "samples.parquet").read_bytes()
    assert table["sha256"] == hashlib.sha256(content).hexdigest()
    assert (images["includes"], labels["includes"]) == ("images/*.nii.gz", "labels/*.nii.gz")
    assert told["license"] == [
        "not given",
        "https://creativecommons.org/licenses/by-nc/3.0/",
        "https://creativecommons.org/licenses/by/3.0/",
        "https://creativecommons.org/licenses/by/4.0/",
    ]
    assert any("https://doi.org/10.7937/drawn" in source for source in told["citation"])
    assert told["alternateName"] == TITLE
    assert told["recordSet"][0]["data"] == [
        {"parts/name": "train", "parts/url": "cr:TrainingSplit"},
        {"parts/name": "val", "parts/url": "cr:ValidationSplit"},
        {"parts/name": "test", "parts/url": "cr:TestSplit"},
    ]
