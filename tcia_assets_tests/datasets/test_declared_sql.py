"""SQL of a declaration runs in the warehouse, and its errors have the line of their key."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tcia_assets.datasets.declared_sql import run_declared
from tcia_assets.errors import BadDeclaration
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import declared


def test_a_failing_statement_has_the_line_of_its_key(warehouse: Warehouse) -> None:
    given = {"own": pa.table({"n": [1, 2]})}
    found = run_declared(declared(), "cohort", warehouse, "SELECT sum(n) AS n FROM own", given)
    assert found["n"].to_pylist() == [3]
    with pytest.raises(BadDeclaration, match=r"cohort.*the query fails") as raised:
        run_declared(declared(), "cohort", warehouse, "SELECT nothing FROM own", given)
    assert raised.value.line > 1
