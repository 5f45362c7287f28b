"""What is expected of the zip of a Series."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_assets.images.acceptance.rules import Member, Proof
from tcia_assets.images.pending import PendingSeries
from tcia_assets.images.series_task import SeriesTask, VerifiedZip, proof_hash
from tcia_assets_tests.images.place import COLLECTION, Place, md5

PENDING = PendingSeries("1.2", 3, 3_000, "f", None, None, 0, "new")


def task(place: Place, pending: PendingSeries) -> SeriesTask:
    with place.source() as source:
        archives = place.warehouse.archives
        return SeriesTask(pending, COLLECTION, source, place.data_dir, archives, lambda _: None)


def test_a_zip_may_be_somewhat_larger_than_its_objects(place: Place) -> None:
    assert task(place, PENDING).max_bytes == 3_000 + 3 * 1024 + (1 << 20)


@pytest.mark.parametrize(("unknown", "most"), [("image_count", 1 << 40), ("image_bytes", 13 << 30)])
def test_a_series_of_unknown_size_has_a_maximum_too(place: Place, unknown: str, most: int) -> None:
    assert 12 << 30 < task(place, replace(PENDING, **{unknown: None})).max_bytes <= most


def test_the_hash_of_a_proof_is_that_of_its_members() -> None:
    members = tuple(Member(f"{n}.dcm", f"1.2.{n}", 1, md5(bytes([n]))) for n in range(3))
    joined = "".join(sorted(member.md5 for member in members))
    assert proof_hash(Proof(3, 3, "md5", members)) == md5(joined.encode())


def test_a_verified_zip_has_the_size_and_hash_of_its_file(tmp_path: Path) -> None:
    path, proof = tmp_path / "1.2.zip", Proof(1, 1, "md5")
    path.write_bytes(b"content")

    assert VerifiedZip.at(path, proof) == VerifiedZip(
        proof, 7, hashlib.sha256(b"content").hexdigest()
    )
    assert VerifiedZip.at(path, proof, "known").sha256 == "known"
