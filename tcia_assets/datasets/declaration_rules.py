"""What one section of a declaration asks of another.

Each rule raises the problem with the key that breaks it, as the fields of sections do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcia_assets.datasets.crop_settings import LABEL
from tcia_assets.datasets.declaration_types import problem
from tcia_assets.datasets.frame_settings import NIFTI
from tcia_assets.datasets.quality import KEEP, WITHOUT_TARGET
from tcia_assets.datasets.split_settings import CLASS
from tcia_assets.datasets.volume.label_readers import EACH
from tcia_assets.datasets.volume.volume_choice import ALL
from tcia_assets.errors import UnknownName

if TYPE_CHECKING:
    from tcia_assets.datasets.declaration import Declaration


def check_rules(declaration: Declaration) -> None:
    """Raise the problem of the first rule that a declaration breaks."""
    for check in (_check_formats, _check_channels, _check_crop, _check_frames, _check_stratify):
        check(declaration)


def _check_formats(declaration: Declaration) -> None:
    if "nnunet" in declaration.formats:
        if declaration.target is None:
            raise problem("'nnunet' needs a target: each image needs labels", key="formats")
        if declaration.policy(WITHOUT_TARGET) == KEEP:
            reason = "'nnunet' needs labels for each image; valid with it: 'drop', 'fail'"
            raise problem(reason, key=f"qc.{WITHOUT_TARGET}")
        if declaration.target.readers == EACH:
            reason = "'nnunet' has one label for each voxel; valid with it: all others"
            raise problem(reason, key="target.readers")
    if "huggingface" in declaration.formats:
        _check_split_names(declaration)


def _check_split_names(declaration: Declaration) -> None:
    """Refuse names of splits that are equal where Hugging Face replaces `-` by `_`."""
    first_with: dict[str, str] = {}
    for name in declaration.split.splits:
        other = first_with.setdefault(name.replace("-", "_"), name)
        if other != name:
            is_fraction = name in declaration.split.fractions
            key = f"split.fractions.{name}" if is_fraction else "split.holdout.part"
            reason = f"'huggingface' replaces '-' by '_', which makes {name!r} equal to"
            raise problem(f"{reason} {other!r}: rename one of them", key=key)


def _check_channels(declaration: Declaration) -> None:
    channels, volume = declaration.channels, declaration.volume
    for key, name in {"reference": declaration.reference, "volume.grid": volume.grid}.items():
        if name and not channels:
            raise problem("it names a channel, and there is no section 'channels'", key=key)
        if name and name not in channels:
            raise problem(str(UnknownName("channel", name, channels)), key=key)
    if channels and volume.window is not None:
        example = f"{next(iter(channels))}: {{where: ..., window: ...}}"
        reason = f"channels have units of their own, and windows too: {example}"
        raise problem(reason, key="volume.window")
    if channels and volume.choose and volume.choose.pick == ALL:
        raise problem("a channel is one volume: valid are all others", key="volume.choose")


def _check_crop(declaration: Declaration) -> None:
    crop = declaration.volume.crop
    if crop is not None and crop.to == LABEL and declaration.target is None:
        raise problem("there are no labels: it needs a target", key="volume.crop")


def _check_frames(declaration: Declaration) -> None:
    if declaration.frames is None:
        if "imagefolder" in declaration.formats:
            reason = "'imagefolder' holds two-dimensional images: it needs a section 'frames'"
            raise problem(reason, key="formats")
        return
    if "imagefolder" in declaration.formats and declaration.frames.file == NIFTI:
        raise problem("'imagefolder' needs 'png'", key="frames.file")
    is_there = {
        "target": declaration.target is not None,
        "channels": bool(declaration.channels),
        "volume": "volume" in declaration.model_fields_set,
    }
    for key, value in is_there.items():
        if value:
            reason = "it cannot stand beside 'frames': of two-dimensional images no volume is"
            raise problem(f"{reason} made, and no mask is read", key=key)


def _check_stratify(declaration: Declaration) -> None:
    if CLASS in declaration.split.stratify and declaration.classes is None:
        raise problem(f"{CLASS!r} needs a section 'classes'", key="split.stratify")
