"""A data folder whose zips are in a bucket, and what must always be true of both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tcia_assets.images.zip_files import stored_zips, zip_name
from tcia_assets_tests.images.place import COLLECTION, Place, demand_as_recorded, images_in

Machine = Callable[[], "BucketPlace"]
"""Makes a machine with a data folder of its own, beside others with the same bucket."""


class BucketPlace(Place):
    """A place whose `archives_url` is that of a bucket."""

    def zip_name(self, uid: str) -> str:
        return zip_name(COLLECTION, uid)

    @property
    def objects(self) -> Sequence[str]:
        """The Series with a zip in the bucket."""
        found = stored_zips(COLLECTION, self.warehouse)
        return [each.name.rpartition("/")[2].removesuffix(".zip") for each in found]

    def demand_sound(self) -> None:
        """Check that objects and manifest agree, and that no draft is left on this machine."""
        rows = {row["SeriesInstanceUID"]: row for row in self.rows.values() if row["path"]}
        assert sorted(self.objects) == sorted(rows)
        for uid, row in rows.items():
            with self.warehouse.archives.copy(self.zip_name(uid)) as path:
                demand_as_recorded(path, row)
        for row in self.rows.values():
            assert (row["status"] == "complete") == (row["error"] is None)
        assert self.leftovers() == []
        assert list(self.folder.glob("*.zip")) == []

    def demand_complete(self) -> None:
        """Check that exactly what the sandbox has now is in the bucket, to the byte."""
        self.demand_sound()
        assert {uid: row["status"] for uid, row in self.rows.items()} == dict.fromkeys(
            self.uids, "complete"
        )
        for uid in self.uids:
            with self.warehouse.archives.copy(self.zip_name(uid)) as path:
                assert sorted(images_in(path).values()) == self.true_md5s(uid), uid


def beside(place: Place, data_dir: Path, url: str) -> BucketPlace:
    """Return another machine: a data folder of its own with the metadata of a place."""
    # The views hold the absolute paths of the folder that they were made for.
    ignored = shutil.ignore_patterns("warehouse.duckdb", "archives", "cache")
    shutil.copytree(place.data_dir, data_dir, ignore=ignored)
    return BucketPlace(place.sandbox, data_dir, archives_url=url)
