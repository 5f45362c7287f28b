"""Make a sample as a build does: 120 slices of 512 x 512 with an RTSTRUCT of five organs.

The Series is generated once (smooth shapes with noise); the contours are those of lungs, heart,
esophagus and spinal cord, about 450 with 200 points each. `make_samples` reads both zips, draws the
labels, and writes and hashes two compressed NIfTI files. It runs several times in one process, as
in a process of a build. Starting Python and importing modules is not counted. Prints medians of
wall and processor time, with the volume as it is (reoriented) and resampled.

    .venv/bin/python benchmarks/dataset_ct.py [--slices 120] [--rounds 5] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from volumes import SIDE, generate

from tcia_assets.datasets.cohort import LockedZip
from tcia_assets.datasets.sample_files import make_samples
from tcia_assets.datasets.sample_job import Mask, SampleJob
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets.store.files import sha256_of

AIM_S = 1.3
# Centre and radii in pixels, and the part of the slices that an organ is in.
ORGANS = {
    "Lung_L": (330, 250, 75, 110, 0.8),
    "Lung_R": (180, 250, 75, 110, 0.8),
    "Heart": (270, 220, 55, 45, 0.35),
    "Esophagus": (262, 300, 9, 9, 0.9),
    "SpinalCord": (256, 345, 8, 8, 1.0),
}
FORMS: dict[str, dict[str, Any]] = {
    "as it is": {"orientation": "LPS"},
    "resampled to 1 x 1 x 2 mm": {"orientation": "LPS", "spacing": ["1", "1", "2"]},
}
_POINTS = 200
_SOP = "1.2.3.481"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each sample")
    parser.add_argument("--profile", action="store_true", help="also print where the time goes")
    parser.add_argument("--work", type=Path, help="keep the Series in this folder")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tcia-benchmark-") as scratch:
        folder = chosen.work or Path(scratch)
        prepare(folder, chosen.slices)
        print(f"{chosen.slices} slices of {SIDE} x {SIDE}; ", end="")
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        print("| volume | s | processor s | least | files MB |\n|---|---|---|---|---|")
        for name, volume in FORMS.items():
            report(name, [measure(folder, volume) for _ in range(chosen.rounds)])
        print(f"\nAim: {AIM_S} s of the processor as it is.")
        if chosen.profile:
            profile = cProfile.Profile(time.process_time)
            profile.runcall(measure, folder, FORMS["as it is"])
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)


def report(name: str, runs: list[tuple[float, float, float]]) -> None:
    seconds, cpu, size = map(statistics.median, zip(*runs, strict=True))
    least = min(run[1] for run in runs)
    print(f"| {name} | {seconds:.2f} | {cpu:.2f} | {least:.2f} | {size:.0f} |", flush=True)


def measure(folder: Path, volume: dict[str, Any]) -> tuple[float, float, float]:
    """Return wall time, processor time, and the size of the files in MB."""
    store = Path(tempfile.mkdtemp(dir=folder))
    job = job_of(folder, volume)
    started, busy = time.perf_counter(), time.process_time()
    [row] = make_samples(job, store)
    cost = time.perf_counter() - started, time.process_time() - busy
    if not all(row["label_voxels"].values()):
        raise SystemExit(f"an organ has no voxel: {row['label_voxels']}")
    return *cost, (row["image_bytes"] + row["label_bytes"]) / 1e6


def job_of(folder: Path, volume: dict[str, Any]) -> SampleJob:
    def locked(name: str) -> LockedZip:
        sha256 = sha256_of(folder / name)
        return LockedZip(FolderArchives(folder), name, sha256, sha256)

    return SampleJob(
        series_instance_uid="1.2.3.4",
        zip=locked("series.zip"),
        image_count=None,
        masks=(Mask(locked("rtstruct.zip"), (_SOP,)),),
        volume=VolumeSettings.model_validate(volume),
        labels=tuple((name.lower(), name) for name in ORGANS),
        priority=(),
        made_with={},
    )


def prepare(folder: Path, slices: int) -> None:
    """Make the zips of the CT and of the RTSTRUCT, unless they are there."""
    if (folder / "rtstruct.zip").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    generate(folder, slices)
    heads = [
        pydicom.dcmread(path, stop_before_pixels=True)
        for path in sorted((folder / "files").iterdir())
    ]
    made = rtstruct(sorted(heads, key=lambda head: head.ImagePositionPatient[2]))
    pydicom.dcmwrite(folder / "rtstruct.dcm", made, enforce_file_format=True)
    with zipfile.ZipFile(folder / "rtstruct.zip", "w", zipfile.ZIP_DEFLATED) as zip_:
        zip_.write(folder / "rtstruct.dcm", "1.dcm")


def rtstruct(heads: list[Dataset]) -> Dataset:
    made = Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", _SOP
    made.Modality, made.PatientID = "RTSTRUCT", "P"
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    for number, (name, organ) in enumerate(ORGANS.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = heads[0].FrameOfReferenceUID
        drawn.ReferencedROINumber, drawn.ContourSequence = number, contours(heads, *organ)
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(drawn)
    return made


def contours(
    heads: list[Dataset], x: float, y: float, across: float, down: float, part: float
) -> list[Dataset]:
    """Return a wavy ellipse on each slice of the middle part, smaller towards its ends."""
    random = np.random.default_rng(1)
    turn = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    middle, half = len(heads) / 2, len(heads) * part / 2
    found = []
    for place, head in enumerate(heads):
        away = abs(place + 0.5 - middle) / half
        if away >= 1:
            continue
        wave = np.sqrt(1 - away**2 / 2) * (1 + 0.05 * np.sin(7 * turn + random.uniform(0, 6)))
        pixels = np.stack([x + across * wave * np.cos(turn), y + down * wave * np.sin(turn)], 1)
        points = np.array(head.ImagePositionPatient, float) + np.pad(pixels, [(0, 0), (0, 1)]) * [
            *map(float, head.PixelSpacing[::-1]),
            0,
        ]
        contour, image = Dataset(), Dataset()
        image.ReferencedSOPClassUID = head.SOPClassUID
        image.ReferencedSOPInstanceUID = head.SOPInstanceUID
        contour.ContourImageSequence = [image]
        contour.ContourGeometricType = "CLOSED_PLANAR"
        contour.NumberOfContourPoints = len(points)
        contour.ContourData = [f"{number:.3f}" for number in points.ravel()]
        found.append(contour)
    return found


if __name__ == "__main__":
    main()
