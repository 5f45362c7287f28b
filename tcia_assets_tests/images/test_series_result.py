"""The row of a Series that failed while an older zip is on disk."""

from __future__ import annotations

import pytest

from tcia_assets.images.verify import verify_zips
from tcia_assets_tests.images.place import COLLECTION, Place

PROOF = ("path", "archive_bytes", "image_count", "image_bytes", "sha256", "verified_by")


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_older_zip_is_not_described_in_the_manifest(
    fetched_three: Place, damage: str
) -> None:
    uid = fetched_three.uids[0]
    content = bytearray(fetched_three.zip(uid).read_bytes())
    content[100] ^= 0xFF
    fetched_three.zip(uid).write_bytes(content[:-9] if damage == "cut" else content)
    verify_zips(COLLECTION, fetched_three.warehouse)
    assert fetched_three.rows[uid]["status"] == "failed"
    fetched_three.spoil("status", uid, status=500)
    fetched_three.fetch()

    row = fetched_three.rows[uid]
    assert row["status"] == "failed"
    assert {name: row[name] for name in PROOF} == dict.fromkeys(PROOF)
    fetched_three.sandbox.faults.clear()
    fetched_three.fetch()
    fetched_three.demand_complete()
