"""The leaks that a cohort shows before any volume is made.

Equal Patients, Studies and frames of reference are known from the warehouse. Equal pixels are not:
`sample_table.check_samples` looks for them when all samples are made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.classes import Classes
from tcia_assets.datasets.cohort import CLASS_VALUE, IMAGE, Cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.quality import DROP, WITHOUT_CLASS, WITHOUT_TARGET
from tcia_assets.datasets.sample_table import (
    channels_by_image,
    lacks_channel,
    masks_by_image,
)
from tcia_assets.datasets.samples import KEPT
from tcia_assets.datasets.split import Leak, find_leaks
from tcia_assets.store.warehouse import Warehouse

# A Series with several frames of reference has a volume in one of them, not known which.
_FRAMES_OF_REFERENCE = """
    SELECT SeriesInstanceUID AS uid, any_value(FrameOfReferenceUID) AS frame FROM images
    WHERE SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM cohort_series)
    GROUP BY ALL HAVING count(DISTINCT FrameOfReferenceUID) = 1
"""


def find_cohort_leaks(
    declaration: Declaration,
    cohort: Cohort,
    warehouse: Warehouse,
    samples: Iterable[dict[str, Any]],
    to_make: Collection[str],
) -> list[Leak]:
    """Return the values in several splits, of samples that are kept or still to be made.

    Args:
        declaration: Of the dataset.
        cohort: Its cohort.
        warehouse: Has the frames of reference.
        samples: The rows of `sample_table.build_table`; of samples that are made, only those that
            are kept count.
        to_make: The UIDs of the Series whose samples are not made.
    """
    coming = set(to_make).difference(
        _without_target(declaration, cohort),
        _without_class(declaration, cohort),
        _without_channel(cohort),
    )
    frames = _frames_of_reference(cohort, warehouse) if coming else {}
    rows = []
    for row in samples:
        uid = row["SeriesInstanceUID"]
        if uid in coming:
            rows.append(row | {"FrameOfReferenceUID": frames.get(uid)})
        elif row["state"] == KEPT:
            rows.append(row)
    columns = [name for name in declaration.split.leak_columns if name != "pixel_sha256"]
    names = {"part", "PatientID", "SeriesInstanceUID", *columns}
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})
    return find_leaks(table, columns)


def _without_target(declaration: Declaration, cohort: Cohort) -> set[str]:
    """Return the images that are dropped because no mask is paired with them."""
    if declaration.target is None or declaration.policy(WITHOUT_TARGET) != DROP:
        return set()
    with_masks = masks_by_image(cohort).keys()
    return set(cohort.series["SeriesInstanceUID"].to_pylist()) - with_masks


def _without_class(declaration: Declaration, cohort: Cohort) -> set[str]:
    """Return the images that are dropped because they have no class."""
    if declaration.classes is None or declaration.policy(WITHOUT_CLASS) != DROP:
        return set()
    classes = Classes.of(declaration, cohort)
    return {
        row["SeriesInstanceUID"]
        for row in cohort.of_role(IMAGE).select(["SeriesInstanceUID", CLASS_VALUE]).to_pylist()
        if classes.columns(row[CLASS_VALUE])["class_name"] is None
    }


def _without_channel(cohort: Cohort) -> set[str]:
    """Return the images that are dropped because a channel has no Series."""
    return {uid for uid, found in channels_by_image(cohort).items() if lacks_channel(found)}


def _frames_of_reference(cohort: Cohort, warehouse: Warehouse) -> dict[str, str]:
    rows = warehouse.query(_FRAMES_OF_REFERENCE, tables={"cohort_series": cohort.series})
    return dict(zip(rows["uid"].to_pylist(), rows["frame"].to_pylist(), strict=True))
