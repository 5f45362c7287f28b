"""A dataset as arrays: what a training loop asks for.

What belongs here: `load_dataset`, over the files of a version alone. What does not: torch, and all
that makes a dataset. Neither the warehouse nor the archive is asked anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.datasets.samples import KEPT, SAMPLES
from tcia_assets.datasets.volume.arrays import Matrix, Voxels
from tcia_assets.errors import MissingExtra, StorageError, UnknownName, UsageError

_INDEX, _LATEST = "samples.parquet", "latest"


@dataclass(frozen=True, eq=False)
class Sample:
    """A volume with its labels.

    `voxels` and `labels` (0 where there is none; None for a sample without a target) are indexed
    [z, y, x]; `affine` takes (x, y, z, 1) to millimetres in RAS+; `spacing` is in millimetres along
    x, y, z; `row` is the sample's row of `samples.parquet`.
    """

    voxels: Voxels
    labels: Voxels | None
    affine: Matrix
    spacing: tuple[float, float, float]
    row: Mapping[str, Any]

    @property
    def series_instance_uid(self) -> str:
        return str(self.row["SeriesInstanceUID"])


class Samples(Sequence[Sample]):
    """The samples of a dataset, or of a part of it, in the order of their UIDs.

    Each is read from disk when it is asked for, and not kept. It can be sent to other processes.
    `labels` are the names of labels by their number, without the background.
    """

    def __init__(self, root: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self.root = root
        self.rows = tuple(rows)

    @property
    def labels(self) -> Mapping[int, str]:
        # Each row counts all labels, in the order of their numbers.
        for row in self.rows:
            if row["label_voxels"] is not None:
                return dict(enumerate(row["label_voxels"], start=1))
        return {}

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Samples: ...

    def __getitem__(self, index: int | slice) -> Sample | Samples:
        """A sample, read from disk; or some of them, not read yet.

        Raises:
            IndexError: there is none.
            StorageError: a file is missing or cannot be read.
        """
        if isinstance(index, slice):
            return Samples(self.root, self.rows[index])
        row = self.rows[index]
        x, y, z = row["spacing"]
        return Sample(
            voxels=read_voxels(self.root / row["image"]),
            labels=read_voxels(self.root / row["label"]) if row["label"] else None,
            affine=np.array(row["affine"]).reshape(4, 4),
            spacing=(x, y, z),
            row=row,
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} samples of {self.root}>"


def load_dataset(
    path: Path | str, split: str | None = None, *, fold: int | None = None, held_out: bool = False
) -> Samples:
    """The samples that are kept of a dataset.

    Args:
        path: the folder of a version, or that of the dataset, whose latest version is meant.
        split: a part, such as `train`; None for all.
        fold: of the part that has folds: the samples of all its other folds, to train with.
        held_out: instead, those of the fold itself, to validate on.

    Raises:
        UsageError: there is no dataset, or no such part or fold; names those that there are.
        MissingExtra: nibabel is not installed.
    """
    _demand_nibabel()
    root = _root(Path(path))
    rows = [_row(row) for row in _table(root).to_pylist()]
    parts = sorted({row["part"] for row in rows if row["part"]})
    if split is not None:
        if split not in parts:
            raise UnknownName(f"part of {root}", split, parts)
        rows = [row for row in rows if row["part"] == split]
    if fold is not None:
        rows = _folded(root, rows, fold, held_out=held_out)
    elif held_out:
        raise UsageError("held_out needs a fold: it is the one that is held out")
    return Samples(root, [row for row in rows if row["state"] == KEPT])


def read_voxels(path: Path) -> Voxels:
    """The voxels of a NIfTI file, [z, y, x], in its dtype.

    Raises:
        StorageError: the file is missing or cannot be read.
        MissingExtra: nibabel is not installed.
    """
    _demand_nibabel()
    import nibabel  # noqa: PLC0415 - an optional extra
    from nibabel.filebasedimages import ImageFileError  # noqa: PLC0415

    try:
        image = nibabel.nifti1.Nifti1Image.from_filename(path)
        return np.asanyarray(image.dataobj).T
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error


def _demand_nibabel() -> None:
    try:
        import nibabel  # noqa: F401, PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("nibabel", "datasets", "reading volumes of a dataset") from None


def _root(path: Path) -> Path:
    for root in (path, path / _LATEST):
        if (root / _INDEX).is_file():
            return root
    raise UsageError(f"no dataset lies in {path}: neither {_INDEX} nor {_LATEST}/{_INDEX} is there")


def _table(root: Path) -> pa.Table:
    try:
        return pq.read_table(root / _INDEX, schema=SAMPLES)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{root / _INDEX} cannot be read: {error}") from error


def _row(row: dict[str, Any]) -> dict[str, Any]:
    counts = row["label_voxels"]
    return row | {"label_voxels": None if counts is None else dict(counts)}


def _folded(
    root: Path, rows: list[dict[str, Any]], fold: int, *, held_out: bool
) -> list[dict[str, Any]]:
    there = sorted({row["fold"] for row in rows if row["fold"] is not None})
    if fold not in there:
        told = f"valid: {', '.join(map(str, there))}" if there else "there are none in this part"
        raise UsageError(f"no fold of {root} is {fold}; {told}")
    folded = [row for row in rows if row["fold"] is not None]
    return [row for row in folded if (row["fold"] == fold) == held_out]
