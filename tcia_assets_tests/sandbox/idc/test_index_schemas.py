"""The files of the sandbox have the columns and types of the real ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tcia_assets.sandbox.idc.index_schemas import SCHEMAS


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_that_of_the_installed_index(name: str) -> None:
    found = importlib.util.find_spec("idc_index_data")
    if found is None or found.origin is None:
        pytest.skip("needs the package idc_index_data")
    real = pq.read_schema(Path(found.origin).with_name(f"{name}.parquet"))
    assert SCHEMAS[name].equals(real.remove_metadata())
