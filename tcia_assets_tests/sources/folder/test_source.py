"""A folder answers as any source does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import (
    COLLECTIONS,
    MODALITY_VALUES,
    PATIENTS,
    SERIES,
    STUDIES,
)
from tcia_assets.errors import Stopped, UnknownReply
from tcia_assets.settings import Settings
from tcia_assets.sources import Target, open_folder
from tcia_assets.sources.folder.source import FolderSource
from tcia_assets.store.conform import conform
from tcia_assets_tests.conftest import BY_COLLECTION
from tcia_assets_tests.dicom_folder import write_series

NAME = "Mine"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[FolderSource]:
    study = {"StudyInstanceUID": "1.7", "PatientID": "P1"}
    write_series(tmp_path / "in", "1.2.3", 3, **study)
    write_series(tmp_path / "in", "1.2.4", 1, Modality="MG", **study)
    write_series(tmp_path / "in", "1.2.5", 2)
    with open_folder(Settings(data_dir=str(tmp_path / "data")), tmp_path / "in", NAME) as source:
        yield source


def test_rows_are_made_from_headers(source: FolderSource) -> None:
    rows = conform(SERIES, source.rows(SERIES, NAME).table, **_ours()).to_pylist()
    assert [(r["SeriesInstanceUID"], r["ImageCount"], r["Modality"]) for r in rows] == [
        ("1.2.3", 3, "CT"),
        ("1.2.4", 1, "MG"),
        ("1.2.5", 2, "CT"),
    ]
    assert {r["Collection"] for r in rows} == {NAME} and all(r["FileSize"] for r in rows)
    [study, other] = source.rows(STUDIES, NAME).table.to_pylist()
    assert (study["StudyInstanceUID"], study["SeriesCount"]) == ("1.2.5.1", 1)
    assert (other["StudyInstanceUID"], other["SeriesCount"], other["PatientID"]) == ("1.7", 2, "P1")
    assert source.rows(PATIENTS, NAME).table["PatientID"].to_pylist() == ["P1", "P1.2.5"]
    assert source.rows(MODALITY_VALUES, NAME).table["Modality"].to_pylist() == ["CT", "MG"]
    assert source.rows(COLLECTIONS).table["Collection"].to_pylist() == [NAME]


def _ours() -> dict[str, object]:
    now = datetime.now(UTC)
    return {"first_seen_at": now, "changed_at": now, "missing_snapshots": 0}


def test_each_table_of_a_source_has_rows_of_its_columns(source: FolderSource) -> None:
    for table in BY_COLLECTION:
        found = source.rows(table, NAME).table
        assert set(found.column_names) <= set(table.column_names)


def test_a_series_that_is_gone_is_certain(source: FolderSource) -> None:
    missing = pa.table({"SeriesInstanceUID": ["1.2.4", "9.9"], "StudyInstanceUID": ["1", "2"]})
    assert list(source.probe(NAME, missing, missing[:0], 5).gone) == ["9.9"]
    expected = source.expects(pa.table({"source": ["local-folder@localhost", "nbia-v4@h"]}))
    assert expected.to_pylist() == [True, False]


def test_what_it_does_not_have_is_an_error_and_a_stopped_one_answers_nothing(
    source: FolderSource, tmp_path: Path
) -> None:
    with pytest.raises(UnknownReply, match="does not have this Series"):
        source.fetch_zip("files", "9.9", Target(tmp_path / "a.zip"))
    with pytest.raises(UnknownReply, match="no Collection 'Other'"):
        source.rows(SERIES, "Other")
    source.stop()
    with pytest.raises(Stopped):
        source.fetch_zip("files", "1.2.3", Target(tmp_path / "a.zip"))
