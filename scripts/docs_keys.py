"""The reference of selections and of declarations of datasets, from the classes that read them."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from datetime import time
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import griffe
from pydantic import BaseModel

from tcia_assets.datasets.channel_settings import MISSING, ChannelSettings
from tcia_assets.datasets.class_settings import KEYS, ClassSettings
from tcia_assets.datasets.crop_settings import CROPS, CropSettings
from tcia_assets.datasets.declaration import FORMATS, Declaration
from tcia_assets.datasets.declaration_sections import (
    MASKS,
    CohortQuery,
    LicenseKeys,
    TargetSettings,
)
from tcia_assets.datasets.declaration_types import Section
from tcia_assets.datasets.frame.frame_choice import PICKS as FRAME_PICKS
from tcia_assets.datasets.frame_settings import FILES, FrameSettings
from tcia_assets.datasets.frame_settings import WINDOWS as FRAME_WINDOWS
from tcia_assets.datasets.pairing import WAYS
from tcia_assets.datasets.quality import DEFAULT_POLICIES, POLICIES, SAMPLE_CODES
from tcia_assets.datasets.split_settings import PATIENTS, SPLIT_COLUMNS, Holdout, SplitSettings
from tcia_assets.datasets.volume.intensities import UNITS
from tcia_assets.datasets.volume.label_gaps import BETWEEN
from tcia_assets.datasets.volume.label_readers import READERS
from tcia_assets.datasets.volume.volume_choice import PICKS, VolumeChoice
from tcia_assets.datasets.volume_settings import DTYPES, ORIENTATIONS, WINDOWS, VolumeSettings
from tcia_assets.metadata.licenses import Licenses
from tcia_assets.metadata.quiet_hours import QuietHours
from tcia_assets.metadata.selection import Selection

# Keys that have another name in the class.
NAMES = {"begin": "from", "end": "to", "license_keys": "licenses"}
# Defaults that the class holds as None.
DEFAULTS = dict.fromkeys(("spacing", "orientation", "dtype"), "`native`")
KINDS = {
    str: "text",
    int: "whole number",
    float: "number",
    time: "text, such as `08:00`",
    VolumeChoice: "text, or keys",
    CropSettings: "text, or keys",
}

SECTIONS: dict[str, type[Section]] = {
    "": Declaration,
    "cohort.": CohortQuery,
    "channels.<name>.": ChannelSettings,
    "split.": SplitSettings,
    "volume.": VolumeSettings,
    "volume.crop.": CropSettings,
    "frames.": FrameSettings,
}


def selection_keys() -> str:
    """Return the keys of a selection as Markdown tables."""
    return "\n".join(
        [
            *key_table(Selection),
            "### `licenses`\n",
            *key_table(Licenses),
            "### `quiet_hours`\n",
            *key_table(QuietHours),
        ]
    )


def declaration_keys() -> str:
    """Return the keys of a dataset's declaration as Markdown tables, section by section."""
    sections: dict[str, list[str]] = {
        "Top level": key_table(Declaration),
        "`cohort`": key_table(CohortQuery, texts=described(Selection)),
        "`channels.<name>`": key_table(ChannelSettings),
        "`split`": key_table(SplitSettings),
        "`split.holdout`": key_table(Holdout),
        "`target`": key_table(TargetSettings),
        "`classes`": key_table(ClassSettings),
        "`volume`": key_table(VolumeSettings),
        "`volume.crop`": key_table(CropSettings),
        "`frames`": key_table(FrameSettings),
        "`licenses`": key_table(LicenseKeys),
    }
    choices: dict[str, Mapping[str, str] | tuple[str, ...]] = {
        "`formats`": FORMATS,
        "`channels.<name>.missing`": MISSING,
        "`split.patients`": PATIENTS,
        "`split.stratify`, `split.holdout.column`": SPLIT_COLUMNS,
        "`classes.key`": KEYS,
        "`target.kind`": MASKS,
        "`target.ways`": WAYS,
        "`target.between`": BETWEEN,
        "`target.readers`": READERS,
        "`volume.choose`, and its key `pick`": PICKS,
        "`volume.crop.to`": CROPS,
        "`volume.units.<Modality>`": {name: ", ".join(valid) for name, valid in UNITS.items()},
        "`volume.dtype`": DTYPES,
        "`volume.window`": {
            name: f"{low:g} to {high:g} HU" for name, (low, high) in WINDOWS.items()
        },
        "`volume.orientation`": ORIENTATIONS,
        "`frames.file`": FILES,
        "`frames.window`": FRAME_WINDOWS
        | {"[low, high]": "a lower and an upper end, in real values"},
        "`frames.choose`": FRAME_PICKS,
        "`qc`": POLICIES,
    }
    lines = [line for name, table in sections.items() for line in (f"### {name}\n", *table)]
    lines.append("## Values\n\nWhat keys with a fixed set of values may have.\n")
    for name, valid in choices.items():
        lines.append(f"**{name}**\n")
        lines += values_table(valid)
    return "\n".join(lines)


def guesses() -> str:
    """Return the keys that people guess, with what to write, as a Markdown table."""
    lines = ["| not a key | what to write |", "|---|---|"]
    for above, section in SECTIONS.items():
        by_hint: dict[str, list[str]] = {}
        for key, hint in section.hints.items():
            by_hint.setdefault(hint, []).append(f"`{above}{key}`")
        lines += [f"| {', '.join(keys)} | {hint} |" for hint, keys in by_hint.items()]
    return "\n".join(lines) + "\n"


def finding_list() -> str:
    """Return the codes of findings, with their default policies, as a Markdown table."""
    lines = ["| code | by default | meaning |", "|---|---|---|"]
    for code, meaning in SAMPLE_CODES.items():
        lines.append(f"| `{code}` | {DEFAULT_POLICIES[code]} | {meaning} |")
    return "\n".join(lines) + "\n"


def key_table(kind: type, texts: Mapping[str, str] | None = None) -> list[str]:
    """Return the keys of a class as the lines of a table.

    Args:
        kind: A dataclass or a pydantic model, whose docstring describes each field.
        texts: Descriptions of fields that the docstring does not describe.
    """
    about = {**(texts or {}), **described(kind)}
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, (annotation, declared) in fields(kind).items():
        default = DEFAULTS.get(name, declared)
        key = NAMES.get(name, name)
        lines.append(f"| `{key}` | {value_text(annotation)} | {default} | {about[name]} |")
    return [*lines, ""]


def values_table(valid: Mapping[str, str] | tuple[str, ...]) -> list[str]:
    """Return the valid values of a key as lines, with what they mean if that is declared."""
    if not isinstance(valid, Mapping):
        return [", ".join(f"`{value}`" for value in valid) + "\n"]
    rows = [f"| `{value}` | {meaning} |" for value, meaning in valid.items()]
    return ["| value | meaning |", "|---|---|", *rows, ""]


def described(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says about its fields."""
    sections = griffe.Docstring(kind.__doc__ or "").parse("google", warnings=False)
    kinds = (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes)
    items = [item for section in sections if section.kind in kinds for item in section.value]
    return {item.name: " ".join(item.description.split()).replace("|", "\\|") for item in items}


def fields(kind: type) -> dict[str, tuple[Any, str]]:
    """Return the annotation and the default, as a text, of each field."""
    if issubclass(kind, BaseModel):
        return {
            name: (field.annotation, "required" if field.is_required() else shown(field.default))
            for name, field in kind.model_fields.items()
        }
    annotations = get_type_hints(kind)
    return {
        field.name: (annotations[field.name], shown(field.default))
        for field in dataclasses.fields(kind)
    }


def shown(default: Any) -> str:
    """Return a default value as the table shows it."""
    if default is dataclasses.MISSING:
        return "required"
    if isinstance(default, BaseModel):
        return "as below"
    if default in (None, "", ()) or not isinstance(default, str | int | tuple):
        return ""
    if isinstance(default, tuple):
        return ", ".join(f"`{value}`" for value in default)
    if isinstance(default, int):
        return f"{default:,}" if default else ""
    return f"`{default}`"


def list_text(items: tuple[Any, ...]) -> str:
    """Return what a list is, in words; `items` are the arguments of a tuple's type."""
    if Ellipsis in items:
        return "list"
    return f"list of {len(items)} {value_text(items[0])}s"


def value_text(annotation: Any) -> str:
    """Return what a value is, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return value_text(arguments[0])
    if origin in (Union, types.UnionType):
        kinds = [value_text(each) for each in arguments if each is not type(None)]
        return ", or ".join(dict.fromkeys(kinds))
    if origin is tuple:
        return list_text(arguments)
    if origin is dict:
        return "keys and values"
    return KINDS.get(annotation, "keys")
