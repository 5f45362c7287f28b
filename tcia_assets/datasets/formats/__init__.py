"""The samples of a dataset in the formats of other tools.

Each format of `declaration.FORMATS` is written from `samples.parquet`, `images/` and `labels/`,
into the same folder.

Only kept samples are written (Croissant alone describes all rows of the table). The same samples
give the same bytes: no file holds a time or an owner. Where a format needs a file under another
name, that is a hard link, or a copy on a disk without hard links.

    common       what the formats share: rows, roles of splits, batches, JSON
    nnunet       nnU-Net v2 raw
    monai        a MONAI datalist
    webdataset   shards as tar files
    huggingface  Parquet with the files in it
    croissant    Croissant, as JSON-LD
    imagefolder  folders of PNG files by split and class
    retriever    series lists for TCIA's Data Retriever
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.declaration import FORMATS
from tcia_assets.datasets.formats import (
    croissant,
    huggingface,
    imagefolder,
    monai,
    nnunet,
    retriever,
    webdataset,
)
from tcia_assets.datasets.formats.common import KeptSamples
from tcia_assets.errors import StorageError, UnknownName

_Writer = Callable[[Path, KeptSamples, DatasetInfo], None]

_WRITERS: dict[str, _Writer | None] = {
    "nifti": None,  # always there: images, labels and samples.parquet
    "nnunet": nnunet.write,
    "monai": monai.write,
    "webdataset": webdataset.write,
    "huggingface": huggingface.write,
    "croissant": croissant.write,
    "imagefolder": imagefolder.write,
    "retriever": retriever.write,
}


def write(name: str, root: Path, samples: pa.Table, info: DatasetInfo) -> None:
    """Write the samples of a dataset in one format, and remove what was there of it.

    Args:
        name: A format of `declaration.FORMATS`. Croissant is the file `croissant.json` in the
            folder; each other format is the folder of its name.
        root: The folder with `samples.parquet` and the files that it names.
        samples: As `samples.SAMPLES`.
        info: Of the dataset.

    Raises:
        UnknownName: There is no such format.
        UsageError: The format cannot hold these samples; names them and the reason.
        StorageError: A file cannot be written, or a file that a sample names is missing.
    """
    if name not in _WRITERS:
        raise UnknownName("format", name, FORMATS)
    writer = _WRITERS[name]
    if writer is None:
        return
    try:
        if (root / name).exists():
            shutil.rmtree(root / name)
        writer(root, KeptSamples.of(samples), info)
    except OSError as error:
        path = error.filename or root / name
        raise StorageError(f"{name}: {path}: {error.strerror or error}") from error
