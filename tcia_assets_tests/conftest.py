"""The other side of most tests: one sandbox archive a process, fresh at the start of each test."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import hypothesis
import pytest
from filelock import FileLock

from tcia_assets.catalog import COLLECTIONS, SERIES, TABLES
from tcia_assets.defs.partitions import range_tags
from tcia_assets.defs.plugin import build_definitions
from tcia_assets.defs.resource import TciaResource
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.headers import image_rows, references
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.idc.index_files import write_index
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import Pacing, Source, open_source
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests import s3_servers
from tcia_assets_tests.examples import examples
from tcia_assets_tests.s3_proxy import Proxy, proxy

hypothesis.settings.register_profile("project", max_examples=examples(100), deadline=None)
hypothesis.settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a room together, in whatever order they are.

    Each worker starts with a part of the list. What only the tests of a room share or import is
    made by one or two workers then, and not by each.
    """
    rooms: dict[str, int] = {}
    for item in items:
        rooms.setdefault(_room(item), len(rooms))
    items.sort(key=lambda item: rooms[_room(item)])


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).parts[0]


# Small and with a contour Series in each Study; the one that tests fetch images of.
SMALL = "LCTSC"
BY_COLLECTION = [t for t in TABLES if t.partitioned_by == "Collection" and t.endpoint]
# What is recorded does not depend on it, and a run writes hundreds of lines.
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
IMPATIENT = Pacing(first_wait_s=0.001, longest_wait_s=0.01, read_timeout_s=5.0)


@pytest.fixture(autouse=True)
def no_settings_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name in list(os.environ):
        if name.startswith(("TCIA_", "DAGSTER_HOME")):
            monkeypatch.delenv(name)
    # The repository's own example would be among the assets of all tests.
    nothing = tmp_path_factory.getbasetemp() / "no_datasets"
    nothing.mkdir(exist_ok=True)
    monkeypatch.setenv("TCIA_DATASETS_DIR", str(nothing))


@pytest.fixture(scope="session")
def served() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(served: Sandbox) -> Iterator[Sandbox]:
    served.reset()
    yield served
    served.reset()


def settings_for(sandbox: Sandbox, data_dir: Path, dialect: str = "nbia-v4") -> Settings:
    secrets = {
        "api_key": sandbox.authenticator.api_key,
        "username": sandbox.authenticator.username,
        "password": sandbox.authenticator.password,
    }
    return Settings(
        dialect=dialect, base_url=sandbox.base_url(dialect), data_dir=str(data_dir), **secrets
    )


def idc_settings_for(
    sandbox: Sandbox, data_dir: Path, index: Path | str = "", **chosen: Any
) -> Settings:
    """The settings for the sandbox as the Imaging Data Commons; by default its index is by URL."""
    fields = {
        "source": "idc",
        "idc_index": str(index or sandbox.idc_index_url),
        "idc_base_url": sandbox.idc_base_url,
        "data_dir": str(data_dir),
    }
    return Settings(**(fields | chosen))


@pytest.fixture(scope="session")
def idc_index(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the first index release of the sandbox, which a reset restores."""
    served.reset()
    return write_index(served.idc, tmp_path_factory.mktemp("idc_index"))


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> Settings:
    return settings_for(sandbox, tmp_path)


@pytest.fixture
def source(settings: Settings) -> Iterator[Source]:
    with open_source(settings, pacing=IMPATIENT) as source:
        yield source


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


class RefreshedFolders:
    """Data folders with all metadata, by the state of the sandbox that they were refreshed from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.by_state: dict[str, Path] = {}

    def keep(self, state: str, data_dir: Path) -> None:
        copied = self._folder / str(len(self.by_state))
        shutil.copytree(data_dir, copied)
        self.by_state[state] = copied


@pytest.fixture(scope="session")
def refreshed_folders(tmp_path_factory: pytest.TempPathFactory) -> RefreshedFolders:
    return RefreshedFolders(tmp_path_factory.mktemp("refreshed"))


class BuiltPlugins:
    """The resources and definitions that a worker has made, by the fields of the resource."""

    def __init__(self) -> None:
        self._resources: list[tuple[dict[str, object], TciaResource]] = []
        self._definitions: dict[int, dg.Definitions] = {}
        self._without_checks: dict[tuple[int, str, tuple[str, ...]], dg.JobDefinition] = {}

    def resource(self, fields: dict[str, object]) -> TciaResource:
        made = next((resource for given, resource in self._resources if given == fields), None)
        if made is None:
            made = TciaResource(**fields)
            self._resources.append((fields, made))
        return made

    def definitions(self, resource: TciaResource) -> dg.Definitions:
        """Build the plugin with a resource that `resource` has returned, unless it is built."""
        if id(resource) not in self._definitions:
            self._definitions[id(resource)] = build_definitions(resource=resource)
        return self._definitions[id(resource)]

    def without_checks(
        self, resource: TciaResource, job: str, tables: Sequence[str]
    ) -> dg.JobDefinition:
        """Return a job over these tables alone, without their checks."""
        key = (id(resource), job, tuple(tables))
        if key not in self._without_checks:
            keys = {dg.AssetKey(["tcia", table]) for table in tables}
            self._without_checks[key] = (
                self.definitions(resource)
                .resolve_job_def(job)
                .get_subset(asset_selection=keys, asset_check_selection=set())
            )
        return self._without_checks[key]


class Dagster:
    """The plugin over the sandbox, on an instance of its own."""

    def __init__(
        self,
        sandbox: Sandbox,
        data_dir: Path,
        instance: dg.DagsterInstance,
        refreshed: RefreshedFolders,
        built: BuiltPlugins,
    ) -> None:
        self.sandbox, self.instance, self.data_dir = sandbox, instance, data_dir
        self.warehouse = Warehouse(data_dir)
        self._refreshed, self._built = refreshed, built

    def start_refreshed(self) -> list[str]:
        """Start with the metadata of all Collections, as a refresh stores them; return the keys.

        The first test that starts from a state of the sandbox refreshes for real; later ones get a
        copy of its folder. Dagster has the partitions then, and no events.
        """
        if list(self.data_dir.glob("*")):
            raise AssertionError("start_refreshed is for an empty data folder")
        state = self.sandbox.archive.rows(
            "SELECT md5(string_agg(s::VARCHAR, '' ORDER BY SeriesInstanceUID)) AS digest "
            "FROM archive.series AS s"
        )[0]["digest"]
        if state not in self._refreshed.by_state:
            self._refresh(BY_COLLECTION)
            self.warehouse.ensure_views()
            self._refreshed.keep(state, self.data_dir)
        else:
            shutil.copytree(self._refreshed.by_state[state], self.data_dir, dirs_exist_ok=True)
        keys = self.warehouse.keys(SERIES)
        self.instance.add_dynamic_partitions("tcia_collections", keys)
        return keys

    def start_listed(self) -> list[str]:
        """Start with the list of all Collections and nothing of any; return the keys."""
        self._refresh([])
        keys = self.listed()
        self.instance.add_dynamic_partitions("tcia_collections", keys)
        return keys

    def _refresh(self, tables: Sequence[Table]) -> None:
        now, budget = datetime.now(UTC), ProbeBudget(0)
        with open_source(settings_for(self.sandbox, self.data_dir), pacing=IMPATIENT) as source:
            refresh(COLLECTIONS, "", source, self.warehouse, now, budget)
            for table in tables:
                for key in self.listed():
                    refresh(table, key, source, self.warehouse, now, budget)

    def resource(self, **chosen: object) -> TciaResource:
        dialect = str(chosen.pop("dialect", "nbia-v4"))
        settings = settings_for(self.sandbox, self.data_dir, dialect)
        fields: dict[str, object] = {
            "dialect": dialect,
            "base_url": settings.base_url,
            "api_key": settings.api_key,
            "username": settings.username,
            "password": settings.password,
            "data_dir": str(self.data_dir),
            "first_wait_s": 0.001,
            "read_timeout_s": 5.0,
        }
        return self._built.resource(fields | chosen)

    def definitions(self, **chosen: object) -> dg.Definitions:
        return self._built.definitions(self.resource(**chosen))

    def collections(self, **chosen: object) -> list[str]:
        """Materializes `collections`; the partitions that there are then."""
        assert self.run("tcia_list_collections", **chosen).success
        return list(self.instance.get_dynamic_partitions("tcia_collections"))

    def run(
        self,
        job: str,
        *keys: str,
        tables: Sequence[str] = (),
        ops: dict[str, object] | None = None,
        checks: bool = False,
        raise_on_error: bool = True,
        tags: Mapping[str, str] | None = None,
        **chosen: object,
    ) -> dg.ExecuteInProcessResult:
        """Run a job for a key, or for all from the first to the last of two.

        With `tables`, run only these assets of the job, as people do in Dagster's UI; without their
        checks unless a test is about them.
        """
        of_range = range_tags(keys[0], keys[-1]) if keys else {}
        if ops is None and job in {"tcia_refresh", "tcia_update"}:
            # One request a Series: few are enough where a test is not about them.
            ops = {"tcia_metadata": {"config": {"max_size_requests": 20}}}
        resource = self.resource(**chosen)
        if tables and not checks:
            found, selected = self._built.without_checks(resource, job, tables), None
        else:
            found = self._built.definitions(resource).resolve_job_def(job)
            selected = [dg.AssetKey(["tcia", table]) for table in tables] or None
        return found.execute_in_process(
            instance=self.instance,
            tags={**of_range, **(tags or {})},
            asset_selection=selected,
            run_config={"ops": ops or {}, "loggers": QUIET},
            raise_on_error=raise_on_error,
        )

    def listed(self) -> list[str]:
        """The Collections that the archive lists."""
        rows = self.sandbox.archive.rows("SELECT DISTINCT Collection AS c FROM archive.series")
        return sorted(row["c"] for row in rows)

    def uids(self, collection: str, modality: str) -> list[str]:
        """The Series of a Collection with a Modality."""
        rows = self.sandbox.archive.rows(
            "SELECT SeriesInstanceUID AS uid FROM archive.series "
            "WHERE Collection = ? AND Modality = ? ORDER BY uid",
            [collection, modality],
        )
        return [row["uid"] for row in rows]

    def events(self, table: str) -> list[dg.AssetMaterialization]:
        """All materializations of a table, the oldest first."""
        found = self.instance.fetch_materializations(dg.AssetKey(["tcia", table]), limit=1000)
        events = [record.asset_materialization for record in reversed(found.records)]
        return [event for event in events if event is not None]


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    """One instance in memory a worker: to create one takes longer than many tests."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="session")
def built_plugins() -> BuiltPlugins:
    return BuiltPlugins()


@pytest.fixture
def dagster(
    sandbox: Sandbox,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    refreshed_folders: RefreshedFolders,
    built_plugins: BuiltPlugins,
) -> Dagster:
    # No test of these starts a daemon, a schedule or a sensor, of which `wipe` keeps the state.
    instance.wipe()
    return Dagster(sandbox, tmp_path, instance, refreshed_folders, built_plugins)


def made_by_one_worker(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """Return a folder of this worker with what `make` writes, copied from the first one's."""
    own = factory.mktemp(name)
    is_alone = "PYTEST_XDIST_WORKER" not in os.environ
    shared = own if is_alone else factory.getbasetemp().parent / name
    done = shared.with_name(f"{name}.done")
    with FileLock(shared.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(shared, ignore_errors=True)
            shared.mkdir()
            make(shared)
            done.touch()
        if not is_alone:
            # Only its maker has opened it. The views hold the absolute paths of its folder.
            left_out = shutil.ignore_patterns("*.duckdb")
            shutil.copytree(shared, own, ignore=left_out, symlinks=True, dirs_exist_ok=True)
    return own


def mirror_fetched(served: Sandbox, root: Path, collection: str, **which: Any) -> None:
    """Fetch Series of a Collection into a data folder, and read their headers."""
    warehouse = Warehouse(root)
    session = FetchSession(Selection(collections=(collection,), **which))
    served.reset()
    with open_source(settings_for(served, root), pacing=IMPATIENT) as source:
        refresh(SERIES, collection, source, warehouse, datetime.now(UTC), ProbeBudget(0))
        fetch_images(collection, session, source, warehouse)
    image_rows.index_images(collection, warehouse)
    references.index_references(collection, warehouse)


@pytest.fixture(scope="session")
def fetched_root(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the small Collection, fetched, with its tables of headers."""
    return made_by_one_worker(
        tmp_path_factory, "fetched_root", lambda root: mirror_fetched(served, root, SMALL)
    )


@pytest.fixture(scope="session")
def series_root(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the Series of the small Collection, made without Dagster."""
    served.reset()
    root = tmp_path_factory.mktemp("series")
    with open_source(settings_for(served, root)) as source:
        refresh(SERIES, SMALL, source, Warehouse(root), datetime.now(UTC), ProbeBudget(0))
    return root


@pytest.fixture(scope="session")
def contours_root(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the contours of the small Collection, fetched and indexed."""
    return made_by_one_worker(
        tmp_path_factory,
        "contours_root",
        lambda root: mirror_fetched(served, root, SMALL, modalities=("RTSTRUCT",)),
    )


# --- Object storage -------------------------------------------------------------------------------

# Of the S3 server: what each account may do, as SeaweedFS names it.
ACCOUNTS = {
    "writer": ["Admin"],
    "reader": ["Read:zips", "List:zips"],
    "getter": ["Read:zips"],
}


@pytest.fixture(scope="session")
def served_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Run a real S3 server with the bucket `zips`, behind a proxy that can fail."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    with s3_servers.seaweedfs(folder, ACCOUNTS) as url, proxy(url) as site:
        s3_servers.make_bucket(url, "zips", "writer")
        yield site


@pytest.fixture
def bucket(served_s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of an empty place in the bucket, for which the environment has the keys."""
    served_s3.reset()
    monkeypatch.setenv("AWS_ENDPOINT_URL", served_s3.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "writer")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_servers.secret_of("writer"))
    yield f"s3://zips/{secrets.token_hex(8)}"
    served_s3.reset()
