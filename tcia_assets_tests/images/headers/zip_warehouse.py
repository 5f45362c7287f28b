"""A warehouse with zips of small Series, for the tests of tables that are read from zips."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pydicom.data
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, REFERENCES
from tcia_assets.images.headers import image_rows, references
from tcia_assets.images.headers.indexed_zips import IndexedImages
from tcia_assets.images.zip_files import zip_path
from tcia_assets.sandbox import phantom
from tcia_assets.store import digests
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

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
    found = enumerate(made_once(facts), start=1)
    return {f"1-{place:02d}.dcm": content for place, content in found}


def made_once(facts: dict[str, Any], source: dict[str, Any] | None = None) -> tuple[bytes, ...]:
    """Return the objects of a Series of the sandbox; many tests begin with the same few."""
    return _made(tuple(facts.items()), source and tuple(source.items()))


@cache
def _made(
    facts: tuple[tuple[str, Any], ...], source: tuple[tuple[str, Any], ...] | None
) -> tuple[bytes, ...]:
    made = phantom.objects(dict(facts), source and dict(source))
    return tuple(content for _, content in made)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def forget_columns(warehouse: Warehouse, *names: str, collection: str = COLLECTION) -> pa.Table:
    """Store `images` as a version without these columns did; return the rows as they were."""
    files = warehouse.files(IMAGES, collection)
    rows = files.read(0)
    pq.write_table(rows.drop_columns(["header_version", *names]), files.path())
    digests.record(files.digest_path(0), files.path(), files.path())
    with warehouse.lock(IMAGES, collection):
        IndexedImages(collection, warehouse)  # as that version would have described it
    return rows


class ZipWarehouse:
    """A warehouse with zips, and a manifest that describes them."""

    def __init__(self, root: Path) -> None:
        self.warehouse = Warehouse(root)
        self.manifest: dict[str, dict[str, Any]] = {}

    def path(self, series: str = FIRST) -> Path:
        path = self.warehouse.root / zip_path(COLLECTION, series)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(
        self, members: dict[str, bytes], series: str = FIRST, hashes: dict[str, str] | None = None
    ) -> None:
        with zipfile.ZipFile(self.path(series), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("LICENSE", "CC BY 3.0")
            for name, content in members.items():
                archive.writestr(name, content)
            if hashes is not None:
                lines = [f"{name},{digest}\n" for name, digest in hashes.items()]
                archive.writestr("md5hashes.csv", "Filename,MD5Hash\n" + "".join(lines))
        self.describe(series)

    def describe(self, series: str = FIRST, status: str = "complete") -> None:
        content = self.path(series).read_bytes()
        self.manifest[series] = {
            "SeriesInstanceUID": series,
            "Collection": COLLECTION,
            "status": status,
            "path": zip_path(COLLECTION, series),
            "archive_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        self.write_manifest()

    def write_manifest(self) -> None:
        rows = pa.Table.from_pylist(list(self.manifest.values()), schema=IMAGE_ARCHIVES.schema)
        self.warehouse.write(IMAGE_ARCHIVES, conform(IMAGE_ARCHIVES, rows), COLLECTION)

    def index(self) -> image_rows.IndexResult:
        return image_rows.index_images(COLLECTION, self.warehouse)

    def rows(self) -> list[dict[str, Any]]:
        rows = self.warehouse.read(IMAGES, [COLLECTION]).to_pylist()
        return sorted(rows, key=lambda row: (row["SeriesInstanceUID"], row["entry_name"] or ""))


STUDY = "1.3.6.1.4.1.14519.5.2.1"


MASK_SERIES = "1.3.6.1.4.1.14519.5.2.1.3"


CT = {
    "SeriesInstanceUID": FIRST,
    "StudyInstanceUID": STUDY,
    "PatientID": "LCTSC-Test-S1-101",
    "Collection": COLLECTION,
    "Modality": "CT",
    "ImageCount": 20,
}


MASK_COLUMNS = CT | {"SeriesInstanceUID": MASK_SERIES, "ImageCount": 1}


def mask_object(modality: str, source: dict[str, Any] | None = CT) -> bytes:
    return made_once(MASK_COLUMNS | {"Modality": modality}, source)[0]


def replace_attributes(content: bytes, **attributes: Any) -> bytes:
    """Return the object with these attributes replaced, or removed if None."""
    read = pydicom.dcmread(io.BytesIO(content))
    for name, value in attributes.items():
        if value is None:
            del read[name]
        else:
            setattr(read, name, value)
    return encode(read, read.file_meta.TransferSyntaxUID)


def encode(dataset: Dataset, syntax: str) -> bytes:
    buffer = io.BytesIO()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(
        buffer,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return buffer.getvalue()


def add_images(zips: ZipWarehouse, series: str = FIRST, **facts: Any) -> None:
    found = enumerate(made_once(CT | {"SeriesInstanceUID": series} | facts))
    zips.add({f"1-{n:02}.dcm": content for n, content in found}, series)


def index_all(zips: ZipWarehouse) -> references.ReferencesResult:
    zips.index()
    return references.index_references(COLLECTION, zips.warehouse)


def table_rows(zips: ZipWarehouse, table: Any = REFERENCES) -> list[dict[str, Any]]:
    return list(zips.warehouse.read(table, [COLLECTION]).to_pylist())
