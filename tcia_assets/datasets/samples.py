"""The table of samples: one row for each image Series of the cohort, kept or dropped.

This module has the schema, and what several readers of the table need. Rows are made in
`sample_table.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tcia_assets.datasets.split_settings import SPLIT_COLUMNS

KEPT, DROPPED = "kept", "dropped"

_COHORT_COLUMNS = (
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
"""A finding: a code of `quality.SAMPLE_CODES`, and the policy that the declaration has for it."""

SAMPLES = pa.schema(
    [
        pa.field("SeriesInstanceUID", pa.string(), nullable=False),
        pa.field("sample", pa.string()),
        pa.field("volume", pa.string()),
        pa.field("state", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("findings", pa.list_(FINDING), nullable=False),
        pa.field("patient", pa.string()),
        pa.field("part", pa.string()),
        pa.field("fold", pa.int64()),
        *(pa.field(name, pa.string()) for name in _COHORT_COLUMNS),
        pa.field("ImageCount", pa.int64()),
        pa.field("FrameOfReferenceUID", pa.string()),
        pa.field("target_series_instance_uids", pa.list_(pa.string()), nullable=False),
        pa.field("class_value", pa.string()),
        pa.field("class_name", pa.string()),
        pa.field("class_index", pa.int64()),
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
        pa.field("decoder", pa.string()),
        pa.field("least", pa.float64()),
        pa.field("greatest", pa.float64()),
        pa.field("pixel_sha256", pa.string()),
        pa.field("label_voxels", pa.map_(pa.string(), pa.int64())),
        pa.field("label_readers", pa.list_(pa.list_(pa.string()))),
    ]
)
"""Sorted by SeriesInstanceUID and `sample`, which identifies the sample: see `sample_name`.

`volume` is what distinguishes it from other volumes of its Series, null for the only one.
`reasons` are the codes for which a sample was dropped. `part` is the split; it and `patient` are
null only for a dropped Series that the warehouse does not have. `class_value` is what
`class_name` is made of, `class_index` its number, from 0; null without a class. `image` and `label`
are paths below the version's folder (`images/<sample>.nii.gz`, `labels/...`), with the size and
SHA-256 of the files. `shape` and `spacing` (mm) are along x, y, z; `affine` are 16 numbers, row by
row, to RAS+ mm; `decoder` is the library that decompressed the pixels, null without compression;
`axes` is as `regrid.axis_codes` returns it; `least` and `greatest` are voxel values.
`pixel_sha256` is over shape, dtype and voxels as they were read, before window and grid, so that
equal images are found under different UIDs. `label_voxels` counts the written voxels of each label.
With `readers: each`, `label_readers` has the SOPInstanceUIDs of each reader's objects, in the order
of the fourth axis of the labels; otherwise it is null.
All columns from `image` on are null where no volume could be made; the six about files are null for
every dropped sample, because the dataset does not have its files.
"""


CHANNELS = "channels"
# Columns of an image, which each channel of a case has too.
_OF_IMAGE = (
    *("Modality", "volume", "image", "image_bytes", "image_sha256", "dtype", "units", "decoder"),
    *("least", "greatest", "pixel_sha256"),
)
CHANNEL = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("is_reference", pa.bool_(), nullable=False),
        pa.field("SeriesInstanceUID", pa.string()),
        *map(SAMPLES.field, _OF_IMAGE),
    ]
)
"""An image of a case; the columns are those of `SAMPLES`. One of zeros has no SeriesInstanceUID."""
SAMPLES_WITH_CHANNELS = SAMPLES.append(pa.field(CHANNELS, pa.list_(CHANNEL)))
"""`SAMPLES` of a dataset with channels.

`channels` has the images of a case in the order of their numbers, with the reference among them,
whose columns are those of the sample itself; null where no volume could be made.
"""


_FRAME_FIELDS = (
    pa.field("SOPInstanceUID", pa.string()),
    pa.field("frame", pa.int64()),
    pa.field("ViewPosition", pa.string()),
    pa.field("ImageLaterality", pa.string()),
    pa.field("PatientOrientation", pa.string()),
    pa.field("shown_by", pa.string()),
)
SAMPLES_OF_FRAMES = pa.schema([*SAMPLES, *_FRAME_FIELDS])
"""`SAMPLES` of a dataset of two-dimensional images.

`SOPInstanceUID` is the object of the sample, `frame` the number of the frame in it, from 1, null
for the only one. `ViewPosition` is that of the header, or the code of its view; `ImageLaterality`
falls back on Laterality. `shown_by` is how grey levels were made of real values; null in NIfTI.
The third of `shape` and of `spacing` is 1. `spacing` and `affine` are null where the header has no
spacing; the affine has no place in the patient.
"""


def read_samples(path: Path) -> pa.Table:
    """Read a table of samples, with the schema that its columns show.

    Raises:
        OSError, pa.ArrowException: The file cannot be read.
    """
    return pq.read_table(path, schema=_schema_for(pq.read_schema(path).names))


def _schema_for(names: Collection[str]) -> pa.Schema:
    if _FRAME_FIELDS[0].name in names:
        return SAMPLES_OF_FRAMES
    return SAMPLES_WITH_CHANNELS if CHANNELS in names else SAMPLES


def image_files(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the images of a sample by the name of their channel, in the order of their numbers.

    Each has `image`, `image_bytes`, `image_sha256` and its other columns; the only one of a sample
    without channels has the name "".
    """
    channels = row.get(CHANNELS)
    return {"": row} if channels is None else {each["name"]: each for each in channels}


def series_of_images(row: Mapping[str, Any]) -> set[str]:
    """Return the UIDs of the Series of all images of a sample."""
    found = {image["SeriesInstanceUID"] for image in image_files(row).values()}
    return (found | {row["SeriesInstanceUID"]}) - {None}


def file_bytes(row: Mapping[str, Any]) -> int:
    """Return the bytes of all files of a kept sample."""
    images: int = sum(each["image_bytes"] for each in image_files(row).values())
    return images + (row["label_bytes"] or 0)


def kept_samples(samples: pa.Table) -> pa.Table:
    """Return the samples that are in the dataset."""
    return samples.filter(pc.equal(samples["state"], KEPT))


def series_in_files(samples: pa.Table) -> set[str]:
    """Return the Series of which the files of kept samples are made: images, channels, masks."""
    found: set[str] = set()
    for row in kept_samples(samples).to_pylist():
        found |= series_of_images(row) | {*row["target_series_instance_uids"]}
    return found


def name_sample(series_instance_uid: str, number: int = 0) -> str:
    """Return the name of a sample: the UID, with the number of its volume where there are several.

    Names sort as UIDs and numbers do.
    """
    return f"{series_instance_uid}-{number:04}" if number else series_instance_uid


def sample_name(row: Mapping[str, Any]) -> str:
    """Return the name of a sample; in earlier versions that was always its UID."""
    return str(row["sample"] or row["SeriesInstanceUID"])


def uid_hash(row: Mapping[str, Any]) -> bytes:
    """Return the hash of a sample's name.

    Sorting by it shuffles samples in the same order everywhere.
    """
    return hashlib.sha256(sample_name(row).encode()).digest()
