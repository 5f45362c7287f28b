"""Only zips that changed are read again."""

from __future__ import annotations

from tcia_assets.images.headers import image_rows
from tcia_assets_tests.images.headers.zip_warehouse import (
    COLLECTION,
    FIRST,
    SECOND,
    ZipWarehouse,
    objects,
)


def counts(result: image_rows.IndexResult) -> tuple[int, int, int]:
    return result.objects, result.new, result.kept


def test_a_zip_that_cannot_be_read_has_one_row_and_is_read_again(zips: ZipWarehouse) -> None:
    zips.add(objects())
    whole = zips.path().read_bytes()
    zips.path().write_bytes(b"no zip" + bytes(len(whole) - 6))
    assert counts(zips.index()) == (1, 1, 0)
    (row,) = zips.rows()
    assert row["entry_name"] is None
    assert "the zip cannot be read" in row["error"]
    zips.path().unlink()
    assert counts(zips.index()) == (1, 1, 0)
    assert "it is gone; `tcia-assets verify` marks its row" in zips.rows()[0]["error"]
    zips.path().write_bytes(whole + b" ")
    zips.index()
    assert f"{len(whole) + 1} bytes" in zips.rows()[0]["error"]
    zips.path().write_bytes(whole)
    assert counts(zips.index()) == (3, 3, 0)


def test_an_unchanged_zip_is_not_opened(zips: ZipWarehouse) -> None:
    zips.add(objects(), hashes={})
    zips.add(objects(SECOND), SECOND)
    zips.index()
    before = zips.rows()
    zips.path(FIRST).unlink()
    zips.path(SECOND).write_bytes(b"")
    reports: list[tuple[int, int]] = []
    done = image_rows.index_images(COLLECTION, zips.warehouse, report=lambda *r: reports.append(r))
    assert (counts(done), done.written.changed, reports) == ((6, 0, 6), False, [])
    assert zips.rows() == before


def test_only_new_and_changed_zips_are_read(zips: ZipWarehouse) -> None:
    zips.add(objects())
    zips.add(objects(SECOND), SECOND)
    zips.index()
    zips.path(FIRST).unlink()
    zips.add(objects(SECOND, count=5), SECOND)
    reports: list[tuple[int, int]] = []
    done = image_rows.index_images(COLLECTION, zips.warehouse, report=lambda *r: reports.append(r))
    assert (counts(done), reports) == ((8, 5, 3), [(1, 1)])
    assert {row["archive_sha256"] for row in zips.rows()} == {
        row["sha256"] for row in zips.manifest.values()
    }


def test_rows_are_removed_with_their_zip(zips: ZipWarehouse) -> None:
    zips.add(objects())
    zips.add(objects(SECOND), SECOND)
    zips.index()
    del zips.manifest[FIRST]
    zips.write_manifest()
    assert counts(zips.index()) == (3, 0, 3)


def test_an_earlier_copy_keeps_its_rows_if_the_newer_one_fails(zips: ZipWarehouse) -> None:
    zips.add(objects())
    zips.index()
    zips.describe(FIRST, status="incomplete")
    zips.write_manifest()
    assert counts(zips.index()) == (3, 0, 3)
    zips.manifest[FIRST]["path"] = None
    zips.write_manifest()
    assert counts(zips.index()) == (0, 0, 0)
