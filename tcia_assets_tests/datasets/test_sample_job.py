"""The key of a sample is a hash over all that decides what is in it, and over nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tcia_assets.datasets.cohort import LockedZip
from tcia_assets.datasets.sample_job import Channel, SampleJob
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.store.archives.folder import FolderArchives

ZIP = LockedZip(FolderArchives(Path("here")), "a.zip", "sha256", "content")
CHANNEL = Channel("ct", "1.2", ZIP, 3, VolumeSettings(), is_reference=True)
JOB = SampleJob("1.2", ZIP, 3, (), VolumeSettings(), (), (), {}, channels=(CHANNEL,))


def test_the_key_depends_on_what_is_in_the_zip_and_not_on_its_place() -> None:
    moved = LockedZip(FolderArchives(Path("there")), "b.zip", "another", "content")
    assert replace(JOB, zip=moved, channels=(replace(CHANNEL, zip=moved),)).key == JOB.key
    changed = replace(moved, content="different")
    assert replace(JOB, zip=changed).key != JOB.key
    assert replace(JOB, channels=(replace(CHANNEL, zip=changed),)).key != JOB.key


def test_the_key_depends_on_each_setting_of_a_channel() -> None:
    written = VolumeSettings.model_validate({"dtype": "float32"})
    others = (
        replace(CHANNEL, name="pet"),
        replace(CHANNEL, zip=None),
        replace(CHANNEL, volume=written),
        replace(CHANNEL, is_reference=False),
        replace(CHANNEL, image_count=4),
    )
    keys = {replace(JOB, channels=(each,)).key for each in (CHANNEL, *others)}
    assert len(keys) == 1 + len(others)
