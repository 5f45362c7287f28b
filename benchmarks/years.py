"""What each part of the work costs as a mirror grows: time, memory, records, and the law.

Makes mirrors of a chosen size and of multiples of it: the metadata of a sandbox of that size, zips
without their bytes, the rows of all their images, and years of history. Measures each kind of work
in a process of its own, as production runs it: a command, or `dagster job execute`, as Dagster's
daemon does. From each figure that of the same work over a mirror of two Series is subtracted.
Prints processor time (user and system), peak memory, what Dagster's home grows by, and the law: the
power of the number of Series that fits the figures.

    .venv/bin/python benchmarks/years.py --series 2000 --objects 20 --scales 1 4 16
    .venv/bin/python benchmarks/years.py --only status plan --keep .benchmarks/years

A further kind of work is a function of this file with the decorator `measure`. What no command does
is a function of years_children.py; years_mirror.py makes the mirrors.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from processes import BIN, Cost, timed, timed_job, wait_until_up

HERE = Path(__file__).parent
# The Collection that has half of the Series, as NLST has two fifths of TCIA's.
LARGEST = "LARGEST"
# Below this share of a second, a figure is noise, and so is its growth.
_NOISE_S, _NOISE_MB = 0.3, 15.0


class Figure(NamedTuple):
    """What a process costs, and what it adds to Dagster's home."""

    cpu_s: float
    memory_mb: float
    record_bytes: int
    record_files: int

    def above(self, other: Figure) -> Figure:
        """Return the differences from another figure, at least 0 each."""
        return Figure(*(max(0, mine - its) for mine, its in zip(self, other, strict=True)))


class Size(NamedTuple):
    """The size of a mirror.

    Attributes:
        series: Number of Series; half of them are in one Collection.
        collections: Number of Collections.
        objects: Number of objects a Series.
        fetches: Number of times that each Series was fetched, in the history.
        ct: Whether all Series are CT, as NLST's; else half of them refer to others.
    """

    series: int
    collections: int
    objects: int
    fetches: int
    ct: bool = False

    @property
    def first_and_last(self) -> tuple[str, str]:
        """The first Collection, which is the largest, and the last."""
        return LARGEST, f"OTHER-{self.collections - 2:03d}" if self.collections > 1 else LARGEST


@dataclass(frozen=True)
class Place:
    """A mirror, and the sandbox that it was made from."""

    size: Size
    folder: Path
    port: int

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def home(self) -> Path:
        """Dagster's home."""
        return self.data / "dagster"

    @property
    def environment(self) -> dict[str, str]:
        """The settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
        return kept | {
            "TCIA_BASE_URL": f"http://127.0.0.1:{self.port}/nbia-api/services/v4",
            "TCIA_DATA_DIR": str(self.data),
            "TCIA_DATASETS_DIR": str(self.folder / "no_datasets"),
        }

    @property
    def selecting(self) -> dict[str, str]:
        """The settings, with a selection of the Series on disk: all but some of the largest."""
        first = (self.folder / "first_spare").read_text()
        where = f"Collection <> '{LARGEST}' OR SeriesInstanceUID < '{first}'"
        return self.environment | {"TCIA_IMAGE_SELECTION": json.dumps({"where": where})}

    def command(self, *arguments: str) -> Cost:
        """Run a command of the package, without a selection."""
        return timed([str(BIN / "tcia-assets"), *arguments], self.environment)

    def job(self, name: str, keys: tuple[str, str]) -> Cost:
        """Run a job of Dagster over the Collections from the first to the last."""
        return timed_job(name, keys, self.home, self.selecting)

    def child(self, name: str) -> Cost:
        """Run a function of years_children.py."""
        return timed([sys.executable, str(HERE / "years_children.py"), name], self.selecting)

    def mirror(self, step: str) -> list[str]:
        """Return the command for a step of years_mirror.py."""
        numbers = [str(int(number)) for number in self.size]
        arguments = [step, str(self.folder), *numbers, str(self.port)]
        return [sys.executable, str(HERE / "years_mirror.py"), *arguments]


MEASURES: dict[str, tuple[str, Callable[[Place], Cost]]] = {}


def measure(text: str) -> Callable[[Callable[[Place], Cost]], Callable[[Place], Cost]]:
    """Declare a kind of work, by the name of its function and the text of its row."""

    def declare(call: Callable[[Place], Cost]) -> Callable[[Place], Cost]:
        MEASURES[call.__name__] = (text, call)
        return call

    return declare


# --- What is measured -----------------------------------------------------------------------------


@measure("`refresh --all`, nothing changed")
def refresh(place: Place) -> Cost:
    return place.command("refresh", "--all")


@measure("the same as a run of Dagster")
def refresh_run(place: Place) -> Cost:
    return place.job("tcia_refresh", place.size.first_and_last)


@measure("a run of Dagster that refreshes the largest Collection, nothing changed")
def refresh_one_run(place: Place) -> Cost:
    return place.job("tcia_refresh", (LARGEST, LARGEST))


@measure("`fetch` of one more Series")
def fetch_one(place: Place) -> Cost:
    return place.command("fetch", LARGEST, "--max-series", "1")


@measure("a run of Dagster that fetches images of the largest Collection, nothing new")
def images_run(place: Place) -> Cost:
    return place.job("tcia_images", (LARGEST, LARGEST))


@measure("`fetch --dry-run` of the largest Collection: the plan")
def plan(place: Place) -> Cost:
    return place.command("fetch", LARGEST, "--dry-run")


@measure("`status`")
def status(place: Place) -> Cost:
    return place.command("status")


@measure("the check `keys_unique` of `images`")
def keys_unique(place: Place) -> Cost:
    return place.child("keys_unique")


@measure("the check `archives_intact` of the largest Collection: its zips that are due today")
def verify_due(place: Place) -> Cost:
    return place.child("verify_due")


@measure("a tick of the sensor, nothing new")
def tick(place: Place) -> Cost:
    return place.child("tick")


# --- Making the mirrors ---------------------------------------------------------------------------


@contextmanager
def opened(size: Size, folder: Path, port: int, dagster_yaml: str | None = None) -> Iterator[Place]:
    """Serve the sandbox of a size while the block lasts; make the mirror unless it is there.

    Args:
        size: The size of the mirror.
        folder: The folder that it is in.
        port: The port of the sandbox.
        dagster_yaml: The configuration of Dagster's home; by default the package's own.
    """
    place, made = Place(size, folder, port), folder / "made"
    if not made.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "no_datasets").mkdir(parents=True)
        if dagster_yaml is not None:
            place.home.mkdir(parents=True)
            (place.home / "dagster.yaml").write_text(dagster_yaml)
        timed(place.mirror("catalogue"), place.environment)
    with _served(place):
        if not made.is_file():
            place.command("refresh", "--all")
            timed(place.mirror("images"), place.environment)
            made.touch()
        yield place


@contextmanager
def _served(place: Place) -> Iterator[None]:
    process = subprocess.Popen(place.mirror("serve"), stdout=subprocess.DEVNULL)
    try:
        wait_until_up(process, place.port)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


# --- Measuring and printing -----------------------------------------------------------------------


def figure(name: str, place: Place, rounds: int) -> Figure:
    """Return the least that a kind of work costs in some rounds: others use the machine too."""
    figures = []
    for _ in range(rounds):
        before = size_of(place.home)
        cost = MEASURES[name][1](place)
        after = size_of(place.home)
        growth = (new - old for new, old in zip(after, before, strict=True))
        figures.append(Figure(cost.cpu_s, cost.peak_mb, *growth))
    return min(figures)


def size_of(folder: Path) -> tuple[int, int]:
    """Return the bytes and the number of the files below a folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(sizes), len(sizes)


def law(figures: Sequence[float], sizes: Sequence[int], noise: float) -> str:
    """Return the power of the size that the figures follow, by least squares of logarithms."""
    if len(sizes) < 2 or max(figures) < noise:
        return "O(1)"
    # Figures within the noise count as noise: the law is never steeper than it is.
    points = [(math.log(n), math.log(max(f, noise))) for n, f in zip(sizes, figures, strict=True)]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points)
    slope /= sum((x - mean_x) ** 2 for x, _ in points)
    return "O(1)" if slope < 0.2 else f"O(n^{slope:.1f})" if abs(slope - 1) > 0.2 else "O(n)"


def print_table(
    found: dict[str, list[Figure]], empty: dict[str, Figure], sizes: list[Size]
) -> None:
    """Print what each kind of work costs above the same over an almost empty mirror."""
    counts = [size.series for size in sizes]
    head = " | ".join(f"{n:,} Series" for n in counts)
    print(f"| | almost empty | {head} | law | each 100,000 more | Dagster's records |")
    print("|" + "---|" * (len(sizes) + 5))
    for name, figures in found.items():
        above = [each.above(empty[name]) for each in figures]
        cells = " | ".join(f"+{each.cpu_s:.1f} s, +{each.memory_mb:.0f} MB" for each in above)
        laws = ", ".join(
            (
                law([each.cpu_s for each in above], counts, _NOISE_S),
                law([each.memory_mb for each in above], counts, _NOISE_MB),
            )
        )
        base, last = empty[name], figures[-1]
        records = f"{last.record_bytes / 1e6:.1f} MB, {last.record_files} files"
        print(
            f"| {MEASURES[name][0]} | {base.cpu_s:.1f} s, {base.memory_mb:.0f} MB | {cells} "
            f"| {laws} | {_more(above, counts)} | {records if last.record_bytes else ''} |"
        )


def _more(figures: Sequence[Figure], sizes: Sequence[int]) -> str:
    """Return what the largest mirror costs more than the one before, for 100,000 Series."""
    if len(sizes) < 2:
        return ""
    before, last = figures[-2:]
    factor = 100_000 / (sizes[-1] - sizes[-2])
    cpu_s, memory_mb = last.cpu_s - before.cpu_s, last.memory_mb - before.memory_mb
    seconds = f"{factor * cpu_s:.1f} s" if cpu_s > _NOISE_S else "0 s"
    return f"{seconds}, " + (f"{factor * memory_mb:.0f} MB" if memory_mb > _NOISE_MB else "0 MB")


def run(chosen: argparse.Namespace, folder: Path) -> None:
    sizes = [Size(2, 1, chosen.objects, 1, chosen.ct)]
    sizes += [
        Size(chosen.series * scale, chosen.collections, chosen.objects, chosen.fetches, chosen.ct)
        for scale in chosen.scales
    ]
    found: dict[str, list[Figure]] = {name: [] for name in chosen.only}
    for size in sizes:
        name = "-".join(str(int(number)) for number in size)
        with opened(size, folder / name, chosen.port) as place:
            for work in chosen.only:
                found[work].append(figure(work, place, chosen.rounds))
                print(f"{name} {work}: {found[work][-1]}", file=sys.stderr, flush=True)
    empty = {name: figures.pop(0) for name, figures in found.items()}
    print_table(found, empty, sizes[1:])
    print(f"\nthe largest: {sizes[-1]}; load at the end: {os.getloadavg()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    number = {"type": int, "metavar": "N"}
    parser.add_argument("--series", default=2000, help="Series at 1 x", **number)
    parser.add_argument("--collections", default=8, help="Collections", **number)
    parser.add_argument("--objects", default=20, help="objects of each Series", **number)
    parser.add_argument("--fetches", default=3, help="times that each was fetched", **number)
    parser.add_argument("--ct", action="store_true", help="all Series are CT, and refer to none")
    parser.add_argument("--scales", default=[1, 4, 16], nargs="+", help="multiples", **number)
    parser.add_argument("--rounds", default=1, help="how often each is measured", **number)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=[*MEASURES], help="rows")
    parser.add_argument("--keep", type=Path, help="a folder in which the mirrors stay")
    parser.add_argument("--port", default=8046, help="port of the sandbox", **number)
    chosen = parser.parse_args()
    if chosen.keep:
        run(chosen, chosen.keep.absolute())
    else:
        with tempfile.TemporaryDirectory(prefix="tcia-years-") as folder:
            run(chosen, Path(folder))


if __name__ == "__main__":
    main()
