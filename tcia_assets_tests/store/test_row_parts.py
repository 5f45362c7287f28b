"""Rows that are added to a partition cost one file of bounded size, and each is there once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets.catalog import SERIES_CHANGES
from tcia_assets.errors import DataError
from tcia_assets.store.conform import align
from tcia_assets.store.partition_files import PartitionFiles
from tcia_assets.store.row_parts import append_rows, keep_rows
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.tables import damage

KEY = "LCTSC"
LIMIT = 4
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> PartitionFiles:
    return PartitionFiles(tmp_path, replace(SERIES_CHANGES, rows_per_part=LIMIT), KEY)


def events(*uids: str, event_id: str = "1 added") -> pa.Table:
    table = pa.table({"SeriesInstanceUID": pa.array(uids, pa.string())})
    return align(
        SERIES_CHANGES, table, Collection=KEY, event_id=event_id, event="added", seen_at=NOW
    )


def by_file(files: PartitionFiles) -> list[list[str]]:
    return [files.read(number)["SeriesInstanceUID"].to_pylist() for number in files.numbers()]


def test_rows_fill_the_smallest_file_and_then_a_further_one(files: PartitionFiles) -> None:
    append_rows(files, events("1.3", "1.1", "1.2"))
    append_rows(files, events("1.0"))
    assert by_file(files) == [["1.0", "1.1", "1.2", "1.3"]]
    first = files.path(0).stat()
    append_rows(files, events("1.4"))
    append_rows(files, events("1.1", event_id="2 changed"))

    assert by_file(files) == [["1.0", "1.1", "1.2", "1.3"], ["1.1", "1.4"]]
    assert files.path(0).stat() == first, "a full file is not written again"


def test_many_rows_become_several_files(files: PartitionFiles) -> None:
    append_rows(files, events(*(f"1.{n}" for n in range(9))))

    assert [len(rows) for rows in by_file(files)] == [4, 4, 1]


def test_a_larger_file_of_an_earlier_version_stays_as_it_is(files: PartitionFiles) -> None:
    files.write(0, events(*(f"1.{n}" for n in range(9))))
    append_rows(files, events("1.9"))

    assert [len(rows) for rows in by_file(files)] == [9, 1]


def test_only_files_that_lose_rows_are_written(files: PartitionFiles) -> None:
    append_rows(files, events(*(f"1.{n}" for n in range(6))))
    first = files.path(0).stat()
    keep_rows(files, lambda rows: pc.not_equal(rows["SeriesInstanceUID"], "1.5"))

    assert by_file(files) == [["1.0", "1.1", "1.2", "1.3"], ["1.4"]]
    assert files.path(0).stat() == first


def test_readers_find_the_rows_of_all_files(files: PartitionFiles, tmp_path: Path) -> None:
    append_rows(files, events(*(f"1.{n}" for n in range(6))))
    warehouse = Warehouse(tmp_path)

    assert warehouse.read(SERIES_CHANGES, [KEY]).num_rows == 6
    assert warehouse.query("SELECT count(*) AS n FROM series_changes")["n"].to_pylist() == [6]


def test_a_write_does_not_give_damage_a_valid_digest(files: PartitionFiles) -> None:
    append_rows(files, events("1.1", "1.2"))
    damage(files.path(0))
    before = files.path(0).read_bytes()

    with pytest.raises(DataError, match="it was changed after it was written"):
        append_rows(files, events("1.3"))
    with pytest.raises(DataError, match="it was changed after it was written"):
        keep_rows(files, lambda rows: pc.equal(rows["SeriesInstanceUID"], "1.1"))

    assert files.path(0).read_bytes() == before
