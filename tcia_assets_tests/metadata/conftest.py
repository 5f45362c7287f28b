"""Fixtures of the tests of metadata."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import SERIES, SHARED_LISTS
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day
from tcia_assets_tests.same_path import tmp_path

__all__ = ["tmp_path"]


@pytest.fixture(scope="session")
def first_day_root(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the Series of the small Collection, refreshed on the first day."""
    served.reset()
    made = SandboxMirror(served, tmp_path_factory.mktemp("first_day"))
    with made.source:
        made.refresh(day(1), SMALL)
    made.known()  # it writes the files that all later queries need
    return made.warehouse.root


@pytest.fixture
def mirror(first_day_root: Path, sandbox: Sandbox, tmp_path: Path) -> Iterator[SandboxMirror]:
    made = SandboxMirror(sandbox, tmp_path, first_day_root)
    with made.source:
        yield made


@pytest.fixture
def warehouse_with_lists(tmp_path: Path) -> Warehouse:
    """Series 1.1 to 1.5 of two Collections, 1.9 withdrawn, and two shared lists."""
    warehouse = Warehouse(tmp_path / "data")
    now = datetime.now(UTC)
    for collection, uids in {
        "LCTSC": ["1.1", "1.2", "1.9"],
        "4D-Lung": ["1.3", "1.4", "1.5"],
    }.items():
        rows = pa.table(
            {
                "SeriesInstanceUID": uids,
                "Modality": ["CT", "RTSTRUCT", "CT"],
                "first_seen_at": [now] * 3,
                "changed_at": [now] * 3,
                "missing_snapshots": [0] * 3,
                "withdrawn_at": [now if uid == "1.9" else None for uid in uids],
            }
        )
        warehouse.write(SERIES, conform(SERIES, rows, Collection=collection), collection)
    for name, uids in {"My List": ["1.1", "1.3"], "other": ["1.5", "1.7"]}.items():
        rows = pa.table({"SeriesInstanceUID": uids})
        warehouse.write(SHARED_LISTS, conform(SHARED_LISTS, rows, list_name=name), name)
    return warehouse
