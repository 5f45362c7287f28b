"""Random images with contours or segments of shapes whose inside is known at each point.

A case is made from its number alone. Shapes are ellipsoids in patient coordinates, so that each
voxel is judged through the affine of its volume, and a section by any plane is an ellipse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from tcia_assets.datasets.volume.label_gaps import BETWEEN
from tcia_assets.datasets.volume.label_grid import LabelChoices
from tcia_assets.datasets.volume.label_readers import READERS
from tcia_assets_tests.datasets.volume.synthetic import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    Series,
    blank,
    rotation_matrix,
)
from tcia_assets_tests.datasets.volume.synthetic_labels import rtstruct

STEPS = (0.5, 0.625, 0.8, 1.0, 1.25, 2.0, 2.5, 3.0, 5.0)
PIXELS = (0.6, 0.7, 0.977, 1.0, 1.5)
# What chords of contours, and decimals of coordinates, leave uncertain, in mm.
ROUNDING = 0.05
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(frozen=True)
class Ellipsoid:
    """The points p with (p - centre)^T form (p - centre) <= 1, in LPS mm."""

    centre: Any
    axes: Any
    radii: Any

    def scaled(self, points: Any) -> Any:
        """Return the distance from the centre in radii: 1 at the surface."""
        return np.linalg.norm((points - self.centre) @ self.axes / self.radii, axis=-1)

    def contains(self, points: Any) -> Any:
        return self.scaled(points) <= 1

    def least_distance(self, points: Any) -> Any:
        """Return a distance in mm that the surface is at least away."""
        return np.abs(self.scaled(points) - 1) * self.radii.min()

    def moved(self, by: Any) -> Ellipsoid:
        return Ellipsoid(self.centre + by, self.axes, self.radii)

    def shrunk(self, by: float) -> Ellipsoid:
        return Ellipsoid(self.centre, self.axes, self.radii * by)

    def section(self, origin: Any, across: Any, down: Any, points: int) -> Any:
        """Return the ellipse in a plane as points in LPS mm, or None."""
        basis = np.stack([across, down], axis=1)
        form = self.axes @ np.diag(1 / self.radii**2) @ self.axes.T
        offset = origin - self.centre
        quadratic, linear = basis.T @ form @ basis, basis.T @ form @ offset
        middle = -np.linalg.solve(quadratic, linear)
        size = 1 - offset @ form @ offset - linear @ middle
        if size <= 0:
            return None
        angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
        circle = np.sqrt(size) * np.stack([np.cos(angle), np.sin(angle)])
        flat = middle[:, None] + np.linalg.inv(np.linalg.cholesky(quadratic)).T @ circle
        return origin + flat.T @ basis.T


@dataclass(frozen=True)
class Shape:
    """What one reader drew: bodies, united, without a hole."""

    bodies: tuple[Ellipsoid, ...]
    hole: Ellipsoid | None = None

    @property
    def surfaces(self) -> tuple[Ellipsoid, ...]:
        return (*self.bodies, *([self.hole] if self.hole else []))

    def contains(self, points: Any) -> Any:
        inside = np.any([body.contains(points) for body in self.bodies], axis=0)
        return inside & ~self.hole.contains(points) if self.hole else inside

    def moved(self, by: Any) -> Shape:
        hole = self.hole.moved(by) if self.hole else None
        return Shape(tuple(body.moved(by) for body in self.bodies), hole)


@dataclass
class Case:
    """A random case.

    Attributes:
        number: From which it is made.
        series: The image.
        shapes: What each reader drew, the first reader first.
        objects: The objects that hold it.
        choices: What to do with gaps and readers.
        uncertain: Codes of findings that the case must have.
        tolerance: How far from a surface a voxel may have the wrong label, in mm; infinite where
            labels between drawn slices are missing on purpose.
    """

    number: int
    series: Series
    shapes: Sequence[Shape]
    objects: list[FileDataset]
    choices: LabelChoices
    uncertain: set[str] = field(default_factory=set)
    tolerance: float = ROUNDING

    @cached_property
    def points(self) -> Any:
        """The centre of each voxel in LPS mm, [z, y, x, 3]."""
        z, y, x = np.indices(self.series.values.shape)
        return np.stack([x, y, z], axis=-1) @ self.series.affine_lps[:3, :3].T + self.series.origin

    def drawn(self) -> Any:
        """Return the truth of each reader, [reader, z, y, x]."""
        return np.array([shape.contains(self.points) for shape in self.shapes])

    def is_far(self) -> Any:
        """Return the voxels that are farther from all surfaces than the tolerance."""
        surfaces = [surface for shape in self.shapes for surface in shape.surfaces]
        distances = [surface.least_distance(self.points) for surface in surfaces]
        return np.min(distances, axis=0) > self.tolerance


def make_case(number: int) -> Case:
    """Return the case of a number, the same in every call."""
    dice = np.random.default_rng([2026, number])
    series = _series(dice)
    shape = _shape(dice, series)
    readers = int(dice.choice([1, 1, 1, 2, 3]))
    shapes = [shape.moved(_in_plane(dice, series, 1.5) if place else 0) for place in range(readers)]
    choices = LabelChoices(str(dice.choice([*BETWEEN])), str(dice.choice([*READERS])))
    case = Case(number, series, shapes, [], choices)
    if readers > 1:
        case.uncertain.add("several_readers")
    _SOURCES[int(dice.integers(len(_SOURCES)))](dice, case)
    for place, made in enumerate(case.objects, start=1):
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.{place}"
    return case


# --- Images and shapes ----------------------------------------------------------------------------


def _series(dice: Any) -> Series:
    turn = rotation_matrix(dice.normal(size=4))
    known = [AXIAL, AXIAL, CORONAL, SAGITTAL, OBLIQUE]
    orientation = [*known, tuple(np.round(turn[:, :2].T.ravel(), 6))][dice.integers(6)]
    pixel = float(dice.choice(PIXELS))
    spacing = (pixel, pixel * float(dice.choice([1.0, 1.0, 1.2])), float(dice.choice(STEPS)))
    origin = tuple(np.round(dice.uniform(-200, 200, 3), int(dice.integers(1, 4))).tolist())
    shape = (int(dice.integers(13, 17)), *dice.integers(34, 41, 2).tolist())
    series = Series(np.zeros(shape, np.int16), orientation, spacing, origin)
    if dice.random() < 0.2:
        series.shear = tuple(_in_plane(dice, series, 0.4))
    return series


def _in_plane(dice: Any, series: Series, pixels: float) -> Any:
    """Return a random step in the plane of the slices."""
    steps = series.affine_lps[:3, :2] * dice.uniform(-pixels, pixels, 2)
    return np.round(steps.sum(axis=1), 6)


def _shape(dice: Any, series: Series) -> Shape:
    """Return an ellipsoid, with a hole or a second body apart from it."""
    depth, rows, columns = series.values.shape
    affine, pixel = series.affine_lps, min(series.spacing[:2])
    height = depth * float(series.normal @ series.step)
    radii = np.array([*dice.uniform(6, 8, 2) * pixel, dice.uniform(0.28, 0.36) * height])
    tilt = rotation_matrix(np.array([1.0, *dice.normal(scale=0.05, size=3)]))
    axes = np.stack([series.orientation[:3], series.orientation[3:], series.normal], axis=1) @ tilt

    def body(x: float, y: float, size: float) -> Ellipsoid:
        middle = [x * columns, y * rows, depth / 2 + dice.uniform(-1, 1), 1]
        return Ellipsoid((affine @ middle)[:3], axes, radii * size)

    kind = dice.choice(["plain", "hole", "hole", "apart", "edge"])
    if kind == "apart":
        return Shape((body(0.28, 0.3, 0.9), body(0.72, 0.7, 0.7)))
    if kind == "edge":
        return Shape((body(0.05, 0.5, 1.0),))
    outer = body(0.5, 0.5, 1.2)
    return Shape((outer,), outer.shrunk(float(dice.uniform(0.4, 0.65))) if kind == "hole" else None)


# --- Contours -------------------------------------------------------------------------------------


def _draw_contours(dice: Any, case: Case) -> None:
    """Draw on each slice or fewer, or between slices; holes in each way that writers have."""
    every = float(dice.choice([1, 1, 1, 1, 2, 3, 0.5]))
    shift = float(dice.choice([0, 0, 0, 0.05, 0.3, 0.5])) * float(dice.choice([-1, 1]))
    kind = "CLOSEDPLANAR_XOR" if dice.random() < 0.2 else "CLOSED_PLANAR"
    is_keyhole = bool(dice.random() < 0.3)
    points = int(dice.integers(50, 90))
    is_twice = kind == "CLOSED_PLANAR" and dice.random() < 0.1
    for shape in case.shapes:
        contours = [
            contour
            for place in np.arange(0, len(case.series.values), every) + shift
            for contour in _contours(case.series, shape, place, points, is_keyhole=is_keyhole)
        ]
        case.objects.append(rtstruct({"GTV": contours * (1 + is_twice)}, kind))
    step = float(case.series.normal @ case.series.step)
    case.tolerance += abs(shift) * step
    if is_twice:
        case.uncertain.add("overlapping_contours")
    if abs(shift) > 0.1 or every < 1:
        case.uncertain.add("contours_between_slices")
        case.tolerance += 0.5 * step
    if every > 1:
        _expect_gaps(case, every * step)


def _expect_gaps(case: Case, step: float) -> None:
    is_filled = case.choices.between != "nothing"
    case.uncertain.add("label_gaps_filled" if is_filled else "label_gaps")
    case.tolerance += step if is_filled else np.inf


def _contours(
    series: Series, shape: Shape, place: float, points: int, *, is_keyhole: bool
) -> Iterator[Any]:
    origin = np.array(series.origin) + place * series.step
    plane = origin, np.array(series.orientation[:3]), np.array(series.orientation[3:])
    outlines = [body.section(*plane, points) for body in shape.bodies]
    # Writers seldom give an outline and its hole as many points.
    hole = shape.hole.section(*plane, points // 2 + 1) if shape.hole else None
    for outline in outlines:
        if outline is None:
            continue
        if hole is not None and is_keyhole:
            yield np.concatenate([outline, outline[:1], hole, hole[:1]])
        else:
            yield outline
    if hole is not None and not is_keyhole:
        yield hole


# --- Segments -------------------------------------------------------------------------------------


def _draw_frames(dice: Any, case: Case) -> None:
    """Draw frames that are turned against the image, thicker than its slices, or off its grid."""
    is_tilted = any(case.series.shear)
    # Of x, y, z, those along which columns and rows of the frames run, and the one across.
    axes = [0, 1, 2] if is_tilted or dice.random() < 0.6 else dice.permutation(3).tolist()
    signs = dice.choice([-1, 1], 2)
    every = int(dice.choice([1, 1, 1, 2, 3])) if axes[2] == 2 else 1
    off = float(dice.choice([0, 0, 0, 0.05, 0.4]))
    for mask in case.drawn():
        case.objects.append(_seg(case.series, mask, axes, signs, every, off))
    if off > 0.1:
        case.uncertain = {"frames_off_grid"}  # no frame is left for anything else
    elif every > 1:
        _expect_gaps(case, every * float(case.series.normal @ case.series.step))


def _seg(
    series: Series, mask: Any, axes: Sequence[int], signs: Any, every: int, off: float
) -> FileDataset:
    """Return a SEG of a mask [z, y, x] whose frames have these axes of the image."""
    across, down, through = (series.affine_lps[:3, axis] for axis in axes)
    images = mask.transpose(2 - axes[2], 2 - axes[1], 2 - axes[0])[:, :: signs[1], :: signs[0]]
    sizes = np.array(images.shape[::-1])
    first = np.where(np.array([*signs, 1]) < 0, sizes - 1, 0) + np.array([off, 0, 0])
    corner = np.array(series.origin) + first @ np.stack([across, down, through])
    places = [place for place in range(0, len(images), every) if images[place].any()]
    made = blank(SEG, "1.2.66")
    made.Modality, made.SegmentationType = "SEG", "BINARY"
    made.Rows, made.Columns, made.NumberOfFrames = *images.shape[1:], len(places)
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = made.PixelRepresentation = 0
    bits = np.packbits(images[places].ravel(), bitorder="little").tobytes()
    made.PixelData = bits + bytes(len(bits) % 2)
    segment, shared, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "GTV"
    made.SegmentSequence = [segment]
    directions = [
        sign * way / np.linalg.norm(way) for sign, way in zip(signs, (across, down), strict=True)
    ]
    orientation.ImageOrientationPatient = np.round(np.concatenate(directions), 9).tolist()
    measures.PixelSpacing = [float(np.linalg.norm(down)), float(np.linalg.norm(across))]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = [_frame(corner + place * through) for place in places]
    return made


def _frame(corner: Any) -> Dataset:
    own, position, identity = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = np.round(corner, 6).tolist()
    identity.ReferencedSegmentNumber = 1
    own.PlanePositionSequence, own.SegmentIdentificationSequence = [position], [identity]
    return own


_SOURCES: Sequence[Callable[[Any, Case], None]] = (_draw_contours, _draw_contours, _draw_frames)
