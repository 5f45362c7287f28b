"""Releases behind a URL are copied whole and proven; one that cannot be used changes nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.catalog import COLLECTIONS
from tcia_assets.errors import ArchiveUnreachable, UnreadableReply, UsageError
from tcia_assets.progress import notes_to, shown_by
from tcia_assets.settings import Settings
from tcia_assets.sources.http.transport import Transport
from tcia_assets.sources.idc.index import Index
from tcia_assets.sources.idc.remote_index import RemoteIndex
from tcia_assets.sources.idc.source import IdcSource
from tcia_assets_tests.sources.conftest import FAST
from tcia_assets_tests.sources.idc.index_files import write_index
from tcia_assets_tests.sources.scripted import Answer, Asked, Scripted, answer

NAMES = ["analysis_results_index", "collections_index", "idc_index", "prior_versions_index"]


class Served:
    """A folder as a bucket serves it, at `/current`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sums = folder, dict[str, str]()
        self.broken: dict[str, Answer] = {}

    def __call__(self, asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        path = self.folder / name
        if name in self.broken:
            return self.broken[name]
        if name in self.sums:
            return answer(self.sums[name])
        if path.is_file():
            return answer(path.read_bytes(), Content_Type="application/octet-stream")
        return answer("<Error/>", 403, Content_Type="application/xml")

    def publish(self, release: str) -> None:
        write_index(self.folder, release=release)

    def write_sums(self) -> None:
        for path in self.folder.glob("*.parquet"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            self.sums[f"{path.name}.sha256"] = f"{digest}  {path.name}\n"


@pytest.fixture
def served(tmp_path: Path) -> Served:
    made = Served(tmp_path / "served")
    made.publish("24.1.0")
    return made


@pytest.fixture
def server(served: Served) -> Iterator[Scripted]:
    with Scripted(served) as started:
        yield started


@pytest.fixture
def remote(server: Scripted, tmp_path: Path) -> Iterator[RemoteIndex]:
    transport = Transport(1, FAST)
    yield RemoteIndex(f"{server.url}/current", tmp_path / "cache", transport)
    transport.close()


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "cache").glob("[0-9]*"))


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "cache").iterdir() if p.name not in copies(folder))


def test_the_version_costs_one_small_file(
    remote: RemoteIndex, server: Scripted, tmp_path: Path
) -> None:
    assert remote.newest() == "24.1.0"
    assert [asked.path for asked in server.asked] == ["/current/analysis_results_index.parquet"]
    assert not (tmp_path / "cache").exists()


def test_a_release_is_copied_once(remote: RemoteIndex, server: Scripted, tmp_path: Path) -> None:
    seen: list[str] = []
    with shown_by(lambda _done, _total, text: seen.append(text)):
        folder = remote.folder()
    assert sorted(path.stem for path in folder.glob("*.parquet")) == NAMES
    assert seen[-1].startswith("index 24.1.0: ")
    asked = len(server.asked)
    assert remote.folder() == folder
    assert len(server.asked) == asked + 1
    assert left(tmp_path) == ["lock"]


def test_the_days_of_versions_come_along(
    remote: RemoteIndex, served: Served, tmp_path: Path
) -> None:
    days = pa.table({"idc_version": [24], "version_timestamp": ["2026-04-16"]})
    pq.write_table(days, served.folder / "version_metadata_index.parquet")
    index = Index(remote.folder(), tmp_path, is_whole=False)
    assert index.released_on == date(2026, 4, 16)
    index.close()


def test_the_next_release_is_copied_beside_the_one_before(
    remote: RemoteIndex, served: Served, tmp_path: Path
) -> None:
    for release in ("24.1.0", "25.0.5", "25.0.10"):
        served.publish(release)
        assert remote.folder().name == release
    assert copies(tmp_path) == ["25.0.10", "25.0.5"]


def test_a_file_must_have_the_sha256_beside_it(
    remote: RemoteIndex, served: Served, tmp_path: Path
) -> None:
    served.write_sums()
    assert remote.folder().name == "24.1.0"
    served.publish("25.0.5")
    served.sums = {"idc_index.parquet.sha256": "0" * 64}
    notes: list[str] = []
    with notes_to(notes.append):
        assert remote.folder().name == "24.1.0"
    assert "release 24.1.0" in notes[0] and "does not have the SHA-256" in notes[0]
    assert copies(tmp_path) == ["24.1.0"] and left(tmp_path) == ["lock"]


def _cut(served: Served) -> None:
    body = (served.folder / "idc_index.parquet").read_bytes()
    served.broken["idc_index.parquet"] = answer(body[:500] + bytes(len(body) - 500))


def _page(served: Served) -> None:
    served.broken["idc_index.parquet"] = answer("<html>Sign in</html>", Content_Type="text/html")


def _no_column(served: Served) -> None:
    write_index(served.folder, release="25.0.5", without=("crdc_series_uuid",))


def _no_file(served: Served) -> None:
    (served.folder / "prior_versions_index.parquet").unlink()


def _no_sum(served: Served) -> None:
    served.sums["idc_index.parquet.sha256"] = "<html>"


def _mixed(served: Served) -> None:
    old = (served.folder / "idc_index.parquet").read_bytes()
    served.publish("25.1.0")
    (served.folder / "idc_index.parquet").write_bytes(old)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (_cut, "cannot be read"),
        (_page, "although a file was requested"),
        (_no_column, "release 25.0.5 .* has no column 'crdc_series_uuid'"),
        (_no_file, "prior_versions_index.parquet"),
        (_no_sum, "it is no SHA-256"),
        (_mixed, "is of release 25.0.5: it was replaced just now"),
    ],
)
def test_a_release_that_cannot_be_used_leaves_the_old_one(
    remote: RemoteIndex,
    served: Served,
    tmp_path: Path,
    fault: Callable[[Served], None],
    reason: str,
) -> None:
    remote.folder()
    served.publish("25.0.5")
    fault(served)
    notes: list[str] = []
    with notes_to(notes.append):
        assert remote.folder().name == "24.1.0"
    [note] = notes
    assert "release 24.1.0" in note
    assert re.search(reason, note)
    assert copies(tmp_path) == ["24.1.0"] and left(tmp_path) == ["lock"]


def test_without_a_copy_the_error_has_the_ways_to_have_an_index(
    remote: RemoteIndex, served: Served
) -> None:
    _page(served)
    with pytest.raises(UnreadableReply, match=r"pip install .*folder.*URL"):
        remote.folder()
    served.broken.clear()
    write_index(served.folder, without=("crdc_series_uuid",))
    with pytest.raises(UsageError, match=r"crdc_series_uuid.*pip install .*folder.*URL"):
        remote.folder()


def test_an_unreachable_host_is_named(tmp_path: Path) -> None:
    transport = Transport(1, FAST, address="TCIA_IDC_INDEX")
    remote = RemoteIndex("http://127.0.0.1:9/current", tmp_path / "cache", transport)
    with pytest.raises(ArchiveUnreachable, match=r"127\.0\.0\.1:9.*HTTPS_PROXY.*pip install"):
        remote.folder()
    transport.close()


def test_a_copy_of_a_different_url_is_not_used(
    remote: RemoteIndex, served: Served, tmp_path: Path
) -> None:
    first = remote.folder()
    origin = first / "origin.txt"
    origin.write_text("http://other.example.org/current")
    served.write_sums()
    assert remote.folder() == first
    assert origin.read_text() != "http://other.example.org/current"


def test_what_a_killed_download_left_is_removed(remote: RemoteIndex, tmp_path: Path) -> None:
    (tmp_path / "cache" / ".24.1.0.abc.draft").mkdir(parents=True)
    remote.folder()
    assert left(tmp_path) == ["lock"]


def test_a_source_compares_versions_without_a_download(
    server: Scripted, served: Served, tmp_path: Path
) -> None:
    settings = Settings(source="idc", idc_index=f"{server.url}/current/", data_dir=str(tmp_path))
    with IdcSource(settings, pacing=FAST) as source:
        assert source.release.startswith("24.1.0")
        assert len(server.asked) == 1
        assert source.rows(COLLECTIONS).table.num_rows == 1
        served.publish("25.0.5")
        asked = len(server.asked)
        assert source.release.startswith("24.1.0") and len(server.asked) == asked
    assert (tmp_path / "idc-index" / "24.1.0" / "idc_index.parquet").is_file()
