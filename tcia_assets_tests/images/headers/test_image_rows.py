"""`images` follows the manifest, at the cost of what changed, and holds a row for every object."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES
from tcia_assets.images.headers import image_rows
from tcia_assets.sandbox import phantom
from tcia_assets.store.conform import conform, empty
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.headers.test_dicom import SERIES, SOP, element, made

COLLECTION = "LCTSC"
FIRST, SECOND = "1.3.6.1.4.1.14519.5.2.1.1", "1.3.6.1.4.1.14519.5.2.1.2"


def objects(series: str = FIRST, count: int = 3, modality: str = "CT") -> dict[str, bytes]:
    facts = {
        "SeriesInstanceUID": series,
        "StudyInstanceUID": "1.3.6.1.4.1.14519.5.2.1",
        "PatientID": "LCTSC-Test-S1-101",
        "Collection": COLLECTION,
        "Modality": modality,
        "ImageCount": count,
    }
    found = enumerate(phantom.objects(facts), start=1)
    return {f"1-{place:02d}.dcm": content for place, (_, content) in found}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class Disk:
    """A warehouse whose manifest is what the zips are."""

    def __init__(self, root: Path) -> None:
        self.warehouse = Warehouse(root)
        self.manifest: dict[str, dict[str, Any]] = {}

    def path(self, series: str = FIRST) -> Path:
        return self.warehouse.root / f"{series}.zip"

    def put(
        self, members: dict[str, bytes], series: str = FIRST, hashes: dict[str, str] | None = None
    ) -> None:
        with zipfile.ZipFile(self.path(series), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("LICENSE", "CC BY 3.0")
            for name, content in members.items():
                archive.writestr(name, content)
            if hashes is not None:
                lines = [f"{name},{digest}\n" for name, digest in hashes.items()]
                archive.writestr("md5hashes.csv", "Filename,MD5Hash\n" + "".join(lines))
        self.note(series)

    def note(self, series: str = FIRST, status: str = "complete") -> None:
        content = self.path(series).read_bytes()
        self.manifest[series] = {
            "SeriesInstanceUID": series,
            "Collection": COLLECTION,
            "status": status,
            "path": self.path(series).name,
            "archive_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        self.save()

    def save(self) -> None:
        rows = pa.Table.from_pylist(list(self.manifest.values()), schema=IMAGE_ARCHIVES.schema)
        self.warehouse.write(IMAGE_ARCHIVES, conform(IMAGE_ARCHIVES, rows), COLLECTION)

    def index(self) -> image_rows.IndexResult:
        return image_rows.index_images(COLLECTION, self.warehouse)

    def rows(self) -> list[dict[str, Any]]:
        rows = self.warehouse.read(IMAGES, [COLLECTION]).to_pylist()
        return sorted(rows, key=lambda row: (row["SeriesInstanceUID"], row["entry_name"] or ""))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def counts(done: image_rows.IndexResult) -> tuple[int, int, int]:
    return done.objects, done.new, done.kept


# --- Rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "SEG", "RTSTRUCT", "RTDOSE", "SR"])
def test_each_object_has_a_row_with_where_it_lies(disk: Disk, modality: str) -> None:
    members = objects(modality=modality)
    disk.put(members, hashes={name: md5(content) for name, content in members.items()})
    done = disk.index()
    assert (counts(done), done.unreadable, done.with_errors) == ((3, 3, 0), 0, 0)
    for row, (name, content) in zip(disk.rows(), members.items(), strict=True):
        assert row["entry_name"] == name
        assert (row["size_bytes"], row["md5"]) == (len(content), md5(content))
        assert row["archive_sha256"] == disk.manifest[FIRST]["sha256"]
        assert (row["Collection"], row["Modality"], row["error"]) == (COLLECTION, modality, None)


def test_a_collection_without_archives_has_no_images(disk: Disk) -> None:
    assert image_rows.read_rows(COLLECTION, disk.warehouse).equals(empty(IMAGES))
    done = disk.index()
    assert (counts(done), done.files_per_second) == ((0, 0, 0), 0)
    assert disk.warehouse.has(IMAGES, COLLECTION)


@pytest.mark.parametrize("said", [None, "", "null"])
def test_an_md5_that_the_zip_does_not_tell_is_computed(disk: Disk, said: str | None) -> None:
    members = objects()
    listed = None if said is None else dict.fromkeys(members, said)
    disk.put(members, hashes=listed)
    disk.index()
    assert [row["md5"] for row in disk.rows()] == [md5(each) for each in members.values()]


def test_a_header_longer_than_the_first_read_is_read_to_its_end(disk: Disk) -> None:
    long = element(0x00091001, "UT", b"x" * 100_000)
    disk.put({"long.dcm": made(long, element(0x00280010, "US", b"\0\2")) + bytes(50_000)}, SERIES)
    disk.index()
    (row,) = disk.rows()
    assert (row["SOPInstanceUID"], row["SeriesInstanceUID"]) == (SOP, SERIES)
    assert (row["Rows"], row["error"]) == (512, None)


def test_no_more_is_inflated_than_the_header(disk: Disk) -> None:
    content = objects()["1-01.dcm"] + bytes(1 << 20)
    disk.put({"a.dcm": content}, hashes={"a.dcm": md5(content)})
    # The deflated zeros end in bytes that do not inflate: whoever reads on finds out.
    with zipfile.ZipFile(disk.path()) as archive:
        member = archive.getinfo("a.dcm")
    spoiled = bytearray(disk.path().read_bytes())
    end = member.header_offset + 30 + len("a.dcm") + member.compress_size
    spoiled[end - 600 : end] = b"\xff" * 600
    disk.path().write_bytes(spoiled)
    disk.note()
    with zipfile.ZipFile(disk.path()) as archive, pytest.raises((zipfile.BadZipFile, zlib.error)):
        archive.read("a.dcm")
    disk.index()
    assert [row["error"] for row in disk.rows()] == [None]


# --- What is amiss --------------------------------------------------------------------------------


def test_what_cannot_be_read_is_a_row_with_the_reason(disk: Disk) -> None:
    good = objects()
    members = {"a": b"<html>", "b": b"", "c": bytes(5000), "d": good["1-01.dcm"][:200]} | good
    disk.put(members)
    done = disk.index()
    assert (done.objects, done.unreadable, done.with_errors) == (7, 4, 4)
    rows = {row["entry_name"]: row for row in disk.rows()}
    for name in "abcd":
        row = rows[name]
        assert row["SOPInstanceUID"] is None
        assert (row["SeriesInstanceUID"], row["Collection"]) == (FIRST, COLLECTION)
        assert (row["size_bytes"], row["md5"]) == (len(members[name]), md5(members[name]))
        assert row["error"]
    assert "not a DICOM file" in rows["a"]["error"]


def test_a_corrupt_member_is_a_row_with_the_reason(disk: Disk) -> None:
    members = objects()
    disk.put(members)
    with zipfile.ZipFile(disk.path()) as archive:
        place = archive.getinfo("1-02.dcm").header_offset
    spoiled = bytearray(disk.path().read_bytes())
    spoiled[place + 38 : place + 60] = b"\xff" * 22
    disk.path().write_bytes(spoiled)
    disk.note()
    assert disk.index().unreadable == 1
    row = disk.rows()[1]
    assert row["entry_name"] == "1-02.dcm"
    assert "header cannot be read" in row["error"]
    assert "MD5 cannot be computed" in row["error"]


def test_an_object_of_another_series_says_so(disk: Disk) -> None:
    disk.put(objects(SECOND), FIRST)
    disk.index()
    for row in disk.rows():
        assert row["SeriesInstanceUID"] == FIRST
        assert row["error"] == f"its header has Series {SECOND}"


def test_a_zip_that_cannot_be_read_is_one_row_and_is_tried_again(disk: Disk) -> None:
    disk.put(objects())
    whole = disk.path().read_bytes()
    disk.path().write_bytes(b"no zip" + bytes(len(whole) - 6))
    assert counts(disk.index()) == (1, 1, 0)
    (row,) = disk.rows()
    assert row["entry_name"] is None
    assert "the zip cannot be read" in row["error"]
    disk.path().unlink()
    assert counts(disk.index()) == (1, 1, 0)
    disk.path().write_bytes(whole + b" ")
    disk.index()
    assert f"{len(whole) + 1} bytes" in disk.rows()[0]["error"]
    disk.path().write_bytes(whole)
    assert counts(disk.index()) == (3, 3, 0)


def test_an_object_in_two_zips_is_told_apart_until_one_goes(disk: Disk) -> None:
    members = objects()
    disk.put(members, FIRST)
    disk.put({name: members[name] for name in ("1-01.dcm", "1-02.dcm")}, SECOND)
    for _ in range(2):
        assert disk.index().unreadable == 2
        rows = disk.rows()
        assert all(row["SOPInstanceUID"] for row in rows[:3])
        for row in rows[3:]:
            assert row["SOPInstanceUID"] is None
            assert f"'{row['entry_name']}' of Series {FIRST}" in row["error"]
    del disk.manifest[FIRST]
    disk.save()
    disk.index()
    assert [row["SeriesInstanceUID"] for row in disk.rows()] == [SECOND] * 2
    assert all(row["SOPInstanceUID"] for row in disk.rows())


def test_names_and_values_that_nobody_expects_do_not_stop_it(disk: Disk) -> None:
    same = objects()["1-01.dcm"]
    with zipfile.ZipFile(disk.path(), "w") as archive:
        for name in ("a,b.dcm", 'q"uote\n', "ü山.dcm", "folder/"):
            archive.writestr(name, same)
    disk.note()
    done = disk.index()
    assert (done.objects, done.unreadable) == (4, 3)
    assert all((row["error"] or "-").isprintable() for row in disk.rows())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_spoiled_zips_never_stop_it(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    disk = Disk(tmp_path_factory.mktemp("spoiled"))
    members = objects(count=2)
    disk.put(members, hashes={name: md5(content) for name, content in members.items()})
    content = bytearray(disk.path().read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(-400, 400)) % len(content)] = data.draw(st.integers(0, 255))
    disk.path().write_bytes(content)
    disk.note()
    done = disk.index()
    assert done.objects == len(disk.rows())
    for row in disk.rows():
        assert row["SOPInstanceUID"] or row["error"]


# --- Cost follows change --------------------------------------------------------------------------


def test_rows_of_an_unchanged_zip_are_kept_without_opening_it(disk: Disk) -> None:
    disk.put(objects(), hashes={})
    disk.put(objects(SECOND), SECOND)
    disk.index()
    before = disk.rows()
    disk.path(FIRST).unlink()
    disk.path(SECOND).write_bytes(b"")
    reports: list[tuple[int, int]] = []
    done = image_rows.index_images(COLLECTION, disk.warehouse, report=lambda *r: reports.append(r))
    assert (counts(done), done.written.changed, reports) == ((6, 0, 6), False, [])
    assert disk.rows() == before


def test_only_new_and_changed_zips_are_read(disk: Disk) -> None:
    disk.put(objects())
    disk.put(objects(SECOND), SECOND)
    disk.index()
    disk.path(FIRST).unlink()
    disk.put(objects(SECOND, count=5), SECOND)
    reports: list[tuple[int, int]] = []
    done = image_rows.index_images(COLLECTION, disk.warehouse, report=lambda *r: reports.append(r))
    assert (counts(done), reports) == ((8, 5, 3), [(1, 1)])
    assert {row["archive_sha256"] for row in disk.rows()} == {
        row["sha256"] for row in disk.manifest.values()
    }


def test_rows_go_with_their_zip(disk: Disk) -> None:
    disk.put(objects())
    disk.put(objects(SECOND), SECOND)
    disk.index()
    del disk.manifest[FIRST]
    disk.save()
    assert counts(disk.index()) == (3, 0, 3)


def test_an_earlier_copy_keeps_its_rows_where_a_newer_could_not_be_had(disk: Disk) -> None:
    disk.put(objects())
    disk.index()
    disk.note(FIRST, status="incomplete")
    disk.save()
    assert counts(disk.index()) == (3, 0, 3)
    disk.manifest[FIRST]["path"] = None
    disk.save()
    assert counts(disk.index()) == (0, 0, 0)


def test_asking_for_rows_writes_nothing(disk: Disk) -> None:
    disk.put(objects())
    rows = image_rows.read_rows(COLLECTION, disk.warehouse)
    assert rows.num_rows == 3
    assert not disk.warehouse.has(IMAGES, COLLECTION)
    disk.index()
    assert disk.warehouse.read(IMAGES, [COLLECTION]).equals(rows)


def test_what_was_read_before_a_column_came_is_read_again(disk: Disk) -> None:
    disk.put(objects())
    disk.index()
    path = disk.warehouse.path(IMAGES, COLLECTION)
    rows = pq.read_table(path)
    pq.write_table(rows.drop_columns(["FrameOfReferenceUID"]), path)
    assert counts(disk.index()) == (3, 3, 0)
    assert pq.read_table(path).equals(rows)
    assert rows["FrameOfReferenceUID"].null_count == 0
