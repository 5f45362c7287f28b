"""A SOPInstanceUID of several objects is that of the first, whichever file of `images` has it."""

from __future__ import annotations

import shutil

import pyarrow as pa

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, INDEXED_ZIPS, UNINDEXED_ZIPS
from tcia_assets.images.headers import image_rows
from tcia_assets.images.headers.indexed_zips import IndexedImages
from tcia_assets.store.conform import conform, empty, replace_column
from tcia_assets.store.series_parts import SeriesParts
from tcia_assets_tests.images.headers.zip_warehouse import (
    COLLECTION,
    FIRST,
    SECOND,
    ZipWarehouse,
    objects,
)
from tcia_assets_tests.store.tables import drop_columns

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


def test_zips_with_repeated_uids_are_read_again_only_if_their_uids_are_free(
    zips: ZipWarehouse,
) -> None:
    zips.add(objects(), FIRST)
    zips.add(objects(), SECOND)
    assert index(zips) == 6
    assert index(zips) == 0
    zips.add(objects(THIRD), THIRD)
    assert index(zips) == 3
    del zips.manifest[FIRST]
    zips.write_manifest()
    assert (index(zips), index(zips)) == (3, 0)


def test_a_uid_that_became_free_in_a_run_that_was_killed_is_given_by_the_next(
    zips: ZipWarehouse,
) -> None:
    same = {"1-01.dcm": objects()["1-01.dcm"]}
    for series in (FIRST, SECOND):
        zips.add(same | {"2.dcm": objects(series)["1-02.dcm"]}, series)
        index(zips)
    del zips.manifest[FIRST]
    zips.write_manifest()
    with zips.warehouse.lock(IMAGES, COLLECTION):  # the first thing that a run stores
        IndexedImages(COLLECTION, zips.warehouse, 2).replace(empty(IMAGES), {FIRST})

    assert owners(zips) == [SECOND]
    assert (index(zips), owners(zips)) == (2, [SECOND, SECOND])


def test_an_object_that_one_series_loses_is_that_of_another_read_before_it(
    zips: ZipWarehouse,
) -> None:
    # In the order of the manifest; the one with the greater UID names the other.
    both = (SECOND, FIRST)
    same = {"1.dcm": objects()["1-01.dcm"]}
    for series in both:
        zips.add(same | rest(series), series)
    write_manifest_as_fetched(zips, both)
    index(zips)
    shutil.rmtree(zips.warehouse.files(IMAGE_ARCHIVES, COLLECTION).folder)
    zips.add(rest(FIRST), FIRST)
    zips.add(same | rest(SECOND) | {"4.dcm": objects(SECOND, 4)["1-04.dcm"]}, SECOND)
    write_manifest_as_fetched(zips, both)

    assert (index(zips), index(zips)) == (2 + 4, 0)
    assert [bool(row["SOPInstanceUID"]) for row in zips.rows()] == [True] * 6


def test_an_object_that_moved_is_found_in_an_index_of_an_earlier_version(
    zips: ZipWarehouse,
) -> None:
    for series in (THIRD, SECOND):
        zips.add(objects(series), series)
        index(zips)
    before = zips.warehouse.read(INDEXED_ZIPS, [COLLECTION])
    forget_numbers(zips)
    # No sensor starts a run for it: the next run that has a reason completes the index.
    problems = zips.warehouse.query(UNINDEXED_ZIPS)["problem"].to_pylist()
    assert problems == ["not in series_changes"] * 2
    assert index(zips) == 0
    assert zips.warehouse.read(INDEXED_ZIPS, [COLLECTION]) == before

    forget_numbers(zips)
    zips.add({"1.dcm": objects(SECOND)["1-01.dcm"]} | rest(FIRST), FIRST)
    assert index(zips) == 3
    assert owners(zips) == [FIRST] * 3 + [SECOND] * 2 + [THIRD] * 3


def test_a_number_that_two_uids_share_changes_nothing(zips: ZipWarehouse) -> None:
    zips.add(objects(FIRST), FIRST)
    index(zips)
    stored = zips.warehouse.read(IMAGES, [COLLECTION])
    summaries = zips.warehouse.files(INDEXED_ZIPS, COLLECTION)
    own = summaries.read(0)
    zips.add(objects(SECOND), SECOND)
    index(zips)
    expected = [zips.warehouse.read(table, [COLLECTION]) for table in (IMAGES, INDEXED_ZIPS)]
    with zips.warehouse.lock(IMAGES, COLLECTION):
        images = IndexedImages(COLLECTION, zips.warehouse, 2)
        images.replace(empty(IMAGES), {SECOND})
        foreign = expected[1]["uid_numbers"].combine_chunks().flatten()
        numbers = pa.array([foreign.to_pylist()], pa.list_(pa.int64()))
        made_from = zips.warehouse.files(IMAGES, COLLECTION).digests()[0]
        summaries.write(0, replace_column(own, "uid_numbers", numbers), made_from)

    assert index(zips) == 3
    found = [zips.warehouse.read(table, [COLLECTION]) for table in (IMAGES, INDEXED_ZIPS)]
    assert found == expected
    assert zips.warehouse.files(IMAGES, COLLECTION).read(0) == stored


def test_a_zip_that_cannot_be_read_keeps_its_rows_though_a_uid_is_free(zips: ZipWarehouse) -> None:
    zips.add(objects(), FIRST)
    zips.add(objects(), SECOND)
    index(zips)
    zips.path(SECOND).write_bytes(b"no zip")
    del zips.manifest[FIRST]
    zips.write_manifest()

    assert index(zips) == 0
    assert [row["entry_name"] for row in zips.rows()] == list(objects())


def forget_numbers(zips: ZipWarehouse) -> None:
    """Write `indexed_zips` as a version did that looked for UIDs in `images`."""
    files = zips.warehouse.files(INDEXED_ZIPS, COLLECTION)
    assert len(files.numbers()) == 2
    for number in files.numbers():
        drop_columns(files, "uid_numbers", number=number)


def rest(series: str) -> dict[str, bytes]:
    found = objects(series)
    return {"2.dcm": found["1-02.dcm"], "3.dcm": found["1-03.dcm"]}


def write_manifest_as_fetched(zips: ZipWarehouse, series: tuple[str, ...]) -> None:
    """Write the manifest with a file for each Series, in this order."""
    shutil.rmtree(zips.warehouse.files(IMAGE_ARCHIVES, COLLECTION).folder)
    with zips.warehouse.lock(IMAGE_ARCHIVES, COLLECTION):
        for uid in series:
            rows = pa.Table.from_pylist([zips.manifest[uid]], schema=IMAGE_ARCHIVES.schema)
            parts = SeriesParts(zips.warehouse.files(IMAGE_ARCHIVES, COLLECTION), 1)
            parts.replace(conform(IMAGE_ARCHIVES, rows))
