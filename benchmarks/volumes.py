"""Convert a CT of 300 slices of 512 x 512 from its zip to NIfTI, compared with dcm2niix.

The Series is generated once (smooth shapes with noise, shuffled names), as a zip and as extracted
files for dcm2niix. Each conversion runs several times in a process of its own, in turns. Starting
Python and importing modules is not counted. Prints medians of wall time and peak memory (RSS), and
the goals: `.nii` in at most twice the time of dcm2niix, `.nii.gz` in at most its time, and at most
2.5 times the volume's memory in addition to the imports. Also checks that both give equal voxels.

    .venv/bin/python benchmarks/volumes.py [--slices 300] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

SIDE = 512
CONVERSIONS = (
    "tcia_assets .nii",
    "dcm2niix .nii",
    "tcia_assets .nii.gz",
    "dcm2niix .nii.gz",
)
GOALS = {
    "tcia_assets .nii": ("dcm2niix .nii", 2.0),
    "tcia_assets .nii.gz": ("dcm2niix .nii.gz", 1.0),
}
MAX_VOLUMES = 2.5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each conversion")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.child:
        compare(arguments.slices, arguments.rounds)
    elif arguments.child[0] == "generate":
        generate(Path(arguments.child[1]), arguments.slices)
    elif arguments.child[0] == "check":
        check(Path(arguments.child[1]))
    elif arguments.child[0].startswith("tcia_assets"):
        print(json.dumps(convert(Path(arguments.child[1]), arguments.child[0].split()[1])))
    else:
        print(json.dumps(run_dcm2niix(Path(arguments.child[1]), arguments.child[0].split()[1])))


# --- The parent process, which stays small -------------------------------------------------------


def compare(slices: int, rounds: int) -> None:
    volume_mb = slices * SIDE * SIDE * 2 / 1e6
    runs: dict[str, list[dict[str, float]]] = {conversion: [] for conversion in CONVERSIONS}
    with tempfile.TemporaryDirectory(prefix="tcia-benchmark-") as folder:
        run_child("generate", folder, slices)
        zip_mb = (Path(folder) / "series.zip").stat().st_size / 1e6
        print(
            f"{slices} slices of {SIDE} x {SIDE}, {volume_mb:.0f} MB; zip {zip_mb:.0f} MB; ", end=""
        )
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        for _ in range(rounds):
            for conversion, measured in runs.items():
                measured.append(json.loads(run_child(conversion, folder, slices)))
        run_child("check", folder, slices)
    report(runs, volume_mb)


def run_child(what: str, folder: str, slices: int) -> str:
    command = [sys.executable, __file__, "--slices", str(slices), "--child", what, folder]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def report(runs: dict[str, list[dict[str, float]]], volume_mb: float) -> None:
    def median(conversion: str, figure: str) -> float:
        return statistics.median(run[figure] for run in runs[conversion])

    print(
        "| conversion | s | processor s | slices/s | file MB | peak MB | volumes | ratio | goal |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for conversion in CONVERSIONS:
        seconds, peak = median(conversion, "seconds"), median(conversion, "peak_mb")
        volumes = (peak - median(conversion, "imports_mb")) / volume_mb
        ratio = goal = ""
        if conversion in GOALS:
            other, limit = GOALS[conversion]
            ratio, goal = f"{seconds / median(other, 'seconds'):.2f}", f"{limit:.1f}"
        print(
            f"| {conversion} | {seconds:.3f} | {median(conversion, 'processor_seconds'):.3f} "
            f"| {median(conversion, 'slices') / seconds:.0f} | {median(conversion, 'file_mb'):.0f} "
            f"| {peak:.0f} | {volumes:.2f} | {ratio} | {goal} |"
        )
    print(f"\nGoal for memory: at most {MAX_VOLUMES} volumes in addition to the imports.")


# --- The child processes --------------------------------------------------------------------------


def generate(folder: Path, slices: int) -> None:
    import numpy as np  # noqa: PLC0415

    from tcia_assets.sandbox.phantom import objects  # noqa: PLC0415

    row = {
        "SeriesInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3",
        "PatientID": "P",
        "Modality": "CT",
        "ImageCount": slices,
    }
    random = np.random.default_rng(1)
    names = random.permutation(slices)
    (folder / "files").mkdir()
    with zipfile.ZipFile(folder / "series.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=6) as zip_:
        for name, (_, content) in zip(names, objects(row), strict=True):
            large = enlarge(content, random)
            zip_.writestr(f"{name:08}.dcm", large)
            (folder / "files" / f"{name:08}.dcm").write_bytes(large)


def enlarge(content: bytes, random: object) -> bytes:
    """Return a slice of the phantom with eight times the rows and columns, and scanner noise."""
    import io  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415
    import pydicom  # noqa: PLC0415

    dataset = pydicom.dcmread(io.BytesIO(content))
    del dataset[0xFFFC_FFFC]
    factor = SIDE // dataset.Rows
    image = np.kron(dataset.pixel_array, np.ones((factor, factor), np.uint16))
    noise = random.normal(0, 12, image.shape).astype(np.int16)  # type: ignore[attr-defined]
    noisy = np.clip(image.astype(np.int16) + noise, 0, 4095)
    dataset.Rows = dataset.Columns = SIDE
    dataset.PixelSpacing = [float(each) / factor for each in dataset.PixelSpacing]
    dataset.PixelData = noisy.astype("<u2").tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def convert(folder: Path, ending: str) -> dict[str, float]:
    from tcia_assets.datasets.volume.nifti import write_nifti  # noqa: PLC0415
    from tcia_assets.datasets.volume.volume_reader import read_volume  # noqa: PLC0415

    (folder / f"tcia_assets{ending}").unlink(missing_ok=True)
    imports_mb, busy, started = peak_mb(), time.process_time(), time.perf_counter()
    volume = read_volume(folder / "series.zip")
    size = write_nifti(folder / f"tcia_assets{ending}", volume)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - busy,
        "slices": len(volume.voxels),
        "file_mb": size / 1e6,
        "peak_mb": peak_mb(),
        "imports_mb": imports_mb,
    }


def run_dcm2niix(folder: Path, ending: str) -> dict[str, float]:
    import dcm2niix  # noqa: PLC0415

    out = folder / "dcm2niix"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    # "i" compresses in the process itself, not with pigz.
    compression = "i" if ending == ".nii.gz" else "n"
    command = [dcm2niix.bin, "-z", compression, "-b", "n", "-f", "out", "-o", str(out)]
    started = time.perf_counter()
    subprocess.run([*command, str(folder / "files")], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "slices": len(list((folder / "files").iterdir())),
        "file_mb": (out / f"out{ending}").stat().st_size / 1e6,
        "peak_mb": used.ru_maxrss * UNIT / 1e6,
        "imports_mb": 0.0,
    }


def check(folder: Path) -> None:
    import nibabel  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    paths = [
        folder / "tcia_assets.nii",
        folder / "tcia_assets.nii.gz",
        folder / "dcm2niix" / "out.nii.gz",
    ]
    plain, packed, other = (nibabel.as_closest_canonical(nibabel.load(path)) for path in paths)
    for each in (packed, other):
        if not np.array_equal(np.asanyarray(plain.dataobj), np.asanyarray(each.dataobj)):
            raise SystemExit("the voxels differ")
        if not np.allclose(plain.affine, each.affine, atol=1e-4):
            raise SystemExit("the affines differ")


# Kibibytes on Linux, bytes on macOS.
UNIT = 1 if sys.platform == "darwin" else 1024


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e6


if __name__ == "__main__":
    main()
