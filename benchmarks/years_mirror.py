"""Make a mirror of any size without downloading an image; years.py runs the steps.

`catalogue` writes what `serve` serves as a sandbox: the rows of its small catalogue, again and
again, with UIDs of their own. When that is refreshed, `images` writes, through `Warehouse`, the
manifest, the rows of objects, and the fetches in the history. Every zip is empty: 22 bytes.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from years import LARGEST, Size

from tcia_assets.catalog import (
    ACQUIRED_MODALITIES,
    HEADER_VERSION,
    IMAGE_ARCHIVES,
    IMAGES,
    REFERENCES,
    SERIES,
    TARGETS,
)
from tcia_assets.images.fetch_events import record_new_zips
from tcia_assets.images.headers.indexed_zips import IndexedImages
from tcia_assets.images.zip_files import work_folder
from tcia_assets.metadata import attribution
from tcia_assets.metadata.history import FetchEvent, record_fetch_events
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.conform import conform
from tcia_assets.store.files import link_or_copy
from tcia_assets.store.series_parts import SeriesParts
from tcia_assets.store.warehouse import Warehouse

# Series of the largest Collection that are known and not fetched, for measurements that fetch one.
_SPARE = 40
# Series that were released within the month that the sensor asks for.
_NEWLY_RELEASED = 150
_ROOT_UID = "1.3.6.1.4.1.14519.5.2.1"
_SERIES_OF_A_STUDY = 4
_LINKS = 10_000  # file systems limit the number of hard links to a file
_ACQUIRED = ", ".join(f"'{modality}'" for modality in sorted(ACQUIRED_MODALITIES))


def write_catalogue(size: Size, path: Path) -> None:
    """Write the Parquet file that the sandbox serves."""
    small = series_rows.load()
    if size.ct:
        small = small.filter(pc.equal(small["Modality"], "CT"))
    studies = [n // _SERIES_OF_A_STUDY for n in range(size.series)]
    # All Series of a Study come from one row, so that they agree about it.
    rows = small.take(pa.array([n % small.num_rows for n in studies]))
    changed: dict[str, pa.Array] = {
        "SeriesInstanceUID": pa.array([_uid("series", n) for n in range(size.series)]),
        "StudyInstanceUID": pa.array([_uid("study", n) for n in studies]),
        "PatientID": pa.array([f"PATIENT-{n:07d}" for n in studies]),
        "PatientName": pa.array([f"PATIENT-{n:07d}" for n in studies]),
        "Collection": pa.array([_collection(n, size) for n in studies]),
        "DateReleased": pa.array([_released(n) for n in range(size.series)], pa.date32()),
        "ImageCount": pa.repeat(pa.scalar(size.objects, pa.int64()), size.series),
    }
    columns = [changed.get(name, rows[name]) for name in rows.schema.names]
    pq.write_table(pa.Table.from_arrays(columns, schema=small.schema), path)


def _collection(study: int, size: Size) -> str:
    """Return the Collection of a Study, in the order of the names."""
    studies = max(1, size.series // _SERIES_OF_A_STUDY)
    others = size.collections - 1
    half = studies if not others else max(1, studies // 2)
    if study < half:
        return LARGEST
    return f"OTHER-{(study - half) * others // max(1, studies - half):03d}"


def _released(series: int) -> date:
    """Return a day of release: of some Series in the last month, whatever the size."""
    return date(2026, 1, 1) if series < _NEWLY_RELEASED else date(2020, 1, 1)


def _uid(kind: str, number: int) -> str:
    digits = int.from_bytes(hashlib.sha256(f"{kind} {number}".encode()).digest()[:12])
    return f"{_ROOT_UID}.{digits:029d}".replace(".0", ".1")


def add_images(size: Size, folder: Path) -> None:
    """Make all Series of a refreshed data folder complete, but for some of the largest one."""
    warehouse = Warehouse(folder / "data")
    for name in warehouse.keys(SERIES):
        uids = sorted(warehouse.read(SERIES, [name])["SeriesInstanceUID"].to_pylist())
        if name == LARGEST:
            spare = min(_SPARE, len(uids) // 2)
            (folder / "first_spare").write_text(uids[-spare])
            uids = uids[:-spare]
        sha256 = _write_zips(work_folder(name, warehouse), uids)
        _write_tables(name, uids, size, sha256, warehouse)
        record_fetch_events(name, _events(uids, size.fetches), warehouse)
        record_new_zips(name, warehouse)
        attribution.write_collection(name, warehouse)
    warehouse.ensure_views()


def _write_zips(folder: Path, uids: list[str]) -> str:
    """Write an empty zip for each Series, as hard links; return its SHA-256."""
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    folder.mkdir(parents=True)
    for number, uid in enumerate(uids):
        path = folder / f"{uid}.zip"
        if number % _LINKS == 0:
            first = path
            first.write_bytes(buffer.getvalue())
        else:
            link_or_copy(first, path)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _write_tables(
    collection: str, uids: list[str], size: Size, sha256: str, warehouse: Warehouse
) -> None:
    """Write the rows of zips and of the objects in them, one table after the other."""
    fetched = pa.table({"SeriesInstanceUID": pa.array(uids, pa.string())})
    parameters = {"sha256": sha256, "objects": size.objects, "version": HEADER_VERSION}
    for table, statement in _ROWS.items():
        used = {name: value for name, value in parameters.items() if f"${name}" in statement}
        given = {"collection": collection} | used
        if table is IMAGES:
            _write_images(statement, given, fetched, size, warehouse)
            continue
        rows = conform(table, warehouse.query(statement, given, tables={"fetched": fetched}))
        # As a fetch does: a file of them after the other.
        parts = SeriesParts(warehouse.files(table, collection))
        for start in range(0, max(1, rows.num_rows), parts.limit):
            parts.replace(rows.slice(start, parts.limit))


def _write_images(
    statement: str, given: dict[str, Any], fetched: pa.Table, size: Size, warehouse: Warehouse
) -> None:
    """Write the rows of objects, with their summaries, in the same way."""
    at_once = max(1, IMAGES.rows_per_part // size.objects)
    with warehouse.lock(IMAGES, given["collection"]):
        images = IndexedImages(given["collection"], warehouse)
        for start in range(0, fetched.num_rows, at_once):
            series = {"fetched": fetched.slice(start, at_once)}
            images.replace(conform(IMAGES, warehouse.query(statement, given, tables=series)))


def _events(uids: list[str], fetches: int) -> Iterator[FetchEvent]:
    """Yield the fetches of each Series before the one that its zip is from."""
    now = datetime.now(UTC)
    for uid in uids:
        for number in range(1, fetches):
            mark = hashlib.sha256(f"{uid} {number}".encode()).hexdigest()
            at = now - timedelta(days=30 * number)
            yield FetchEvent(uid, "refetched" if number > 1 else "fetched", at, mark)


_OF_COLLECTION = "Collection = $collection"
# The UIDs of objects are random, as those of NLST are: each file has some of the whole range.
# SQL for the rows of each table, in the order in which they can be made.
_ROWS = {
    IMAGE_ARCHIVES: f"""
        SELECT SeriesInstanceUID, Collection, 'complete' AS status,
            'archives/' || Collection || '/' || SeriesInstanceUID || '.zip' AS path,
            22 AS archive_bytes, ImageCount AS image_count, FileSize AS image_bytes,
            $sha256 AS sha256, 'md5' AS verified_by, fingerprint, crdc_series_uuid,
            LicenseName AS license_name, DataDescriptionURI, source,
            now() - INTERVAL 30 DAY AS fetched_at,
            0 AS attempts
        FROM series SEMI JOIN fetched USING (SeriesInstanceUID) WHERE {_OF_COLLECTION}
    """,
    IMAGES: f"""
        SELECT '{_ROOT_UID}.' || md5_number_upper(object) || md5_number_lower(object)
                AS SOPInstanceUID,
            s.SeriesInstanceUID, s.StudyInstanceUID, s.PatientID, s.Collection, s.Modality,
            '1.2.840.10008.5.1.4.1.1.2' AS SOPClassUID,
            '1.2.840.10008.1.2.1' AS TransferSyntaxUID, n + 1 AS InstanceNumber, 512 AS Rows,
            512 AS Columns, [0.75, 0.75] AS PixelSpacing, 2.5 AS SliceThickness,
            [-180.0, -170.0, 2.5 * n] AS ImagePositionPatient,
            [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] AS ImageOrientationPatient,
            s.StudyInstanceUID || '.1' AS FrameOfReferenceUID, 1.0 AS RescaleSlope,
            -1024.0 AS RescaleIntercept, 120.0 AS KVP, s.BodyPartExamined,
            s.ManufacturerModelName, 'B30f' AS ConvolutionKernel, 16 AS BitsAllocated,
            12 AS BitsStored, printf('%08d.dcm', n) AS entry_name, 526000 AS size_bytes,
            md5(object) AS md5, $sha256 AS archive_sha256,
            $version AS header_version
        FROM series AS s SEMI JOIN fetched USING (SeriesInstanceUID), range($objects) AS o(n),
            LATERAL (SELECT s.SeriesInstanceUID || n AS object)
        WHERE s.{_OF_COLLECTION}
    """,
    REFERENCES: f"""
        SELECT SOPInstanceUID, SeriesInstanceUID, Collection, Modality, entry_name,
            'series' AS how, SeriesInstanceUID || '.9' AS referenced_series_instance_uid,
            archive_sha256
        FROM images WHERE {_OF_COLLECTION} AND Modality NOT IN ({_ACQUIRED})
    """,
    TARGETS: f"""
        SELECT SOPInstanceUID, SeriesInstanceUID, Collection, Modality, entry_name,
            1 AS target_place, 1 AS target_number, 'Lung' AS target_name, archive_sha256
        FROM images WHERE {_OF_COLLECTION} AND Modality IN ('SEG', 'RTSTRUCT')
    """,
}


def main() -> None:
    step, folder, *numbers, port = sys.argv[1:]
    size, place = Size(*map(int, numbers)), Path(folder)
    catalogue = place / "catalogue.parquet"
    if step == "catalogue":
        write_catalogue(size, catalogue)
    elif step == "images":
        add_images(size, place)
    else:
        Sandbox(catalogue, port=int(port)).run()


if __name__ == "__main__":
    main()
