"""The row of a Series that failed while an older zip is on disk."""

from __future__ import annotations

import pytest

from tcia_assets.images.verify import verify_zips
from tcia_assets_tests.images.place import COLLECTION, Place

PROOF = ("path", "archive_bytes", "image_count", "image_bytes", "sha256", "verified_by")


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_older_zip_is_not_described_in_the_manifest(place: Place, damage: str) -> None:
    uid = place.uids[0]
    place.fetch()
    content = bytearray(place.zip(uid).read_bytes())
    content[100] ^= 0xFF
    place.zip(uid).write_bytes(content[:-9] if damage == "cut" else content)
    verify_zips(COLLECTION, place.warehouse)
    assert place.rows[uid]["status"] == "failed"
    place.spoil("status", uid, status=500)
    place.fetch()

    row = place.rows[uid]
    assert row["status"] == "failed"
    assert {name: row[name] for name in PROOF} == dict.fromkeys(PROOF)
    place.sandbox.faults.clear()
    place.fetch()
    place.demand_complete()
