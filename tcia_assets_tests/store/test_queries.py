"""Queries share a database, name what is wrong with a statement, and can be ended."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from tcia_assets.catalog import PATIENTS
from tcia_assets.errors import Stopped, UsageError
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.tables import patients


def test_queries_share_a_database_and_do_not_affect_each_other(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    connect = sql.connect
    monkeypatch.setattr(sql, "connect", lambda: opened.append(1) or connect())
    given, asked = pa.table({"a": [1]}), "SELECT count(*) AS n FROM patients"
    assert warehouse.query(asked)["n"].to_pylist() == [0]
    warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
    assert Warehouse(warehouse.root).query(asked)["n"].to_pylist() == [1]
    assert warehouse.query("FROM given", tables={"given": given}).equals(given)
    for statement in ("FROM given", "SELEC 1", "SELECT 1 / a FROM (SELECT 'x'::INT AS a)"):
        with pytest.raises(UsageError):
            warehouse.query(statement)
    with ThreadPoolExecutor(1) as others:
        assert others.submit(warehouse.query, asked).result()["n"].to_pylist() == [1]
    warehouse.write(PATIENTS, patients("a", ["p1", "p2"]), "a")
    assert warehouse.query(asked)["n"].to_pylist() == [2]
    assert len(opened) == 1


def test_a_statement_that_duckdb_refuses_is_a_usage_error(warehouse: Warehouse) -> None:
    for statement, problem in [
        ("SELEC 1", "syntax error"),
        ("FROM serie", "serie does not exist"),
        ("SELECT NoSuchColumn FROM series", "NoSuchColumn"),
        ("DROP VIEW series", "read-only"),
        ("SELECT $1", "parameter"),
    ]:
        with pytest.raises(UsageError, match=problem):
            warehouse.query(statement)


def test_a_query_is_ended_from_another_thread_and_no_other_begins(warehouse: Warehouse) -> None:
    endless = (
        "SELECT count(*) FROM range(100000) AS a, range(10000000) AS b WHERE a.range = -b.range"
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(warehouse.query, endless)
        while not warehouse._queries.running:
            time.sleep(0.01)
        time.sleep(0.1)
        warehouse.stop()
        with pytest.raises(Stopped):
            running.result(30)
    with pytest.raises(Stopped):
        warehouse.query("SELECT 1")
    assert Warehouse(warehouse.root).query("SELECT 1").num_rows == 1


def test_a_mistake_in_a_statement_is_not_blamed_on_a_file(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="Nothing"):
        warehouse.query('SELECT "Nothing" FROM collections')
