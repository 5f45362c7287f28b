"""The result of a refresh has the cost of the reply that filled the partition."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tcia_assets.catalog import PATIENTS
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sources import SourceRows
from tcia_assets.store.warehouse import WriteResult


def test_a_result_of_one_reply() -> None:
    written = WriteResult(Path("part-0.parquet"), rows=3, bytes_on_disk=99, changed=True)
    reply = SourceRows(pa.table({}), unclaimed=("X",), requests=2, size_bytes=70, seconds=0.5)
    result = RefreshResult.of(PATIENTS, "a", written, 1, reply, {"new": 2})
    assert result == RefreshResult(PATIENTS, "a", written, 1, 2, 70, 0.5, ("X",), {"new": 2})
