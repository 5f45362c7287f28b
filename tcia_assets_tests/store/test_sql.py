"""DuckDB as this package uses it: the same everywhere."""

from __future__ import annotations

import datetime as dt
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
