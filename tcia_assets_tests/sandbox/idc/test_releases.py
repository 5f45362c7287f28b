"""Which Series each release has, and their uuids."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.sandbox.idc.releases import Releases
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.one_collection import UIDS

from .bucket_client import BucketClient


def current(sandbox: Sandbox) -> dict[str, str]:
    rows = sandbox.idc.query(
        "SELECT SeriesInstanceUID AS uid, crdc_series_uuid AS uuid FROM versions "
        "WHERE last_version IS NULL"
    ).to_pylist()
    return {row["uid"]: row["uuid"] for row in rows}


def test_a_release_has_what_the_archive_had_when_it_was_made(sandbox: Sandbox) -> None:
    before = current(sandbox)
    sandbox.archive.withdraw(UIDS[:1])
    sandbox.archive.revise(UIDS[1:2])
    assert current(sandbox) == before
    assert sandbox.idc.publish() == "26.0.0"
    after = current(sandbox)
    assert UIDS[0] not in after
    assert after[UIDS[1]] != before[UIDS[1]]
    assert after[UIDS[2]] == before[UIDS[2]]
    assert sandbox.idc.releases == ("25.0.5", "26.0.0")


def test_a_revised_series_keeps_its_old_version_with_the_old_bytes(
    sandbox: Sandbox, buckets: BucketClient
) -> None:
    bucket, old = buckets.of_series(UIDS[0])
    sandbox.archive.revise(UIDS[:1])
    sandbox.idc.publish()
    assert buckets.list(bucket, old[0].key.partition("/")[0]) == old
    _, new = buckets.of_series(UIDS[0])
    assert len(new) == len(old)
    assert not {each.etag for each in new} & {each.etag for each in old}


def test_a_release_may_revise_a_series_that_the_archive_did_not_change(
    sandbox: Sandbox, buckets: BucketClient
) -> None:
    _, old = buckets.of_series(UIDS[0])
    sandbox.idc.publish(revised=UIDS[:1])
    _, new = buckets.of_series(UIDS[0])
    assert {each.etag for each in new} == {each.etag for each in old}
    assert not {each.key for each in new} & {each.key for each in old}


def test_a_release_may_lack_series_and_the_next_has_them_under_a_new_uuid(sandbox: Sandbox) -> None:
    before = current(sandbox)
    sandbox.idc.publish("26.1.0", without=UIDS[:1])
    assert UIDS[0] not in current(sandbox)
    sandbox.idc.publish("27.0.0")
    assert current(sandbox)[UIDS[0]] != before[UIDS[0]]


def test_a_moved_series_keeps_its_uuid(sandbox: Sandbox) -> None:
    before = current(sandbox)
    sandbox.archive.move(UIDS[:1], to="QIN LUNG CT")
    sandbox.idc.publish()
    rows = sandbox.idc.query("SELECT Collection FROM versions WHERE crdc_series_uuid = ?",
                             [before[UIDS[0]]])  # fmt: skip
    assert rows["Collection"].to_pylist() == ["QIN LUNG CT"]


def test_redacted_series_have_no_objects_and_are_in_no_later_release(
    sandbox: Sandbox, buckets: BucketClient
) -> None:
    bucket, listed = buckets.of_series(UIDS[0])
    sandbox.idc.redact(UIDS[:1])
    assert buckets.get(bucket, listed[0].key).status_code == 404
    assert buckets.list(bucket, listed[0].key.partition("/")[0]) == []
    assert UIDS[0] in current(sandbox)
    sandbox.idc.publish()
    assert UIDS[0] not in current(sandbox)


def test_a_reset_restores_the_first_release(sandbox: Sandbox) -> None:
    before = current(sandbox)
    sandbox.idc.publish(revised=UIDS)
    sandbox.idc.page_size = 2
    sandbox.reset()
    assert sandbox.idc.release == "25.0.5"
    assert current(sandbox) == before
    assert sandbox.idc.page_size == 1000


def test_what_cannot_be_done_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(UsageError, match=r"after 25\.0\.5"):
        sandbox.idc.publish("25.1.0")
    with pytest.raises(UnknownName):
        sandbox.idc.redact(["1.2.3"])


def test_releases_outlive_a_restart(sandbox: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "idc.parquet"
    with closing(Releases(sandbox.archive, file=file)) as releases:
        assert not file.exists()
        releases.publish(revised=UIDS[:1])
        uuid = releases.uuid_of(UIDS[0])
    with closing(Releases(sandbox.archive, file=file)) as releases:
        assert releases.releases == ("25.0.5", "26.0.0")
        assert releases.uuid_of(UIDS[0]) == uuid
        releases.reset()
        assert releases.releases == ("25.0.5",)
        assert not file.exists()
