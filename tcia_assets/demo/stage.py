"""The folder of the demonstration: its settings, its commands, and what the mirror in it holds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tcia_assets.demo.processes import (
    DAGSTER,
    DAGSTER_DAEMON,
    TCIA_ASSETS,
    running,
    sandbox,
    wait_for,
)
from tcia_assets.errors import RunFailed, UsageError
from tcia_assets.store.warehouse import Warehouse

COLLECTION, DATASET = "LCTSC", "lung_ct"
_DECLARATION = f"{DATASET}.yaml"
_IN_CHECKOUT = Path(__file__).parents[2] / "datasets" / _DECLARATION
_IN_WHEEL = Path(__file__).with_name(_DECLARATION)  # put there by pyproject.toml
_WORKSPACE = ("-m", "tcia_assets.definitions")
# What is in a folder that a demonstration made, also one of an earlier version.
_MARKS = (".tcia-demo", "archive.port")


@dataclass(frozen=True)
class Stage:
    """The data folder of the demonstration.

    Args:
        folder: Its absolute path.
    """

    folder: Path

    @property
    def idc_folder(self) -> Path:
        """Data folder of the mirror of the Imaging Data Commons."""
        return self.folder / "idc"

    @property
    def declarations(self) -> Path:
        """Folder with the declaration of the dataset."""
        return self.folder / "declarations"

    @property
    def port_file(self) -> Path:
        """File with the port of the sandbox."""
        return self.folder / "archive.port"

    @property
    def dagster_home(self) -> Path:
        """Dagster's home, of commands and of the daemon alike."""
        return self.folder / "dagster"

    def clear(self) -> None:
        """Make the folder empty, but for the declaration.

        Raises:
            UsageError: It holds something else than an earlier demonstration.
        """
        if self.folder.exists() and not self._is_ours():
            raise UsageError(
                f"{str(self.folder)!r} is not empty, and no earlier demo is in it: name another "
                "folder"
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        self.declarations.mkdir(parents=True)
        (self.folder / _MARKS[0]).touch()
        source = _IN_CHECKOUT if _IN_CHECKOUT.exists() else _IN_WHEEL
        shutil.copyfile(source, self.declarations / _DECLARATION)

    def _is_ours(self) -> bool:
        if not self.folder.is_dir():
            return False
        names = {path.name for path in self.folder.iterdir()}
        return not names or not names.isdisjoint(_MARKS)

    def environment(self, url: str) -> dict[str, str]:
        """Return the environment of a command, with no other settings than the demonstration's."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
        return kept | {
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "TCIA_DIALECT": "nbia-v4",
            "TCIA_BASE_URL": f"{url}/nbia-api/services/v4",
            "TCIA_DATA_DIR": str(self.folder),
            "TCIA_DATASETS_DIR": str(self.declarations),
            "TCIA_IMAGE_SELECTION": f"{{collections: [{COLLECTION}]}}",
            # A day takes a minute here: three listings count, without hours between them.
            "TCIA_WITHDRAWAL_HOURS": "0",
            "TCIA_IDC_BASE_URL": f"{url}/{{bucket}}",
            "TCIA_IDC_INDEX": f"{url}/idc-index-data-artifacts/current/release_artifacts",
        }

    def dagster_environment(self, url: str) -> dict[str, str]:
        """Return the environment of Dagster's own commands, which share the records of ours."""
        return self.environment(url) | {"DAGSTER_HOME": str(self.dagster_home)}

    @contextmanager
    def sandbox(self, port: int = 0) -> Iterator[str]:
        """Run the sandbox of the demonstration, and yield its URL."""
        with sandbox(self.folder, self.folder / "archive.parquet", port) as url:
            self.port_file.write_text(url.rpartition(":")[2], encoding="utf-8")
            yield url

    @contextmanager
    def daemon(self, url: str) -> Iterator[None]:
        """Run Dagster's daemon on the plugin, with the sensor switched on."""
        environment = self.dagster_environment(url) | {"TCIA_SENSOR_INTERVAL_S": "5"}
        subprocess.run(  # noqa: S603 - Dagster's own command
            [*DAGSTER, "sensor", "start", "tcia_new_series", *_WORKSPACE],
            env=environment,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        command = [DAGSTER_DAEMON, "run", *_WORKSPACE]
        with running(self.folder, "daemon", command, environment):
            yield

    def run(self, url: str, *arguments: str, quiet: bool = False, **settings: str) -> None:
        """Run a command of tcia-assets, which prints as it does for anybody.

        Raises:
            RunFailed: It did not end with 0.
        """
        output = subprocess.DEVNULL if quiet else None
        environment = self.environment(url) | settings
        command = [*TCIA_ASSETS, *arguments]
        done = subprocess.run(command, env=environment, check=False, stdout=output)  # noqa: S603
        if done.returncode:
            raise RunFailed([f"tcia-assets {' '.join(arguments)} ended with {done.returncode}"])

    def wait(self, what: str, is_done: Callable[[], bool], *, seconds: float) -> None:
        """Wait until something is done; see `processes.wait_for`."""
        wait_for(what, is_done, seconds=seconds, logs=self.folder)

    def fetched(self, limit: int = 1000) -> list[str]:
        """Return the UIDs of the Series on disk, the smallest first."""
        statement = (
            "SELECT SeriesInstanceUID FROM image_archives WHERE status = 'complete' "
            "ORDER BY archive_bytes LIMIT $limit"
        )
        return list(self._query(statement, {"limit": limit})["SeriesInstanceUID"].to_pylist())

    def has_event(self, event: str, uid: str) -> bool:
        """Return whether the history of a Series has an event."""
        where = "event = $event AND SeriesInstanceUID = $uid"
        statement = f"SELECT event FROM series_changes WHERE {where}"
        return bool(self._query(statement, {"event": event, "uid": uid}).num_rows)

    def compare_mirrors(self) -> dict[str, int]:
        """Return how many objects of the Collection are in each mirror, in both, and equal."""
        folders = {"nbia": self.folder, "idc": self.idc_folder}
        files = {
            name: str(folder / "warehouse" / "images" / COLLECTION / "*.parquet")
            for name, folder in folders.items()
        }
        return dict(self._query(_COMPARED, files).to_pylist()[0])

    def _query(self, statement: str, parameters: Mapping[str, object]) -> pa.Table:
        return Warehouse(self.folder).query(statement, parameters)


_COMPARED = """
    SELECT count(nbia.md5) AS nbia, count(idc.md5) AS idc,
           count(*) FILTER (nbia.md5 NOTNULL AND idc.md5 NOTNULL) AS both,
           count(*) FILTER (nbia.md5 = idc.md5) AS equal
    FROM read_parquet($nbia) AS nbia FULL JOIN read_parquet($idc) AS idc
        USING (SeriesInstanceUID, SOPInstanceUID)
"""
