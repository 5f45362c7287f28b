"""The samples of a dataset: one row for each image Series of its cohort, kept or dropped.

What belongs here: what a row says. What does not: how it comes to be (`build.py`).
"""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.datasets.split import SPLIT_COLUMNS

KEPT, DROPPED = "kept", "dropped"
STATES = {
    KEPT: "its volume, and its labels where there is a target, are in the dataset",
    DROPPED: "it is left out; `reasons` says why",
}

_COHORT_TEXTS = (
    "PatientID",
    "StudyInstanceUID",
    *SPLIT_COLUMNS,
    "PatientAge",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "fingerprint",
    "content_md5",
)

FINDING = pa.struct(
    [
        pa.field("code", pa.string(), nullable=False),
        pa.field("policy", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("numbers", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("sop_instance_uids", pa.list_(pa.string()), nullable=False),
    ]
)
"""What was found: a code of `quality.SAMPLE_CODES`, and what the declaration does about it."""

SAMPLES = pa.schema(
    [
        pa.field("SeriesInstanceUID", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("findings", pa.list_(FINDING), nullable=False),
        pa.field("patient", pa.string()),
        pa.field("part", pa.string()),
        pa.field("fold", pa.int64()),
        *(pa.field(name, pa.string()) for name in _COHORT_TEXTS),
        pa.field("ImageCount", pa.int64()),
        pa.field("FrameOfReferenceUID", pa.string()),
        pa.field("target_series_instance_uids", pa.list_(pa.string()), nullable=False),
        pa.field("image", pa.string()),
        pa.field("image_bytes", pa.int64()),
        pa.field("image_sha256", pa.string()),
        pa.field("label", pa.string()),
        pa.field("label_bytes", pa.int64()),
        pa.field("label_sha256", pa.string()),
        pa.field("shape", pa.list_(pa.int64())),
        pa.field("spacing", pa.list_(pa.float64())),
        pa.field("affine", pa.list_(pa.float64())),
        pa.field("axes", pa.string()),
        pa.field("dtype", pa.string()),
        pa.field("units", pa.string()),
        pa.field("least", pa.float64()),
        pa.field("greatest", pa.float64()),
        pa.field("pixel_sha256", pa.string()),
        pa.field("label_voxels", pa.map_(pa.string(), pa.int64())),
    ]
)
"""Sorted by SeriesInstanceUID, which is the sample's name.

`reasons` are the codes for which it was dropped. `patient` and `part` are null only for a Series
that was asked for by its UID and that nobody knows: it is dropped. `image` and `label` are paths
from the dataset's root (`images/<SeriesInstanceUID>.nii.gz`, `labels/...`), with the size and
SHA-256 of the files;
`shape` and `spacing` (mm) along x, y, z; `affine` are its 16 numbers, row by row, to RAS+ mm;
`axes` as `volume.axis_codes`; `least` and `greatest` voxel; `pixel_sha256` is over shape, dtype and
voxels as they were read, before window and grid, so that equal images are found under other UIDs;
`label_voxels` are counted by label, as written. All from `image` on are null where no volume could
be made; the six about files also where the sample was dropped: the dataset does not have these.
"""
