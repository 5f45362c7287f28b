"""`datasets/<name>.yaml` as a frozen pydantic model, checked before anything runs.

YAML is read in `yaml_lines.py`; the sections are in `declaration_sections.py` and the modules that
it imports; what one section asks of another is in `declaration_rules.py`.

Each problem is a BadDeclaration with file, line and key. A problem that only the warehouse shows,
such as a misspelt column in `where`, is reported in the same way: see `Declaration.error_at`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tcia_assets.datasets.channel_settings import Channels
from tcia_assets.datasets.class_settings import ClassSettings
from tcia_assets.datasets.declaration_rules import check_rules
from tcia_assets.datasets.declaration_sections import (
    CohortQuery,
    LicenseKeys,
    TargetSettings,
)
from tcia_assets.datasets.declaration_types import (
    GROUP,
    UNIQUE,
    Section,
    Text,
    check_group,
    choice,
    problem,
    some,
    text,
)
from tcia_assets.datasets.frame_settings import FrameSettings
from tcia_assets.datasets.quality import (
    CHANNEL_CODES,
    CODES_OF_FRAMES,
    CUT_CODES,
    DEFAULT_POLICIES,
    KEEP,
    POLICIES,
    SAMPLE_CODES,
    UNIT_CODES,
    has_nothing_to_keep,
)
from tcia_assets.datasets.split_settings import SplitSettings
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.datasets.yaml_lines import YamlDocument, parse_yaml, read_yaml
from tcia_assets.errors import BadDeclaration, UnknownName
from tcia_assets.metadata.licenses import Licenses

FORMATS = {
    "nifti": "NIfTI files, with an index in Parquet; always there, with `frames` as PNG files",
    "nnunet": "nnU-Net v2 raw: dataset.json, imagesTr, labelsTr",
    "monai": "a MONAI datalist, with folds",
    "webdataset": "WebDataset shards, as tar files",
    "huggingface": "Parquet files for Hugging Face datasets",
    "croissant": "Croissant metadata, as JSON-LD",
    "imagefolder": "folders of PNG files by split and class, with metadata.csv (`frames` only)",
    "retriever": "series lists for TCIA's Data Retriever: CSV and .tcia",
}

_CLASS_KINDS = ("class", "classes", "classification")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def _read_target(value: Any) -> Any:
    if value in (None, "none"):
        return None
    if isinstance(value, dict) and value.get("kind") in _CLASS_KINDS:
        raise problem("classes are no masks: write them as 'classes: {column: ...}'", key="kind")
    if value == "false":
        raise problem("without masks, write 'target: none'")
    return check_group(value)


def _check_codes(value: Any) -> Any:
    for code in check_group(value):
        if code not in SAMPLE_CODES:
            raise problem(str(UnknownName("code", code, SAMPLE_CODES)), key=code)
    return value


class Declaration(Section):
    """A dataset as its file declares it.

    Attributes:
        title: The title of the dataset.
        cohort: Which image Series; with channels, those of all channels.
        channels: Several images a case, such as T1 and T2, or PT with its CT. Their order gives
            their numbers.
        reference: The channel whose Series are the cases and whose masks are the labels; by default
            the one on which masks are drawn, or without a target the first.
        split: How Patients are divided into splits.
        target: The labels; `none` for images alone.
        classes: What to classify, instead of labels or beside them.
        volume: How volumes are chosen and written.
        frames: How two-dimensional images are written, instead of volumes: MG, DX, CR, US. `{}` for
            all defaults.
        license_keys: The licences to refuse, or the only ones to accept.
        formats: The formats in which the dataset is written.
        qc: For codes of findings, what becomes of a sample with that finding.
    """

    hints = (
        dict.fromkeys(("salt", "fractions", "folds", "stratify"), "it belongs below 'split'")
        | dict.fromkeys(
            ("spacing", "window", "orientation", "dtype", "crop", "size", "choose", "units"),
            "it belongs below 'volume'",
        )
        | dict.fromkeys(("kind", "labels", "priority", "readers"), "it belongs below 'target'")
        | dict.fromkeys(
            ("seed", "random_seed", "random_state"),
            "no random numbers are used: 'salt' below 'split' gives another split",
        )
        | {"name": "a dataset has the name of its file"}
    )

    title: Text
    cohort: CohortQuery
    channels: Channels = Field(default_factory=dict)
    reference: Annotated[str, text("the name of a channel")] = ""
    split: SplitSettings
    target: Annotated[TargetSettings | None, BeforeValidator(_read_target)] = None
    classes: Annotated[ClassSettings | None, GROUP] = None
    volume: VolumeSettings = VolumeSettings()
    frames: Annotated[FrameSettings | None, GROUP] = None
    license_keys: Annotated[LicenseKeys | None, GROUP] = Field(None, alias="licenses")
    formats: Annotated[
        tuple[Annotated[str, choice(FORMATS, "format")], ...], some("formats"), UNIQUE
    ] = ("nifti",)
    qc: Annotated[
        dict[str, Annotated[str, choice(POLICIES, "policy")]], BeforeValidator(_check_codes)
    ] = Field(default_factory=dict)
    _name: str = PrivateAttr("")
    _document: YamlDocument = PrivateAttr(YamlDocument("", {}, {}))

    @field_validator("qc")
    @classmethod
    def _check_policies(cls, policies: dict[str, str]) -> dict[str, str]:
        for code, policy in policies.items():
            if policy == KEEP and has_nothing_to_keep(code):
                reason = f"there is nothing to keep: {SAMPLE_CODES[code]}; valid: 'drop', 'fail'"
                raise problem(reason, key=code)
        return policies

    @model_validator(mode="after")
    def _remember_file(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        self._name, self._document = context["name"], context["document"]
        return self

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        """Refuse what no section shows alone now, rather than after hours of work."""
        check_rules(self)
        return self

    def __eq__(self, other: object) -> bool:
        """Return whether name and settings are equal, wherever they were read from."""
        if not isinstance(other, Declaration):
            return NotImplemented
        return (self.name, self.settings) == (other.name, other.settings)

    __hash__ = None  # type: ignore[assignment]

    @property
    def name(self) -> str:
        """The dataset's name, which is that of its file."""
        return self._name

    @property
    def licenses(self) -> Licenses | None:
        """The rule for licences, as part of an image selection."""
        keys = self.license_keys
        return None if keys is None else Licenses(deny=keys.deny, allow=keys.allow)

    def policy(self, code: str) -> str:
        """Return what becomes of a sample with this code: `drop`, `keep` or `fail`."""
        return self.qc.get(code, DEFAULT_POLICIES.get(code, KEEP))

    def error_at(self, key: str, problem: str) -> BadDeclaration:
        """Return the error about a key such as `cohort.where`, with its line in the file."""
        return self._document.error_at(tuple(key.split(".")), problem)

    @property
    def cohort_settings(self) -> dict[str, Any]:
        """The settings on which the cohort depends: its query, which masks, which values."""
        chosen = {"kind", "where", "ways"}
        masks = self.target and self.target.model_dump(mode="json", include=chosen)
        settings: dict[str, Any] = {"cohort": self.cohort.content, "target": masks}
        if self.classes is not None:  # lock files of earlier versions do not have it
            settings["classes"] = self.classes.model_dump(mode="json", exclude={"names"})
        if self.channels:
            wheres = [[name, channel.where] for name, channel in self.channels.items()]
            settings["channels"], settings["reference"] = wheres, self.reference
        return settings

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is built, as JSON can hold it."""
        licenses = self.license_keys
        # A dataset without channels or frames has the settings, and the bytes, of earlier versions.
        without = set() if self.channels else {"channels", "reference"}
        without |= set() if self.frames else {"frames"}
        codes = SAMPLE_CODES.keys() - (set() if self.channels else CHANNEL_CODES)
        codes -= set() if self.volume.is_cut else CUT_CODES
        codes -= set() if self.volume.units else UNIT_CODES
        codes -= set() if self.frames else CODES_OF_FRAMES
        return self.model_dump(mode="json", by_alias=True, exclude=without) | {
            "cohort": self.cohort.content,
            "volume": self.volume.content,
            "licenses": licenses.model_dump(mode="json", exclude_defaults=True) if licenses else {},
            "qc": {code: self.policy(code) for code in sorted(codes)},
        }


def load_declaration(path: Path) -> Declaration:
    """Read a file that declares a dataset, which is named as the file is.

    Raises:
        BadDeclaration: Names the file, the line and the key, and what is valid there.
    """
    return _validate(read_yaml(path), path.stem, path.parent)


def parse_declaration(
    text: str, name: str, *, file: str = "", folder: Path = Path()
) -> Declaration:
    """Read a text that declares a dataset; see `load_declaration`.

    Args:
        text: YAML or JSON.
        name: Of the dataset.
        file: The name that errors show; by default `<name>.yaml`.
        folder: Where relative paths of series lists begin.
    """
    return _validate(parse_yaml(text, file or f"{name}.yaml"), name, folder)


def _validate(document: YamlDocument, name: str, folder: Path) -> Declaration:
    if not _NAME.fullmatch(name):
        rule = "a file is named as its dataset: a letter a-z first, then letters, digits and _"
        raise document.error_at((), f"{rule}, not {name!r}")
    try:
        context = {"name": name, "document": document, "folder": folder}
        return Declaration.model_validate(document.content, context=context)
    except ValidationError as error:
        raise _first_problem(error, document) from None


def _first_problem(error: ValidationError, document: YamlDocument) -> BadDeclaration:
    """Return the problem that stands first in the file."""
    problems = []
    for found in error.errors(include_url=False, include_input=False):
        location = tuple(part for part in found["loc"] if part != "[key]")
        below = found.get("ctx", {}).get("key", "")
        location += tuple(below.split(".")) if below else ()
        problems.append(document.error_at(location, found["msg"]))
    return min(problems, key=lambda problem: problem.line)
