"""DuckDB as this package uses it: the same everywhere."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time

import pytest

from tcia_assets.store import sql

pytestmark = pytest.mark.duckdb

NEW_YEAR = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
@pytest.mark.parametrize("opened", [sql.connect, sql.scratch], ids=lambda f: f.__name__)
def test_instants_are_in_utc_wherever_the_machine_is(opened) -> None:
    with opened() as connection:
        statement = "SELECT TIMESTAMP '2020-01-01'::TIMESTAMPTZ AS at"
        assert sql.fetch_table(connection, statement)["at"][0].as_py() == NEW_YEAR


def test_cursors_of_many_threads_do_not_disturb_each_other() -> None:
    found = []

    def count(upto: int) -> None:
        with sql.scratch() as connection:
            found.append(connection.execute("SELECT count(*) FROM range(?)", [upto]).fetchall())

    threads = [threading.Thread(target=count, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [[(n,)] for n in range(50)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("FROM a; FROM b", "it holds 2 statements"),
        (" -- nothing", "it is empty"),
        ("COPY a TO 'x.csv'", "it is a COPY"),
        ("ATTACH 'x.duckdb'", "it is an ATTACH"),
        ("PRAGMA database_list", "it is (no SELECT|a PRAGMA)$"),
        ("EXPLAIN ANALYZE COPY a TO 'x'", "it is an EXPLAIN"),
        ("PIVOT a ON b USING count(*)", r"a PIVOT needs its values: ON column IN \(...\)"),
        ("FROM enable_logging('QueryLog', storage = 'file')", "it calls enable_logging"),
        ("FROM query('DROP TABLE a')", "it calls query,"),
        ("FROM a, Checkpoint()", "it calls checkpoint"),
        ("SELECT " + "(" * 60_000 + "1" + ")" * 60_000, "(?i)memory|depth"),
        ("SELECT '\ud800'", "surrogates"),
    ],
)
def test_a_query_that_does_more_than_read_is_refused(text: str, reason: str) -> None:
    for may_read_files in (False, True):
        assert re.search(reason, sql.why_no_query(text, may_read_files=may_read_files))


@pytest.mark.parametrize(
    "text",
    [
        "FROM a WHERE b IN (SELECT content FROM READ_TEXT('/etc/passwd'))",
        "WITH c AS (FROM read_parquet('x.parquet')) FROM c",
        "FROM '/x.csv'",
        "FROM data.csv",
        "DESCRIBE 'x.parquet'",
        "SELECT EXISTS (FROM glob('*'))",
    ],
)
def test_a_query_of_tables_alone_reads_no_file(text: str) -> None:
    assert sql.why_no_query(text) and not sql.why_no_query(text, may_read_files=True)


@pytest.mark.parametrize(
    "text",
    [
        "DESCRIBE series",
        "SUMMARIZE series",
        "WITH a AS (FROM b) SELECT $x, unnest([1]) FROM range(3) WHERE c = (SELECT max(d) FROM a)",
        "FROM warehouse.series",
        "FROM series_as_of(TIMESTAMP '2026-01-01')",
        "PIVOT a ON b IN ('x', 'y') USING count(*)",
        "SHOW TABLES",
    ],
)
def test_a_query_that_only_reads_is_allowed(text: str) -> None:
    assert sql.why_no_query(text) == ""
