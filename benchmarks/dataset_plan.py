"""Plan a dataset of 10,000 Series, before and after their images are on disk.

Half of the Series are CTs, half the RTSTRUCTs of their Studies, four Studies a Patient. The rows
are written through `Warehouse`, without zips: a plan reads none. `tcia-assets dataset plan` runs
several times, as a table, in a process of its own. Prints medians of wall and processor time and of
peak memory.

    .venv/bin/python benchmarks/dataset_plan.py [--series 10000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import BIN, Cost, timed

COLLECTION = "Benchmark"
OBJECTS = 120  # of a CT
AIM_S = 10.0
DECLARATION = """\
title: CT with contours
cohort: {modalities: [CT]}
target:
  kind: RTSTRUCT
  labels: {lung: "(?i)lung.*", heart: "(?i)heart"}
split: {fractions: {train: 0.8, val: 0.1, test: 0.1}, stratify: [Manufacturer]}
volume: {orientation: LPS, spacing: [1, 1, 2]}
"""
_STATEMENTS = {
    "series": """
        SELECT '1.2.826.0.1.3680043.8.498.' || n AS SeriesInstanceUID,
            '1.2.826.0.1.3680043.8.499.' || (n // 2) AS StudyInstanceUID,
            printf('P%05d', n // 8) AS PatientID, $collection AS Collection,
            CASE WHEN n % 2 = 0 THEN 'CT' ELSE 'RTSTRUCT' END AS Modality,
            CASE WHEN n % 5 = 0 THEN 'SIEMENS' ELSE 'GE' END AS Manufacturer,
            CASE WHEN n % 2 = 0 THEN $objects ELSE 1 END AS ImageCount,
            CASE WHEN n % 2 = 0 THEN $objects * 526000 ELSE 2000000 END AS FileSize,
            'Creative Commons Attribution 4.0 International License' AS LicenseName,
            'https://creativecommons.org/licenses/by/4.0/' AS LicenseURI,
            'https://doi.org/10.7937/benchmark' AS DataDescriptionURI, md5('' || n) AS fingerprint,
            now() AS first_seen_at, now() AS changed_at, 0 AS missing_snapshots
        FROM range($series) AS s(n)
    """,
    "image_archives": """
        SELECT SeriesInstanceUID, Collection, 'complete' AS status,
            'archives/' || Collection || '/' || SeriesInstanceUID || '.zip' AS path,
            FileSize AS archive_bytes, ImageCount AS image_count, FileSize AS image_bytes,
            sha256(SeriesInstanceUID) AS sha256, 'md5' AS verified_by, fingerprint
        FROM series WHERE Collection = $collection
    """,
    "images": """
        SELECT s.SeriesInstanceUID || '.' || (n + 1) AS SOPInstanceUID, s.SeriesInstanceUID,
            s.StudyInstanceUID, s.PatientID, s.Collection, s.Modality, n + 1 AS InstanceNumber,
            512 AS Rows, 512 AS Columns, [0.75, 0.75] AS PixelSpacing, 2.5 AS SliceThickness,
            s.StudyInstanceUID || '.1' AS FrameOfReferenceUID,
            printf('%08d.dcm', n) AS entry_name, 526000 AS size_bytes,
            md5(s.SeriesInstanceUID || n) AS md5, sha256(s.SeriesInstanceUID) AS archive_sha256,
            $version AS header_version
        FROM series AS s, range($objects) AS o(n)
        WHERE s.Collection = $collection AND n < s.ImageCount
    """,
    "references": """
        SELECT SOPInstanceUID, i.SeriesInstanceUID, i.Collection, i.Modality, entry_name,
            'series' AS how, ct.SeriesInstanceUID AS referenced_series_instance_uid, archive_sha256
        FROM images AS i JOIN series AS ct
        ON ct.StudyInstanceUID = i.StudyInstanceUID AND ct.Modality = 'CT'
        WHERE i.Collection = $collection AND i.Modality = 'RTSTRUCT'
    """,
    "targets": """
        SELECT SOPInstanceUID, SeriesInstanceUID, Collection, Modality, entry_name,
            n + 1 AS target_place, n + 1 AS target_number,
            CASE WHEN n < 2 THEN ['Lung_L', 'Lung_R'][n + 1] WHEN n = 2 THEN 'Heart'
                 ELSE 'ROI ' || (n + SeriesInstanceUID[-1:]::INT) END AS target_name, archive_sha256
        FROM images, range(6) AS o(n) WHERE Collection = $collection AND Modality = 'RTSTRUCT'
    """,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each plan")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        write_rows(Path(chosen.child[0]), chosen.series, chosen.child[1:])
        return
    with tempfile.TemporaryDirectory(prefix="tcia-benchmark-") as work:
        data = Path(work)
        (data / "ct.yaml").write_text(DECLARATION)
        print(f"{chosen.series:,} Series; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print("\n| plan | s | processor s | peak MB |\n|---|---|---|---|")
        write_in_a_child(data, chosen.series, ["series"])
        report("nothing on disk", [plan(data) for _ in range(chosen.rounds)])
        write_in_a_child(data, chosen.series, list(_STATEMENTS)[1:])
        costs = [plan(data) for _ in range(chosen.rounds)]
        report("all on disk", costs)
    cpu = statistics.median(cost.cpu_s for cost in costs)
    print(f"\nAim: {AIM_S:.0f} s ({'met' if cpu < AIM_S else 'missed'}).")


def plan(data: Path) -> Cost:
    command = [str(BIN / "tcia-assets"), "dataset", "plan", str(data / "ct.yaml")]
    return timed(command, os.environ | {"TCIA_DATA_DIR": str(data)})


def report(name: str, costs: list[Cost]) -> None:
    seconds, cpu, peak = map(statistics.median, zip(*costs, strict=True))
    print(f"| {name} | {seconds:.1f} | {cpu:.1f} | {peak:.0f} |", flush=True)


def write_in_a_child(data: Path, series: int, names: list[str]) -> None:
    """Write rows in a process of its own: this one must stay small, as `timed` wants it."""
    command = [sys.executable, __file__, "--series", str(series), "--child", str(data), *names]
    subprocess.run(command, check=True)


def write_rows(data: Path, series: int, names: list[str]) -> None:
    """Write the rows of these tables, each made from those of the tables before."""
    from tcia_assets.catalog import HEADER_VERSION, TABLES  # noqa: PLC0415
    from tcia_assets.store.conform import conform  # noqa: PLC0415
    from tcia_assets.store.warehouse import Warehouse  # noqa: PLC0415

    warehouse = Warehouse(data)
    given = {"series": series, "objects": OBJECTS, "version": HEADER_VERSION}
    for table in (each for each in TABLES if each.name in names):
        statement = _STATEMENTS[table.name]
        used = {name: value for name, value in given.items() if f"${name}" in statement}
        rows = warehouse.query(statement, {"collection": COLLECTION} | used)
        warehouse.write(table, conform(table, rows), COLLECTION)
    warehouse.ensure_views()


if __name__ == "__main__":
    main()
