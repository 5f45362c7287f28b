"""A built dataset as numpy arrays, for a training loop.

`load_dataset` reads the files of a version and nothing else: no warehouse and no source. It does
not need torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import nibabel
import numpy as np
import pyarrow as pa
from nibabel.filebasedimages import ImageFileError

from tcia_assets.datasets.sample_store import PNG
from tcia_assets.datasets.samples import (
    CHANNELS,
    KEPT,
    image_files,
    read_samples,
    sample_name,
)
from tcia_assets.datasets.versions import INDEX, LATEST
from tcia_assets.datasets.volume.arrays import Matrix, Voxels
from tcia_assets.errors import StorageError, UnknownName, UsageError


@dataclass(frozen=True, eq=False)
class Sample:
    """A volume with its labels, or a two-dimensional image.

    Attributes:
        voxels: Indexed [z, y, x]; those of PNG files [y, x] or [y, x, colour].
        labels: On the same grid, 0 for no label; None if the sample has no labels. With
            `readers: each` they are indexed [reader, z, y, x].
        affine: 4 by 4, from (x, y, z, 1) to millimetres in RAS+; in 1 mm where no spacing is known.
        spacing: In mm along x, y, z; NaN where it is not known.
        row: The sample's row of `samples.parquet`.
        channels: The voxels of all channels by name, in the order of their numbers; `voxels` are
            those of the reference. Empty for a dataset without channels.
    """

    voxels: Voxels
    labels: Voxels | None
    affine: Matrix
    spacing: tuple[float, float, float]
    row: Mapping[str, Any]
    channels: Mapping[str, Voxels] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the sample: the UID, with a number where the Series has several volumes."""
        return sample_name(self.row)

    @property
    def class_name(self) -> str | None:
        """The class of the sample; None if it has none."""
        name: str | None = self.row["class_name"]
        return name

    @property
    def class_index(self) -> int | None:
        """The number of the class, from 0; None if the sample has none."""
        number: int | None = self.row["class_index"]
        return number

    @property
    def series_instance_uid(self) -> str:
        """The UID of the image Series."""
        return str(self.row["SeriesInstanceUID"])


class Samples(Sequence[Sample]):
    """The kept samples of a dataset or of a split, in the order of their UIDs.

    A sample is read from disk at each access and is not cached. The sequence can be pickled for
    other processes.
    """

    def __init__(self, root: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self.root = root
        self.rows = tuple(rows)

    @property
    def labels(self) -> Mapping[int, str]:
        """The names of labels by number, from 1; empty without a target."""
        # Each row with labels counts all of them, in the order of their numbers.
        for row in self.rows:
            if row["label_voxels"] is not None:
                return dict(enumerate(row["label_voxels"], start=1))
        return {}

    @property
    def classes(self) -> Mapping[int, str]:
        """The names of the classes that occur, by number, from 0; empty without classes."""
        found = {(row["class_index"], row["class_name"]) for row in self.rows}
        return dict(sorted(each for each in found if each[0] is not None))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Samples: ...

    def __getitem__(self, index: int | slice) -> Sample | Samples:
        """Return a sample, read from disk; or, for a slice, the samples, not read yet.

        Raises:
            IndexError: The index is out of range.
            StorageError: A file is missing or cannot be read.
        """
        if isinstance(index, slice):
            return Samples(self.root, self.rows[index])
        row = self.rows[index]
        images = {
            name: read_voxels(self.root / image["image"])
            for name, image in image_files(row).items()
        }
        channels = row.get(CHANNELS) or ()
        reference = next((each["name"] for each in channels if each["is_reference"]), "")
        x, y, z = row["spacing"] or (math.nan,) * 3
        return Sample(
            voxels=images[reference],
            labels=read_voxels(self.root / row["label"]) if row["label"] else None,
            affine=np.array(row["affine"] or np.diag([-1, -1, 1, 1])).reshape(4, 4),
            spacing=(x, y, z),
            row=row,
            channels=images if reference else {},
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} samples of {self.root}>"


def load_dataset(
    path: Path | str, split: str | None = None, *, fold: int | None = None, held_out: bool = False
) -> Samples:
    """Load the kept samples of a dataset; voxels are read later, at access.

    Args:
        path: The folder of a version, or of a dataset, whose latest version is then loaded.
        split: Such as `train`; None for all splits.
        fold: Of the split that has folds: load all other folds, for training.
        held_out: Load the fold itself instead, for validation.

    Returns:
        A sequence of `Sample`.

    Raises:
        UsageError: There is no dataset in the folder, or no such split or fold; names the valid
            ones.
        StorageError: The table of samples cannot be read.
    """
    root = _root(Path(path))
    rows = [_row(row) for row in _table(root).to_pylist()]
    if split is not None:
        splits = sorted({row["part"] for row in rows if row["part"]})
        if split not in splits:
            raise UnknownName("split", split, splits)
        rows = [row for row in rows if row["part"] == split]
    if fold is not None:
        rows = _of_fold(root, rows, fold, held_out=held_out)
    elif held_out:
        raise UsageError("held_out needs a fold, which is the one to load")
    return Samples(root, [row for row in rows if row["state"] == KEPT])


def read_voxels(path: Path) -> Voxels:
    """Read the voxels of a file in its dtype.

    Those of NIfTI are indexed [z, y, x] or [reader, z, y, x]; the pixels of PNG [y, x] or
    [y, x, colour].

    Raises:
        StorageError: The file is missing or cannot be read.
    """
    if path.suffix == PNG:
        from tcia_assets.datasets.frame.png import read_png  # noqa: PLC0415 - needs Pillow

        return read_png(path)
    try:
        image = nibabel.Nifti1Image.from_filename(path)
        return np.asanyarray(image.dataobj).T
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error


def _root(path: Path) -> Path:
    for root in (path, path / LATEST):
        if (root / INDEX).is_file():
            return root
    problem = f"it has neither {INDEX} nor {LATEST}/{INDEX}"
    raise UsageError(f"{path} is not the folder of a dataset: {problem}")


def _table(root: Path) -> pa.Table:
    try:
        return read_samples(root / INDEX)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{root / INDEX} cannot be read: {error}") from error


def _row(row: dict[str, Any]) -> dict[str, Any]:
    counts = row["label_voxels"]
    return row | {"label_voxels": None if counts is None else dict(counts)}


def _of_fold(
    root: Path, rows: list[dict[str, Any]], fold: int, *, held_out: bool
) -> list[dict[str, Any]]:
    with_fold = [row for row in rows if row["fold"] is not None]
    folds = sorted({row["fold"] for row in with_fold})
    if fold not in folds:
        valid = f"valid: {', '.join(map(str, folds))}" if folds else "this split has no folds"
        raise UsageError(f"{root} has no fold {fold}; {valid}")
    return [row for row in with_fold if (row["fold"] == fold) == held_out]
