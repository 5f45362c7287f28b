"""What objects refer to becomes rows, and only changed zips are read."""

from __future__ import annotations

import shutil
import zipfile

from tcia_assets.catalog import INDEXED_ZIPS, REFERENCES, TARGETS
from tcia_assets.images.headers import references
from tcia_assets_tests.images.headers.zip_warehouse import (
    COLLECTION,
    FIRST,
    MASK_SERIES,
    SECOND,
    ZipWarehouse,
    add_images,
    index_all,
    mask_object,
    objects,
    table_rows,
)


def test_each_reference_and_target_is_a_row(zips: ZipWarehouse) -> None:
    add_images(zips)
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    done = index_all(zips)
    assert (done.new, done.kept, done.waiting, done.without, done.with_errors) == (1, 0, 0, 0, 0)
    found = table_rows(zips)
    assert {row["SeriesInstanceUID"] for row in found} == {MASK_SERIES}
    by_way = {how: [r for r in found if r["how"] == how] for how in ("series", "sop")}
    assert [row["referenced_series_instance_uid"] for row in by_way["series"]] == [FIRST]
    assert len(by_way["sop"]) == 8
    assert len(found) == 10
    assert all(row["SOPInstanceUID"] and row["Modality"] == "SEG" for row in found)
    names = [
        (r["target_place"], r["target_number"], r["target_name"]) for r in table_rows(zips, TARGETS)
    ]
    assert names == [(1, 1, "Body"), (2, 2, "Lesion")]


def test_acquired_images_are_not_opened(zips: ZipWarehouse) -> None:
    add_images(zips)
    zips.index()
    zips.path().unlink()
    assert references.index_references(COLLECTION, zips.warehouse).new == 0
    assert table_rows(zips) == []


def test_references_stay_where_the_index_of_zips_is_lost(zips: ZipWarehouse) -> None:
    add_images(zips)
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    index_all(zips)
    before = table_rows(zips)
    shutil.rmtree(zips.warehouse.files(INDEXED_ZIPS, COLLECTION).folder)
    done = references.index_references(COLLECTION, zips.warehouse)
    assert (done.new, done.kept) == (0, 1)
    assert table_rows(zips) == before


def test_an_object_without_references_has_one_row_and_is_read_once(zips: ZipWarehouse) -> None:
    zips.add({"sr.dcm": mask_object("SR")}, MASK_SERIES)
    assert index_all(zips).without == 1
    (row,) = table_rows(zips)
    assert (row["how"], row["error"]) == (None, None)
    zips.path(MASK_SERIES).unlink()
    done = references.index_references(COLLECTION, zips.warehouse)
    assert (done.new, done.kept, done.references.changed) == (0, 1, False)


def test_an_unreadable_object_is_a_row_with_the_reason(zips: ZipWarehouse) -> None:
    zips.add(
        {"cut.dcm": mask_object("RTSTRUCT")[:3000], "seg.dcm": mask_object("SEG")}, MASK_SERIES
    )
    assert index_all(zips).with_errors == 1
    (row,) = [row for row in table_rows(zips) if row["error"]]
    assert row["entry_name"] == "cut.dcm"
    assert "ends within its header" in row["error"]


def test_only_changed_zips_are_read_and_rows_go_with_their_zip(zips: ZipWarehouse) -> None:
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    zips.add(objects(SECOND, 1, "RTSTRUCT"), SECOND)
    index_all(zips)
    zips.path(SECOND).unlink()
    zips.add({"other.dcm": mask_object("RTSTRUCT")}, MASK_SERIES)
    done = index_all(zips)
    assert (done.new, done.kept) == (1, 1)
    assert {row["entry_name"] for row in table_rows(zips)} == {"other.dcm", "1-01.dcm"}
    del zips.manifest[SECOND]
    zips.write_manifest()
    index_all(zips)
    for table in (REFERENCES, TARGETS):
        assert {row["entry_name"] for row in table_rows(zips, table)} == {"other.dcm"}


def test_a_zip_that_images_does_not_describe_is_not_read(zips: ZipWarehouse) -> None:
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    assert references.index_references(COLLECTION, zips.warehouse).waiting == 1
    assert table_rows(zips) == []
    assert index_all(zips).waiting == 0


def test_deleted_targets_are_read_again(zips: ZipWarehouse) -> None:
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    index_all(zips)
    before = table_rows(zips, TARGETS)
    zips.warehouse.path(TARGETS, COLLECTION).unlink()
    assert index_all(zips).new == 1
    assert table_rows(zips, TARGETS) == before


def test_pixels_are_never_inflated(zips: ZipWarehouse) -> None:
    content = mask_object("SEG") + bytes(8 << 20)
    zips.add({"seg.dcm": content}, MASK_SERIES, hashes={"seg.dcm": "0" * 32})
    with zipfile.ZipFile(zips.path(MASK_SERIES)) as archive:
        member = archive.getinfo("seg.dcm")
    spoiled = bytearray(zips.path(MASK_SERIES).read_bytes())
    end = member.header_offset + 30 + len("seg.dcm") + member.compress_size
    spoiled[end - 600 : end] = b"\xff" * 600
    zips.path(MASK_SERIES).write_bytes(spoiled)
    zips.describe(MASK_SERIES)
    assert index_all(zips).with_errors == 0
    assert len(table_rows(zips)) == 10


def test_references_grow_by_parts(zips: ZipWarehouse) -> None:
    series = [f"{MASK_SERIES}.{number}" for number in range(3)]
    for uid in series:
        zips.add({"seg.dcm": mask_object("SEG")}, uid)
    zips.index()

    def index() -> references.ReferencesResult:
        return references.index_references(COLLECTION, zips.warehouse, rows_per_part=10)

    assert (index().new, index().new) == (3, 0)
    files = [zips.warehouse.files(table, COLLECTION) for table in (REFERENCES, TARGETS)]
    assert [len(each.numbers()) for each in files] == [3, 1]
    before = [path.stat() for each in files for path in each.paths()]
    assert not index().references.changed
    assert [path.stat() for each in files for path in each.paths()] == before
    del zips.manifest[series[1]]
    zips.write_manifest()
    zips.index()
    assert (index().kept, index().references.rows) == (2, 20)
    assert {row["SeriesInstanceUID"] for row in table_rows(zips, TARGETS)} == {*series[::2]}


def test_an_object_whose_uid_has_become_free_has_it_in_its_references_too(
    zips: ZipWarehouse,
) -> None:
    for series in (FIRST, SECOND):
        zips.add({"seg.dcm": mask_object("SEG")}, series)
    assert (index_all(zips).new, index_all(zips).new) == (2, 0)
    for gone, is_added in ((FIRST, False), (FIRST, True)):
        if is_added:
            zips.add({"seg.dcm": mask_object("SEG")}, gone)
        else:
            del zips.manifest[gone]
            zips.write_manifest()
        assert (index_all(zips).new, index_all(zips).new) == (1 + is_added, 0)
        for table in (REFERENCES, TARGETS):
            stored = {
                (row["SeriesInstanceUID"], row["SOPInstanceUID"]) for row in table_rows(zips, table)
            }
            assert stored == {
                (row["SeriesInstanceUID"], row["SOPInstanceUID"]) for row in zips.rows()
            }
