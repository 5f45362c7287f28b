"""Dagster's records, in SQLite or Postgres: their size, their ticks, and the events of a year."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as db
from years import size_of

_SCHEDULE_TABLES = ("instigators", "jobs", "job_ticks", "asset_daemon_asset_evaluations")
_SIZES = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
_NEWEST_RUN = "SELECT run_id FROM event_logs WHERE asset_key = :key ORDER BY id DESC LIMIT 1"


class Growth(NamedTuple):
    """What Dagster's records are, or grow by."""

    bytes: float
    files: float

    def times(self, number: float) -> Growth:
        """Return this growth a number of times."""
        return Growth(self.bytes * number, self.files * number)

    def since(self, before: Growth) -> Growth:
        """Return what they have grown by."""
        return Growth(*(new - old for new, old in zip(self, before, strict=True)))


class Records(ABC):
    """Dagster's records in its home.

    Attributes:
        home: Dagster's home.
        events: The database with the index of all events.
        ticks: The database with the ticks.
    """

    events: db.Engine
    ticks: db.Engine

    def __init__(self, home: Path) -> None:
        self.home = home

    @abstractmethod
    def size(self) -> Growth:
        """Return what all records take."""

    @abstractmethod
    def size_of_ticks(self) -> Growth:
        """Return what ticks and the state of sensors take."""

    def count_ticks(self) -> int:
        """Return the number of ticks."""
        with self.ticks.connect() as connection:
            found: int = connection.execute(db.text("SELECT count(*) FROM job_ticks")).scalar_one()
        return found

    def add_copies(self, copies: int, asset: str) -> None:
        """Copy the events of the newest run with one of an asset, as other runs, into the index."""
        with self.events.begin() as connection:
            names = [column["name"] for column in db.inspect(connection).get_columns("event_logs")]
            kept = ", ".join(name for name in names if name not in {"id", "run_id"})
            run = connection.execute(
                db.text(_NEWEST_RUN), {"key": f'["tcia", "{asset}"]'}
            ).scalar_one()
            connection.execute(
                db.text(
                    f"INSERT INTO event_logs (run_id, {kept}) "
                    f"SELECT :copy, {kept} FROM event_logs WHERE run_id = :run ORDER BY id"
                ),
                [{"copy": f"copy-{number}", "run": run} for number in range(copies)],
            )


class SqliteRecords(Records):
    """Records in SQLite, Dagster's default: files in its home."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.events = db.create_engine(f"sqlite:///{home}/history/runs/index.db")
        self.ticks = db.create_engine(f"sqlite:///{home}/schedules/schedules.db")

    def size(self) -> Growth:
        return Growth(*size_of(self.home))

    def size_of_ticks(self) -> Growth:
        with self.ticks.connect() as connection:  # else its log of writes counts, which is reused
            connection.execute(db.text("PRAGMA wal_checkpoint(TRUNCATE)"))
        return Growth(*size_of(self.home / "schedules"))


class PostgresRecords(Records):
    """Records in Postgres; what is left in the home are files.

    Args:
        home: Dagster's home.
        server: Where Postgres is, as `postgres_db` in dagster.yaml.
    """

    def __init__(self, home: Path, server: Mapping[str, str | int]) -> None:
        super().__init__(home)
        url = db.URL.create(
            str(server["scheme"]),
            username=str(server["username"]),
            password=str(server["password"]),
            host=str(server["hostname"]),
            port=int(server["port"]),
            database=str(server["db_name"]),
        )
        self.events = self.ticks = db.create_engine(url)

    def size(self) -> Growth:
        in_files, files = size_of(self.home)
        return Growth(in_files + sum(self.table_sizes().values()), files)

    def size_of_ticks(self) -> Growth:
        sizes = self.table_sizes()
        return Growth(sum(sizes.get(name, 0) for name in _SCHEDULE_TABLES), 0)

    def table_sizes(self) -> dict[str, int]:
        """Return the bytes of each table with its indexes, when dead rows can be used again."""
        with self.events.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(db.text("VACUUM"))
            return dict(connection.execute(db.text(_SIZES)).tuples().all())
