"""`images` has a row for each object of the zips in the manifest."""

from __future__ import annotations

import shutil
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import IMAGES
from tcia_assets.images.headers import image_rows
from tcia_assets.images.run_limits import RereadBudget
from tcia_assets.store.conform import empty
from tcia_assets_tests.examples import examples
from tcia_assets_tests.images.headers.dicom_bytes import SERIES, SOP, dicom_file, element
from tcia_assets_tests.images.headers.zip_warehouse import (
    COLLECTION,
    FIRST,
    SECOND,
    ZipWarehouse,
    forget_columns,
    md5,
    objects,
)


def counts(done: image_rows.IndexResult) -> tuple[int, int, int]:
    return done.objects, done.new, done.kept


def test_each_object_has_a_row_with_its_place(zips: ZipWarehouse) -> None:
    expected = []
    for number, modality in enumerate(("CT", "MR", "PT", "SEG", "RTSTRUCT", "RTDOSE", "SR")):
        series = f"{FIRST}.{number}"
        members = objects(series, modality=modality)
        zips.add(members, series, {name: md5(content) for name, content in members.items()})
        expected += [(series, modality, *member) for member in members.items()]
    done = zips.index()
    assert (counts(done), done.unreadable, done.with_errors) == ((21, 21, 0), 0, 0)
    for row, (series, modality, name, content) in zip(zips.rows(), expected, strict=True):
        assert (row["SeriesInstanceUID"], row["entry_name"]) == (series, name)
        assert (row["size_bytes"], row["md5"]) == (len(content), md5(content))
        assert row["archive_sha256"] == zips.manifest[series]["sha256"]
        assert (row["Collection"], row["Modality"], row["error"]) == (COLLECTION, modality, None)


def test_a_collection_without_archives_has_no_images(zips: ZipWarehouse) -> None:
    done = zips.index()
    assert zips.warehouse.read(IMAGES, [COLLECTION]).equals(empty(IMAGES))
    assert (counts(done), done.files_per_second) == ((0, 0, 0), 0)
    assert zips.warehouse.has(IMAGES, COLLECTION)


@pytest.mark.parametrize("listed_md5", [None, "", "null"])
def test_an_md5_that_the_zip_does_not_list_is_computed(
    zips: ZipWarehouse, listed_md5: str | None
) -> None:
    members = objects()
    hashes = None if listed_md5 is None else dict.fromkeys(members, listed_md5)
    zips.add(members, hashes=hashes)
    zips.index()
    assert [row["md5"] for row in zips.rows()] == [md5(each) for each in members.values()]


def test_a_header_longer_than_the_first_read_is_read_to_its_end(zips: ZipWarehouse) -> None:
    long = element(0x00091001, "UT", b"x" * 100_000)
    zips.add(
        {"long.dcm": dicom_file(long, element(0x00280010, "US", b"\0\2")) + bytes(50_000)}, SERIES
    )
    zips.index()
    (row,) = zips.rows()
    assert (row["SOPInstanceUID"], row["SeriesInstanceUID"]) == (SOP, SERIES)
    assert (row["Rows"], row["error"]) == (512, None)


def test_only_the_header_is_inflated(zips: ZipWarehouse) -> None:
    content = objects()["1-01.dcm"] + bytes(1 << 20)
    zips.add({"a.dcm": content}, hashes={"a.dcm": md5(content)})
    # The deflated zeros end in bytes that do not inflate: reading on raises an error.
    with zipfile.ZipFile(zips.path()) as archive:
        member = archive.getinfo("a.dcm")
    spoiled = bytearray(zips.path().read_bytes())
    end = member.header_offset + 30 + len("a.dcm") + member.compress_size
    spoiled[end - 600 : end] = b"\xff" * 600
    zips.path().write_bytes(spoiled)
    zips.describe()
    with zipfile.ZipFile(zips.path()) as archive, pytest.raises((zipfile.BadZipFile, zlib.error)):
        archive.read("a.dcm")
    zips.index()
    assert [row["error"] for row in zips.rows()] == [None]


def test_an_unreadable_member_is_a_row_with_the_reason(zips: ZipWarehouse) -> None:
    good = objects()
    members = {"a": b"<html>", "b": b"", "c": bytes(5000), "d": good["1-01.dcm"][:200]} | good
    zips.add(members)
    done = zips.index()
    assert (done.objects, done.unreadable, done.with_errors) == (7, 4, 4)
    rows = {row["entry_name"]: row for row in zips.rows()}
    for name in "abcd":
        row = rows[name]
        assert row["SOPInstanceUID"] is None
        assert (row["SeriesInstanceUID"], row["Collection"]) == (FIRST, COLLECTION)
        assert (row["size_bytes"], row["md5"]) == (len(members[name]), md5(members[name]))
        assert row["error"]
    assert "not a DICOM file" in rows["a"]["error"]


def test_a_corrupt_member_is_a_row_with_the_reason(zips: ZipWarehouse) -> None:
    members = objects()
    zips.add(members)
    with zipfile.ZipFile(zips.path()) as archive:
        place = archive.getinfo("1-02.dcm").header_offset
    spoiled = bytearray(zips.path().read_bytes())
    spoiled[place + 38 : place + 60] = b"\xff" * 22
    zips.path().write_bytes(spoiled)
    zips.describe()
    assert zips.index().unreadable == 1
    row = zips.rows()[1]
    assert row["entry_name"] == "1-02.dcm"
    assert "header cannot be read" in row["error"]
    assert "MD5 cannot be computed" in row["error"]


def test_an_object_of_a_different_series_has_an_error(zips: ZipWarehouse) -> None:
    zips.add(objects(SECOND), FIRST)
    zips.index()
    for row in zips.rows():
        assert row["SeriesInstanceUID"] == FIRST
        assert row["error"] == f"its header has Series {SECOND}"


def test_an_object_in_two_zips_has_one_uid_until_one_is_removed(zips: ZipWarehouse) -> None:
    members = objects()
    zips.add(members, FIRST)
    zips.add({name: members[name] for name in ("1-01.dcm", "1-02.dcm")}, SECOND)
    for _ in range(2):
        assert zips.index().unreadable == 2
        rows = zips.rows()
        assert all(row["SOPInstanceUID"] for row in rows[:3])
        for row in rows[3:]:
            assert row["SOPInstanceUID"] is None
            assert f"'{row['entry_name']}' of Series {FIRST}" in row["error"]
    del zips.manifest[FIRST]
    zips.write_manifest()
    zips.index()
    assert [row["SeriesInstanceUID"] for row in zips.rows()] == [SECOND] * 2
    assert all(row["SOPInstanceUID"] for row in zips.rows())


def test_unexpected_names_and_values_are_accepted(zips: ZipWarehouse) -> None:
    same = objects()["1-01.dcm"]
    with zipfile.ZipFile(zips.path(), "w") as archive:
        for name in ("a,b.dcm", 'q"uote\n', "ü山.dcm", "folder/"):
            archive.writestr(name, same)
    zips.describe()
    done = zips.index()
    assert (done.objects, done.unreadable) == (4, 3)
    assert all((row["error"] or "-").isprintable() for row in zips.rows())


def test_all_zips_are_read_again_for_a_new_column(zips: ZipWarehouse) -> None:
    zips.add(objects())
    zips.index()
    before = zips.rows()
    forget_columns(zips.warehouse, "KVP")
    assert zips.rows() != before
    assert counts(zips.index()) == (3, 3, 0)
    assert zips.rows() == before
    assert counts(zips.index()) == (3, 0, 3)


def test_the_values_of_new_columns_are_read_zip_by_zip_within_a_limit_of_time(
    zips: ZipWarehouse,
) -> None:
    for series in (FIRST, SECOND):
        zips.add(objects(series), series)
    zips.index()
    before = zips.rows()
    forget_columns(zips.warehouse, "KVP")
    old = zips.rows()
    done = image_rows.index_images(COLLECTION, zips.warehouse, reread=RereadBudget(-1))
    assert (counts(done), done.outdated) == ((6, 0, 6), 6)
    assert zips.rows() == old

    def wait(_done: int, _total: int) -> None:
        time.sleep(0.6)

    budget = RereadBudget(0.5)
    done = image_rows.index_images(COLLECTION, zips.warehouse, report=wait, reread=budget)
    assert budget.seconds < 0
    assert (counts(done), done.outdated) == ((6, 3, 3), 3)
    assert zips.rows() == [*before[:3], *old[3:]]
    done = image_rows.index_images(COLLECTION, zips.warehouse)
    assert (counts(done), done.outdated) == ((6, 3, 3), 0)
    assert zips.rows() == before


def test_a_new_zip_is_read_even_if_no_time_is_left_to_read_others_again(
    zips: ZipWarehouse,
) -> None:
    zips.add(objects())
    zips.index()
    forget_columns(zips.warehouse)
    zips.add(objects(SECOND), SECOND)
    done = image_rows.index_images(COLLECTION, zips.warehouse, reread=RereadBudget(-1))
    assert (counts(done), done.outdated) == ((6, 3, 3), 3)


def test_a_zip_that_cannot_be_read_again_keeps_its_rows(zips: ZipWarehouse) -> None:
    zips.add(objects())
    zips.index()
    forget_columns(zips.warehouse, "KVP")
    old = zips.rows()
    zips.path().unlink()
    done = zips.index()
    assert (counts(done), done.outdated) == ((3, 0, 3), 3)
    assert zips.rows() == old


def test_rows_are_stored_as_zips_are_read_and_an_interrupted_run_goes_on(
    zips: ZipWarehouse,
) -> None:
    series = [f"{FIRST}.{number}" for number in range(5)]
    for uid in series:
        zips.add(objects(uid), uid)

    def stop_at_the_fourth(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_rows.index_images(
            COLLECTION, zips.warehouse, report=stop_at_the_fourth, rows_per_part=3
        )
    assert {row["SeriesInstanceUID"] for row in zips.rows()} == set(series[:3])
    done = image_rows.index_images(COLLECTION, zips.warehouse, rows_per_part=3)
    assert counts(done) == (15, 6, 9)
    assert zips.warehouse.files(IMAGES, COLLECTION).numbers() == [0, 1, 2, 3, 4]
    assert len(zips.rows()) == 15
    again = image_rows.index_images(COLLECTION, zips.warehouse, rows_per_part=3)
    assert (counts(again), again.written.changed) == ((15, 0, 15), False)


def test_only_new_zips_are_looked_for_if_no_others_can_differ(zips: ZipWarehouse) -> None:
    zips.add(objects())
    zips.index()
    zips.add(objects(count=2))
    zips.add(objects(SECOND), SECOND)
    done = image_rows.index_images(COLLECTION, zips.warehouse, new_zips={SECOND})
    assert counts(done) == (6, 3, 3), "nobody looks for the other zip, which was replaced"
    assert counts(zips.index()) == (5, 2, 3)
    done = image_rows.index_images(COLLECTION, zips.warehouse, new_zips=set())
    assert (counts(done), done.written.changed) == ((5, 0, 5), False)


def test_other_zips_that_are_new_or_gone_show_in_their_number(zips: ZipWarehouse) -> None:
    for uid in (FIRST, SECOND):
        zips.add(objects(uid), uid)
    done = image_rows.index_images(COLLECTION, zips.warehouse, new_zips={SECOND})
    assert counts(done) == (6, 6, 0)
    del zips.manifest[FIRST]
    zips.write_manifest()
    done = image_rows.index_images(COLLECTION, zips.warehouse, new_zips=set())
    assert counts(done) == (3, 0, 3)
    assert {row["SeriesInstanceUID"] for row in zips.rows()} == {SECOND}


def test_one_more_zip_costs_one_file(zips: ZipWarehouse) -> None:
    for number in range(4):
        zips.add(objects(f"{FIRST}.{number}"), f"{FIRST}.{number}")
    image_rows.index_images(COLLECTION, zips.warehouse, rows_per_part=6)
    files = zips.warehouse.files(IMAGES, COLLECTION)
    before = {path: path.stat() for path in files.paths()}
    zips.add(objects(SECOND), SECOND)
    image_rows.index_images(COLLECTION, zips.warehouse, rows_per_part=6)
    assert len(before) == 2 and len(files.paths()) == 3
    assert {path: path.stat() for path in before} == before


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_zips_raise_no_error(data: st.DataObject, tmp_path: Path) -> None:
    # In one folder, whose views are made once; an empty one for each example.
    shutil.rmtree(tmp_path / "zips", ignore_errors=True)
    zips = ZipWarehouse(tmp_path / "zips")
    members = objects(count=2)
    zips.add(members, hashes={name: md5(content) for name, content in members.items()})
    content = bytearray(zips.path().read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(-400, 400)) % len(content)] = data.draw(st.integers(0, 255))
    zips.path().write_bytes(content)
    zips.describe()
    done = zips.index()
    assert done.objects == len(zips.rows())
    for row in zips.rows():
        assert row["SOPInstanceUID"] or row["error"]
