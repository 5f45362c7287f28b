"""Export Series as plain DICOM files, for viewers and converters that read folders.

    <folder>/<as the template says>/*.dcm
    <folder>/series.csv, LICENSES.md, CITATION.cff, CITATIONS.bib

Zips stay as they are. The files of a Series are written in `export_files.py`, their names are in
`export_paths.py`, what was exported before in `export_index.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from tcia_assets.errors import UsageError
from tcia_assets.images.export_files import Export, SeriesWriter, UnreadableZip
from tcia_assets.images.export_index import LOCK_NAME, ExportIndex
from tcia_assets.metadata.attribution import origin_of, with_descriptions, write_files
from tcia_assets.metadata.selection import Selection
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.archives import Archives
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets.store.files import publish
from tcia_assets.store.locks import hold_lock
from tcia_assets.store.sql import identifier
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import format_bytes

__all__ = ["Export", "ExportResult", "export_series"]

_LOCK_SECONDS = 5.0
_SERIES_FILE = "series.csv"
_EXPORTED = pa.schema(
    [
        pa.field("series_instance_uid", pa.string()),
        pa.field("folder", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("files", pa.int64()),
        pa.field("bytes", pa.int64()),
    ]
)
_SERIES_ROWS = """
    SELECT e.series_instance_uid AS SeriesInstanceUID, e.folder, e.files, e.bytes, s.Collection,
        s.PatientID, s.StudyInstanceUID, s.Modality, s.SeriesDescription, s.LicenseName,
        s.DataDescriptionURI
    FROM exported AS e LEFT JOIN current_series AS s ON s.SeriesInstanceUID = e.series_instance_uid
    ORDER BY ALL
"""
# A Series that is no longer listed keeps its licence.
_ATTRIBUTION = """
    SELECT s.Collection, nullif(trim(s.LicenseName), '') AS LicenseName,
        nullif(trim(s.LicenseURI), '') AS LicenseURI,
        nullif(trim(s.DataDescriptionURI), '') AS DataDescriptionURI, s.analysis_result_id,
        count(*)::BIGINT AS series, sum(e.bytes)::BIGINT AS bytes
    FROM exported AS e
    JOIN (SELECT * FROM series WHERE moved_to IS NULL) AS s
    ON s.SeriesInstanceUID = e.series_instance_uid
    GROUP BY ALL ORDER BY ALL
"""
# Folders of the data root that hold nothing but what this package writes there.
_OWN_FOLDERS = ("archives", "warehouse", "quarantine", "datasets", "dagster")

_Row = dict[str, Any]


@dataclass
class ExportResult:
    """What an export did; all but `failures` are numbers.

    Attributes:
        exported: Series that were written.
        kept: Series that were there already.
        files: Files that were written.
        bytes: Bytes of these.
        not_on_disk: Selected Series without a complete zip.
        failures: A line for each Series whose zip cannot be read.
    """

    exported: int = 0
    kept: int = 0
    files: int = 0
    bytes: int = 0
    not_on_disk: int = 0
    failures: list[str] = field(default_factory=list)


def export_series(
    selection: Selection,
    export: Export,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
) -> ExportResult:
    """Write the DICOM files of selected Series into a folder; what is there already stays.

    Each Series appears whole or not at all. It is written once more if its zip has changed since,
    or if its files are not all there.

    Args:
        selection: What is selected; of that, Series with a complete zip on disk are exported.
        export: Where and how.
        warehouse: Where the zips are.
        report: Called after each Series with the number of Series done and their total.

    Raises:
        UsageError: The folder cannot be used, or the disk is too small.
        StorageError: A file cannot be written; Series that were complete stay.
        Busy: Another export is writing into the folder.
    """
    _check_place(export.to, warehouse.root)
    selected = _query_selected(selection, export, warehouse)
    if not selected:
        raise UsageError("no Series is selected: the warehouse has none such, or none is fetched")
    on_disk = [row for row in selected if row["path"]]
    result = ExportResult(not_on_disk=len(selected) - len(on_disk))
    if not (export.to / LOCK_NAME).exists():
        _plan(export, on_disk)  # a folder that is refused is left without a lock's file
    with hold_lock(export.to / LOCK_NAME, f"the export in {export.to}", wait=_LOCK_SECONDS):
        index, writer, rows = _plan(export, on_disk)
        result.kept = len(on_disk) - len(rows)
        # Before the first file, so that none is there without its licence after a killed export.
        coming = {row["SeriesInstanceUID"]: row["image_bytes"] or 0 for row in rows}
        _write_records(index, coming, export.to, warehouse)
        try:
            _write_all(rows, writer, warehouse.archives, result, report)
        finally:
            _write_records(index, {}, export.to, warehouse)
    return result


def _plan(export: Export, on_disk: list[_Row]) -> tuple[ExportIndex, SeriesWriter, list[_Row]]:
    """Return what writes into the folder, and the Series that it does not have.

    Raises:
        UsageError: The folder cannot be used, or the disk is too small.
    """
    index = ExportIndex(export.to)
    _check_form(index, export)
    writer = SeriesWriter(export, index)
    rows = [row for row in on_disk if not writer.has(row)]
    _check_space(rows, export.to)
    return index, writer, rows


def _check_place(to: Path, root: Path) -> None:
    place = to.resolve()
    own = [root, *(root / name for name in _OWN_FOLDERS)]
    if place == root or any(folder in (place, *place.parents) for folder in own[1:]):
        raise UsageError(f"--to {str(to)!r} lies in the data folder {root}: choose another folder")
    if to.exists() and not to.is_dir():
        raise UsageError(f"--to {str(to)!r} is a file")


def _check_form(index: ExportIndex, export: Export) -> None:
    """Raise UsageError if the folder has Series that were exported flat, and others would not."""
    for known in index.series.values():
        if (known.folder == "") != export.flat:
            was = "with" if known.folder == "" else "without"
            raise UsageError(f"{str(export.to)!r} was exported {was} --flat: choose another folder")


def _query_selected(selection: Selection, export: Export, warehouse: Warehouse) -> list[_Row]:
    """Return the selected Series; those without a complete zip have no path."""
    names = dict.fromkeys(("Collection", "SeriesInstanceUID", *export.template.fields))
    columns = ", ".join(f"s.{identifier(name)}" for name in names)
    rows: list[_Row] = warehouse.query(
        f"""
        SELECT {columns}, a.path, a.sha256, a.archive_bytes, a.image_bytes
        FROM (SELECT * FROM current_series WHERE coalesce({selection.predicate}, false)) AS s
        LEFT JOIN (
            SELECT * FROM image_archives WHERE status = 'complete' AND path IS NOT NULL
        ) AS a ON a.Collection = s.Collection AND a.SeriesInstanceUID = s.SeriesInstanceUID
        ORDER BY s.Collection, s.PatientID, s.SeriesInstanceUID
        """,
        tables=selection.tables,
    ).to_pylist()
    return rows


def _check_space(rows: Sequence[_Row], to: Path) -> None:
    disk = next(folder for folder in (to.absolute(), *to.absolute().parents) if folder.exists())
    free, needed = shutil.disk_usage(disk).free, sum(row["image_bytes"] or 0 for row in rows)
    if needed > free:
        raise UsageError(
            f"{len(rows)} Series of {format_bytes(needed)} do not fit: {format_bytes(free)} are "
            f"free at {to}; select less"
        )


def _write_all(
    rows: Sequence[_Row],
    writer: SeriesWriter,
    archives: Archives,
    result: ExportResult,
    report: ProgressCallback,
) -> None:
    for done, row in enumerate(rows, start=1):
        try:
            written = writer.write(row, archives)
        except UnreadableZip as error:
            result.failures.append(f"{row['Collection']}: {row['SeriesInstanceUID']}: {error}")
        else:
            result.exported += 1
            result.files += written.files
            result.bytes += written.bytes
        report(done, len(rows))


# --- The files beside the Series ------------------------------------------------------------------


def _write_records(
    index: ExportIndex, coming: Mapping[str, int], to: Path, warehouse: Warehouse
) -> None:
    """Write series.csv about what was exported, and licences and citations of it and of `coming`.

    Args:
        index: What was exported.
        coming: Bytes of the Series to be exported, by UID.
        to: The folder.
        warehouse: What is known of the Series.
    """
    done = [each for each in index.series.values() if each.sha256]
    table = pa.Table.from_pylist([vars(each) for each in done], schema=_EXPORTED)
    rows = warehouse.query(_SERIES_ROWS, tables={"exported": table})
    publish(to / _SERIES_FILE, lambda path: pyarrow.csv.write_csv(rows, path))
    sizes = {**coming} | {each.series_instance_uid: each.bytes for each in done}
    uids = {"series_instance_uid": list(sizes), "bytes": pa.array(sizes.values(), pa.int64())}
    attribution = warehouse.query(_ATTRIBUTION, tables={"exported": pa.table(uids)})
    complete = with_descriptions(attribution, warehouse)
    origin = origin_of(complete, warehouse)
    write_files(FolderArchives(to), "", "Exported Series", complete, form="as DICOM", origin=origin)
