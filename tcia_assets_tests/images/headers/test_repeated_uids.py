"""A SOPInstanceUID of several objects is that of the first, whichever file of `images` has it."""

from __future__ import annotations

from tcia_assets.images.headers import image_rows
from tcia_assets_tests.images.headers.zip_warehouse import (
    COLLECTION,
    FIRST,
    SECOND,
    ZipWarehouse,
    objects,
)

THIRD = "1.3.6.1.4.1.14519.5.2.1.3"


def owners(zips: ZipWarehouse) -> list[str]:
    return [row["SeriesInstanceUID"] for row in zips.rows() if row["SOPInstanceUID"]]


def index(zips: ZipWarehouse) -> int:
    done = image_rows.index_images(COLLECTION, zips.warehouse, rows_per_part=2)
    return done.new


def test_the_first_series_keeps_the_uid_in_whatever_order_they_come(zips: ZipWarehouse) -> None:
    same = {"1-01.dcm": objects()["1-01.dcm"]}
    for series in (SECOND, THIRD, FIRST):
        zips.add(same | {"2.dcm": objects(series)["1-02.dcm"]}, series)
        index(zips)
    assert len(zips.warehouse.files(image_rows.IMAGES, COLLECTION).numbers()) > 1
    assert owners(zips) == [FIRST, FIRST, SECOND, THIRD]
    errors = [row["error"] for row in zips.rows() if row["SOPInstanceUID"] is None]
    assert all(f"'1-01.dcm' of Series {FIRST}" in error for error in errors)
    for gone, kept in ((FIRST, SECOND), (SECOND, THIRD)):
        del zips.manifest[gone]
        zips.write_manifest()
        index(zips)
        assert owners(zips)[:2] == [kept, kept]


def test_zips_with_repeated_uids_are_read_again_only_if_a_zip_changed(zips: ZipWarehouse) -> None:
    zips.add(objects(), FIRST)
    zips.add(objects(), SECOND)
    assert index(zips) == 6
    assert index(zips) == 0
    zips.add(objects(THIRD), THIRD)
    assert index(zips) == 3 + 3
