"""A dataset's samples in the forms that others read.

What belongs here: from `samples.parquet`, `images/` and `labels/` to each form of
`declaration.FORMATS`, below the same folder. What does not: which samples there are, and the card.

Only samples that are kept are written. The same samples give the same bytes: there are no times,
no owners and no order but that of the samples in any of it. Where a form wants a file under another
name, it is a hard link; a copy where the disk has none.

    common       what the forms share: rows, roles of parts, links, JSON
    nnunet       nnU-Net v2 raw
    monai        a datalist of MONAI
    webdataset   shards as tar files
    huggingface  Parquet with the files in it
    croissant    Croissant, as JSON-LD
    retriever    lists of Series for TCIA's Data Retriever
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
    monai,
    nnunet,
    retriever,
    webdataset,
)
from tcia_assets.datasets.formats.common import KeptSamples
from tcia_assets.errors import StorageError, UnknownName

_Writer = Callable[[Path, KeptSamples, DatasetInfo], None]

_WRITERS: dict[str, _Writer | None] = {
    "nifti": None,  # images, labels and samples.parquet are it
    "nnunet": nnunet.write,
    "monai": monai.write,
    "webdataset": webdataset.write,
    "huggingface": huggingface.write,
    "croissant": croissant.write,
    "retriever": retriever.write,
}


def write(name: str, root: Path, samples: pa.Table, info: DatasetInfo) -> None:
    """The samples of the dataset in a folder, in one form: what was there of it goes first.

    Args:
        name: a form of `declaration.FORMATS`. Croissant is the file `croissant.json` of the folder;
            any other is the folder of its name in it.
        root: where `samples.parquet` and the files that it names are.
        samples: as `samples.SAMPLES` says.
        info: what is true of all of them.

    Raises:
        UnknownName: that is no form.
        UsageError: the form cannot hold these samples; says why, and which.
        StorageError: the disk refuses, or a file that a sample names is not there.
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
        place = error.filename or root / name
        raise StorageError(f"{name}: {place}: {error.strerror or error}") from error
