"""The result of a refresh: what it has beside the partition that was written."""

from __future__ import annotations

from pathlib import Path

from tcia_assets.catalog import PATIENTS
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sources import Cost
from tcia_assets.store.warehouse import WriteResult


def test_a_result_claims_all_fields_and_has_no_facts_by_default() -> None:
    written = WriteResult(Path("part-0.parquet"), rows=3, bytes_on_disk=99, changed=True)
    result = RefreshResult(PATIENTS, "a", written, 1, Cost(2, 70), 0.5)
    assert (result.unclaimed, result.facts) == ((), {})
