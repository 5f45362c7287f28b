"""Files beside the zips that were changed or removed since they were written."""

from __future__ import annotations

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.images.changed_texts import TEXTS, restore_texts
from tcia_assets.images.run_limits import Shard
from tcia_assets_tests.images.bucket_place import BucketPlace, Machine
from tcia_assets_tests.images.place import COLLECTION, FOLDER, Place
from tcia_assets_tests.s3_proxy import Proxy

SUMS, LICENCES = f"{FOLDER}/SHA256SUMS", f"{FOLDER}/LICENSES.md"


def read(place: BucketPlace, name: str) -> bytes:
    return place.warehouse.archives.open(name).read()


def test_changed_files_are_put_again_by_a_machine_that_has_put_them(
    machine: Machine, served_s3: Proxy
) -> None:
    one = machine()
    other = machine()
    one.fetch()
    before = [read(one, name) for name in (SUMS, LICENCES)]
    assert restore_texts(COLLECTION, one.warehouse) == []
    other.warehouse.archives.put_text(SUMS, "no hash")
    other.warehouse.archives.delete(LICENCES)
    one.fetch()
    assert read(one, SUMS) == b"no hash", "nothing was requested for it"
    assert restore_texts(COLLECTION, one.warehouse) == ["LICENSES.md", "SHA256SUMS"]
    assert [read(one, name) for name in (SUMS, LICENCES)] == before
    served_s3.seen.clear()
    assert restore_texts(COLLECTION, one.warehouse) == []
    assert {request.method for request in served_s3.seen} == {"HEAD"}


def test_zips_of_the_time_before_the_bucket_stay(machine: Machine) -> None:
    one = machine()
    one.fetch()
    local = one.folder / f"{one.uids[0]}.zip"
    local.write_bytes(b"the last copy")
    notes = one.folder / "notes.txt"
    notes.write_text("of a user")
    one.warehouse.archives.delete(one.zip_name(one.uids[0]))
    one.warehouse.archives.delete(SUMS)

    assert restore_texts(COLLECTION, one.warehouse) == ["SHA256SUMS"]
    assert local.read_bytes() == b"the last copy" and notes.exists()


def test_files_of_a_folder_are_written_again(fetched: Place) -> None:
    texts = {name: (fetched.folder / name).read_bytes() for name in TEXTS}
    assert restore_texts(COLLECTION, fetched.warehouse) == []
    (fetched.folder / "SHA256SUMS").write_bytes(texts["SHA256SUMS"][:500])
    (fetched.folder / "CITATION.cff").unlink()
    assert restore_texts(COLLECTION, fetched.warehouse) == ["CITATION.cff", "SHA256SUMS"]
    assert {name: (fetched.folder / name).read_bytes() for name in TEXTS} == texts


def test_files_of_a_lost_manifest_stay(fetched: Place) -> None:
    before = (fetched.folder / "SHA256SUMS").read_bytes()
    fetched.warehouse.path(IMAGE_ARCHIVES, COLLECTION).unlink()
    assert restore_texts(COLLECTION, fetched.warehouse) == []
    assert (fetched.folder / "SHA256SUMS").read_bytes() == before


def test_a_machine_that_knows_a_part_puts_none(machine: Machine) -> None:
    one = machine()
    shard = machine()
    one.fetch()
    with shard.source() as source:
        shard.fetch_by(source, shard=Shard(0, 2))
    one.warehouse.archives.delete(SUMS)
    assert restore_texts(COLLECTION, shard.warehouse) == []
    assert restore_texts(COLLECTION, one.warehouse) == ["SHA256SUMS"]
