"""A Series is fetched from real S3 servers as from the sandbox's buckets, and from the archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tcia_assets.errors import UnknownReply
from tcia_assets.sandbox.idc.index_files import write_index
from tcia_assets.sandbox.idc.stored_objects import Store, StoredObjects
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Target
from tcia_assets.sources.idc.source import IdcSource
from tcia_assets_tests import s3_servers
from tcia_assets_tests.conftest import IMPATIENT, idc_settings_for
from tcia_assets_tests.sandbox.released_series import series

SMALL, LARGE = min(series(Modality="RTSTRUCT")), min(series(Collection="LCTSC", Modality="CT"))
MORE_THAN_A_PAGE = 1003
Objects = dict[str, bytes]
Serve = Callable[[str, Objects, Path], AbstractContextManager[str]]


@contextmanager
def by_seaweedfs(bucket: str, objects: Objects, folder: Path) -> Iterator[str]:
    with s3_servers.seaweedfs(folder) as url:
        s3_servers.upload(url, bucket, objects)
        yield url


@contextmanager
def by_rclone(bucket: str, objects: Objects, folder: Path) -> Iterator[str]:
    for key, body in objects.items():
        path = folder / "served" / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    with s3_servers.rclone(folder / "served") as url:
        yield url


def stored(sandbox: Sandbox, uid: str) -> StoredObjects:
    found = Store(sandbox.idc).series(sandbox.idc.uuid_of(uid))
    assert found is not None
    return found


def fetched(source: IdcSource, uid: str, path: Path) -> tuple[bytes, Objects]:
    """The bytes of the zip of a Series, and its objects by SOPInstanceUID."""
    source.fetch_zip("objects", uid, Target(path))
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if name.endswith(".dcm")]
        return path.read_bytes(), {name.removesuffix(".dcm"): file.read(name) for name in names}


@pytest.mark.parametrize(
    ("serve", "count"),
    [
        pytest.param(by_seaweedfs, MORE_THAN_A_PAGE, marks=pytest.mark.slow, id="SeaweedFS"),
        pytest.param(by_rclone, MORE_THAN_A_PAGE, marks=pytest.mark.slow, id="rclone"),
        pytest.param(by_rclone, 4, id="rclone, few"),
    ],
)
def test_a_real_server_gives_the_same_zip_as_the_sandbox(
    sandbox: Sandbox, tmp_path: Path, serve: Serve, count: int
) -> None:
    sandbox.archive.revise([LARGE], image_count=count)
    sandbox.idc.publish()
    index = write_index(sandbox.idc, tmp_path / "index")
    objects = {
        each.key: found.body(each)
        for found in (stored(sandbox, SMALL), stored(sandbox, LARGE))
        for each in found.after()
    }
    bucket = stored(sandbox, SMALL).series.bucket
    with serve(bucket, objects, tmp_path) as url:
        settings = idc_settings_for(sandbox, tmp_path, index)
        real = settings.model_copy(update={"idc_base_url": f"{url}/{{bucket}}"})
        with (
            IdcSource(settings, pacing=IMPATIENT) as ours,
            IdcSource(real, pacing=IMPATIENT) as theirs,
        ):
            for uid in (SMALL, LARGE):
                of_series = sandbox.archive.find(uid)
                assert of_series is not None
                zipped, found = fetched(theirs, uid, tmp_path / "theirs.zip")
                assert found == dict(sandbox.archive.objects(of_series))
                assert zipped == fetched(ours, uid, tmp_path / "ours.zip")[0]
            assert theirs.md5_hash(SeriesInstanceUID=SMALL) == ours.md5_hash(
                SeriesInstanceUID=SMALL
            )
            unknown = stored(sandbox, max(series(Collection="LCTSC", Modality="CT")))
            with pytest.raises(UnknownReply, match="the bucket has 0 objects"):
                fetched(theirs, unknown.series.uid, tmp_path / "theirs.zip")
