"""What a build of a dataset would take and give, from the warehouse alone: no zip is read.

Pairs and the names of segments are known of masks on disk only; of others, how many lie in the
Studies of the images.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.datasets.classes import Classes
from tcia_assets.datasets.cohort import CHANNEL, FETCHED, IMAGE, ClassJoin, Cohort
from tcia_assets.datasets.cohort_leaks import find_cohort_leaks
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.plan_channels import ChannelPlan, plan_channels
from tcia_assets.datasets.sample_table import build_table
from tcia_assets.datasets.volume_settings import Spacing
from tcia_assets.store.cores import count_cores
from tcia_assets.store.warehouse import Warehouse

# Processor time for a million voxels of a CT with contours, and bytes that a voxel takes as NIfTI.
# Both are rough: noise compresses badly, air well.
_SECONDS_PER_MEGAVOXEL = 0.08
_BYTES_PER_VOXEL: Mapping[str, float] = {"uint8": 0.45, "float32": 2.2}
_BYTES_PER_VOXEL_OF_16_BITS = 1.1
# Formats that hold a copy of all files.
_COPIES = ("webdataset", "huggingface")

_NAMES = """
    SELECT t.target_name AS name, count(DISTINCT p.image_series_instance_uid) AS images,
           count(*) AS drawn
    FROM targets AS t JOIN pairs AS p ON t.SeriesInstanceUID = p.target_series_instance_uid
    AND t.SOPInstanceUID IS NOT DISTINCT FROM p.SOPInstanceUID
    GROUP BY ALL ORDER BY images DESC, name
"""
_MASKS_IN_STUDIES = """
    SELECT count(*) AS series, coalesce(sum(FileSize), 0)::BIGINT AS bytes
    FROM current_series SEMI JOIN cohort USING (StudyInstanceUID)
    WHERE Modality = $kind AND SeriesInstanceUID NOT IN (
        SELECT SeriesInstanceUID FROM image_archives WHERE path NOTNULL
    )
"""
# Of Series on disk from their headers; of others as if each voxel had two bytes.
_VOXELS = """
    WITH read AS (
        SELECT SeriesInstanceUID, sum(Rows * Columns * coalesce(NumberOfFrames, 1)) AS voxels,
               median(PixelSpacing[2]) AS x, median(PixelSpacing[1]) AS y,
               median(SliceThickness) AS z
        FROM images SEMI JOIN cohort USING (SeriesInstanceUID) GROUP BY ALL
    )
    SELECT c.SeriesInstanceUID AS uid, coalesce(s.FileSize, 0)::BIGINT AS bytes,
           coalesce(r.voxels, s.FileSize / 2, 0)::DOUBLE AS voxels, r.x, r.y, r.z
    FROM cohort AS c LEFT JOIN current_series AS s USING (SeriesInstanceUID)
    LEFT JOIN read AS r USING (SeriesInstanceUID)
"""


@dataclass(frozen=True)
class NamePlan:
    """A name of segments or ROIs, the label that it gets ("" for none), and where it occurs."""

    name: str
    label: str
    images: int
    drawn: int


@dataclass(frozen=True)
class SplitPlan:
    """A split: its Patients, its images, and how many of these have each value of each stratum."""

    split: str
    patients: int
    images: int
    strata: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class DatasetPlan:
    """What a build would take and give.

    Attributes:
        name: Of the dataset.
        title: Of the dataset.
        images: Image Series of the cohort; with channels those of the reference, the cases.
        patients: Their Patients.
        to_fetch: Series, images of all channels and paired masks, whose zips are not on disk.
        bytes_on_disk: Bytes of the DICOM objects of those that are.
        bytes_to_fetch: Bytes of the others.
        masks: Paired masks by the way by which they were found; see `pairing.WAYS`.
        images_without_mask: Images with which no mask on disk is paired; 0 without a target.
        masks_to_fetch: Masks of the target's kind in the Studies of the images that are not on
            disk: whether they are paired is not known yet.
        masks_to_fetch_bytes: Their bytes.
        names: The names of segments and ROIs, the most frequent first.
        classes: Images by class; "" are those without.
        class_join: How the values of classes were joined; None without classes.
        splits: The splits, with the values of `stratify`, or else the classes.
        leaks: A line for each value that would be in several splits.
        licenses: Series, images and masks, by licence.
        built_bytes: About how many bytes a version has.
        built_seconds: About how long a build takes on this machine, in seconds.
        free_bytes: Bytes that are free on the disk.
        channels: The channels in the order of their numbers; none without channels.
        unmatched_labels: The labels that no name of a paired mask on disk gets; none as long as no
            such name is known.
        objects: The objects of the images of a dataset with `frames`, each of which is a sample; 0
            for a dataset of volumes.
    """

    name: str
    title: str
    images: int
    patients: int
    to_fetch: int
    bytes_on_disk: int
    bytes_to_fetch: int
    masks: Mapping[str, int]
    images_without_mask: int
    masks_to_fetch: int
    masks_to_fetch_bytes: int
    names: tuple[NamePlan, ...]
    classes: Mapping[str, int]
    class_join: ClassJoin | None
    splits: tuple[SplitPlan, ...]
    leaks: tuple[str, ...]
    licenses: Mapping[str, int]
    built_bytes: int
    built_seconds: float
    free_bytes: int
    channels: tuple[ChannelPlan, ...] = ()
    unmatched_labels: tuple[str, ...] = ()
    objects: int = 0

    @property
    def content(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)

    @property
    def unlabelled(self) -> int:
        """How many names match no label."""
        return sum(not each.label for each in self.names)


def plan_dataset(declaration: Declaration, cohort: Cohort, warehouse: Warehouse) -> DatasetPlan:
    """Return what a build of a dataset would take and give.

    Args:
        declaration: Of the dataset.
        cohort: From `cohort_query.query_cohort`, or a frozen one.
        warehouse: Has the tables; no zip is read.

    Raises:
        DataError: A sample has no PatientID.
    """
    images = cohort.of_role(IMAGE)
    uids = images["SeriesInstanceUID"].to_pylist()
    samples = build_table(declaration, cohort, {}).to_pylist()
    with_masks = set(cohort.pairs["image_series_instance_uid"].to_pylist())
    waiting = _masks_to_fetch(declaration, images, warehouse)
    names = _names(declaration, cohort, warehouse)
    leaks = find_cohort_leaks(declaration, cohort, warehouse, samples, uids)
    return DatasetPlan(
        name=declaration.name,
        title=declaration.title,
        images=len(uids),
        patients=len({row["patient"] for row in samples}),
        channels=plan_channels(cohort, warehouse),
        objects=pc.sum(images["ImageCount"]).as_py() or 0 if declaration.frames else 0,
        to_fetch=len(cohort.not_fetched),
        **_amounts(declaration, cohort, warehouse),
        masks=_masks(cohort),
        images_without_mask=len(set(uids) - with_masks) if declaration.target else 0,
        masks_to_fetch=waiting["series"],
        masks_to_fetch_bytes=waiting["bytes"],
        names=names,
        unmatched_labels=_unmatched_labels(declaration, names),
        classes=_classes(declaration, cohort, samples),
        class_join=cohort.class_join,
        splits=_splits(declaration, samples),
        leaks=tuple(map(str, leaks)),
        licenses=_licenses(cohort),
        free_bytes=shutil.disk_usage(warehouse.root).free,
    )


def _amounts(declaration: Declaration, cohort: Cohort, warehouse: Warehouse) -> dict[str, Any]:
    """Return how many bytes a build reads and writes, and the seconds that it takes, by field."""
    sizes = warehouse.query(_VOXELS, tables={"cohort": cohort.series}).to_pylist()
    fetched = set(_fetched(cohort.series)["SeriesInstanceUID"].to_pylist())
    images = set(cohort.of_role(IMAGE)["SeriesInstanceUID"].to_pylist())
    read = images.union(cohort.of_role(CHANNEL)["SeriesInstanceUID"].to_pylist())
    megavoxels = sum(row["voxels"] for row in sizes if row["uid"] in read) / 1e6
    return {
        "bytes_on_disk": sum(row["bytes"] for row in sizes if row["uid"] in fetched),
        "bytes_to_fetch": sum(row["bytes"] for row in sizes if row["uid"] not in fetched),
        "built_bytes": _built_bytes(declaration, [row for row in sizes if row["uid"] in images]),
        "built_seconds": megavoxels * _SECONDS_PER_MEGAVOXEL / count_cores(),
    }


def _fetched(series: pa.Table) -> pa.Table:
    return series.filter(pc.equal(series["state"], FETCHED))


def _masks(cohort: Cohort) -> dict[str, int]:
    """Count the paired masks by the best way by which each was found."""
    best: dict[str, tuple[int, str]] = {}
    for pair in cohort.pairs.to_pylist():
        uid, found = pair["target_series_instance_uid"], (pair["rank"], pair["how"])
        best[uid] = min(best.get(uid, found), found)
    return dict(Counter(how for _, how in best.values()).most_common())


def _masks_to_fetch(
    declaration: Declaration, images: pa.Table, warehouse: Warehouse
) -> dict[str, int]:
    if declaration.target is None:
        return {"series": 0, "bytes": 0}
    kind = {"kind": declaration.target.kind}
    found = warehouse.query(_MASKS_IN_STUDIES, kind, tables={"cohort": images})
    row: dict[str, int] = found.to_pylist()[0]
    return row


def _names(declaration: Declaration, cohort: Cohort, warehouse: Warehouse) -> tuple[NamePlan, ...]:
    if declaration.target is None:
        return ()
    patterns = declaration.target.patterns
    labels = {0: "", **patterns.by_number}
    rows = warehouse.query(_NAMES, tables={"pairs": cohort.pairs}).to_pylist()
    return tuple(
        NamePlan(name, labels[patterns.label_of(name)], row["images"], row["drawn"])
        for row in rows
        for name in [row["name"] or ""]
    )


def _unmatched_labels(declaration: Declaration, names: tuple[NamePlan, ...]) -> tuple[str, ...]:
    if declaration.target is None or not names:
        return ()
    matched = {each.label for each in names}
    return tuple(name for name in declaration.target.patterns.names if name not in matched)


def _classes(
    declaration: Declaration, cohort: Cohort, samples: list[dict[str, Any]]
) -> dict[str, int]:
    if declaration.classes is None:
        return {}
    counts = Counter(row["class_name"] or "" for row in samples)
    names = [*Classes.of(declaration, cohort).by_number.values(), ""]
    return {name: counts[name] for name in names}


def _splits(declaration: Declaration, samples: list[dict[str, Any]]) -> tuple[SplitPlan, ...]:
    columns = declaration.split.stratify or (("class_name",) if declaration.classes else ())
    found = []
    for split in declaration.split.splits:
        rows = [row for row in samples if row["part"] == split]
        strata = {n: dict(Counter(str(row[n]) for row in rows).most_common()) for n in columns}
        found.append(SplitPlan(split, len({row["patient"] for row in rows}), len(rows), strata))
    return tuple(found)


def _licenses(cohort: Cohort) -> dict[str, int]:
    names = cohort.series.select(["LicenseName", "LicenseURI"]).to_pylist()
    texts = (row["LicenseName"] or row["LicenseURI"] or "none" for row in names)
    return dict(Counter(texts).most_common())


def _built_bytes(declaration: Declaration, series: list[dict[str, Any]]) -> int:
    """Estimate the bytes of a version: voxels on the new grid, and copies in other formats."""
    voxels = sum(row["voxels"] * _growth(row, declaration.volume.spacing) for row in series)
    each = _BYTES_PER_VOXEL.get(declaration.volume.dtype or "", _BYTES_PER_VOXEL_OF_16_BITS)
    copies = 1 + sum(name in declaration.formats for name in _COPIES)
    return int(voxels * each * copies * max(len(declaration.channels), 1))


def _growth(row: dict[str, Any], spacing: Spacing | None) -> float:
    """Return how many times as many voxels a Series has after resampling; 1 if not known."""
    growth = 1.0
    for axis, new in zip("xyz", spacing or (), strict=False):
        growth *= row[axis] / new if new and row[axis] else 1.0
    return growth
