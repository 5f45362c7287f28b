"""`datasets/<name>.yaml` as frozen pydantic models, checked before anything runs.

What belongs here: the keys of a declaration, their valid values and defaults. What does not: YAML
(`yaml_lines.py`), the split's keys (`split.py`), and what is done with the values.

Each problem is a BadDeclaration with file, line and key. A problem that only the warehouse shows,
such as a misspelt column in `where`, is reported in the same way: see `Declaration.error_at`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
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

from tcia_assets.datasets.declaration_types import (
    GROUP,
    UNIQUE,
    Names,
    Section,
    Text,
    check_group,
    check_word,
    choice,
    problem,
    read_choice,
    read_numbers,
    shown,
    some,
    text,
    unlike,
    whole_number,
)
from tcia_assets.datasets.pairing import WAYS
from tcia_assets.datasets.quality import (
    DEFAULT_POLICIES,
    KEEP,
    POLICIES,
    SAMPLE_CODES,
    WITHOUT_TARGET,
    has_nothing_to_keep,
)
from tcia_assets.datasets.split import SplitSettings
from tcia_assets.datasets.volume import LabelPatterns
from tcia_assets.datasets.yaml_lines import YamlDocument, parse_yaml, read_yaml
from tcia_assets.errors import BadDeclaration, UnknownName, UsageError
from tcia_assets.metadata.licenses import Licenses
from tcia_assets.metadata.selection import CRITERIA, Selection
from tcia_assets.metadata.selection_parser import selection_from_fields
from tcia_assets.store import sql

NATIVE = "native"
MASKS = ("SEG", "RTSTRUCT")
DTYPES = (NATIVE, "int16", "uint8", "float32")
ORIENTATIONS = (NATIVE, "RAS", "LPS", "RPS", "LAS", "LPI", "RAI", "RPI", "LAI")
FORMATS = {
    "nifti": "NIfTI files, with an index in Parquet",
    "nnunet": "nnU-Net v2 raw: dataset.json, imagesTr, labelsTr",
    "monai": "a MONAI datalist, with folds",
    "webdataset": "WebDataset shards, as tar files",
    "huggingface": "Parquet files for Hugging Face datasets",
    "croissant": "Croissant metadata, as JSON-LD",
    "retriever": "series lists for TCIA's Data Retriever: CSV and .tcia",
}

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


# --- Cohort ---------------------------------------------------------------------------------------


class CohortQuery(Section):
    """Which image Series: a statement of SQL, or the criteria of an image selection."""

    sql: Annotated[str, text("a statement of SQL")] = ""
    collections: Names = ()
    modalities: Names = ()
    body_parts: Names = ()
    where: Text = ""
    manifests: Names = ()
    series: Names = ()
    shared_lists: Names = ()
    max_series_bytes: Text = ""
    _selection: Selection | None = PrivateAttr(None)

    @field_validator("sql")
    @classmethod
    def _check_sql(cls, statement: str) -> str:
        statement = statement.rstrip("; \n")
        if reason := sql.why_no_query(statement):
            raise problem(f"it must be one SELECT: {reason}")
        return statement

    @field_validator(*CRITERIA, "max_series_bytes")
    @classmethod
    def _check_criterion(cls, value: Any, info: ValidationInfo) -> Any:
        # One at a time, so that an error has the line of its key.
        fields = {"where": "true"} | {str(info.field_name): value}
        _select(fields, info)
        return value

    @model_validator(mode="after")
    def _check_together(self, info: ValidationInfo) -> Self:
        fields = self.content
        if self.sql:
            if others := [name for name in fields if name != "sql"]:
                advice = "it cannot stand beside 'sql', which is the whole query"
                raise problem(advice, key=others[0])
            return self
        if not fields.keys() - {"max_series_bytes"}:
            raise problem(f"it needs 'sql', or one of {', '.join(CRITERIA)}")
        self._selection = _select(fields, info)
        return self

    @property
    def content(self) -> dict[str, Any]:
        """The keys that the file has, as JSON can hold them."""
        return self.model_dump(mode="json", exclude_unset=True)

    @property
    def selection(self) -> Selection | None:
        """The criteria; None where the query is SQL."""
        return self._selection

    @property
    def statement(self) -> str:
        """SQL that gives a column SeriesInstanceUID; run it with `tables`."""
        chosen = self.selection
        if chosen is None:
            # The closing bracket is on a line of its own: the statement may end in a comment.
            return f"SELECT DISTINCT SeriesInstanceUID FROM ({self.sql}\n)"
        selected = "SELECT SeriesInstanceUID FROM current_series WHERE " + chosen.predicate
        if chosen.manifests or chosen.series or chosen.shared_lists:
            # A listed Series that the warehouse does not have must stay visible.
            return f"{selected} UNION SELECT SeriesInstanceUID FROM ({chosen.unknown_series})"
        return selected

    @property
    def tables(self) -> Mapping[str, Any]:
        """The tables that `statement` names beside the warehouse's own."""
        return {} if self.selection is None else self.selection.tables


def _select(fields: dict[str, Any], info: ValidationInfo) -> Selection:
    try:
        return selection_from_fields(dict(fields), folder=(info.context or {})["folder"])
    except UsageError as error:
        raise problem(_without_prefix(error)) from None


def _without_prefix(error: UsageError) -> str:
    return str(error).removeprefix("image selection: ")


# --- Target, volume, licences ---------------------------------------------------------------------


def _read_pattern(value: Any) -> str:
    wanted = "a regular expression"
    if not isinstance(value, str) or not value.strip():
        raise unlike(value, wanted)
    pattern = value.strip()
    try:
        with warnings.catch_warnings():
            # A later Python would read such a pattern in another way, and give other labels.
            warnings.simplefilter("error", FutureWarning)
            re.compile(pattern)
    except (re.error, FutureWarning) as error:
        raise problem(f"{shown(pattern)} is not {wanted}: {error}") from None
    return pattern


def _check_label(name: str) -> str:
    if name.casefold() == "background":
        raise problem("'background' is the name of the voxels without a label")
    return check_word(name, "label")


class TargetSettings(Section):
    """The labels to learn, each a regular expression for the whole name of a segment or ROI.

    `where` is SQL over `current_series` that selects masks; `ways` are the ways by which a mask
    may be paired with its image (see `pairing.WAYS`).
    """

    kind: Annotated[str, choice(MASKS, "kind")] = Field(
        description="without a target, write 'target: none'"
    )
    labels: Annotated[
        dict[
            Annotated[str, BeforeValidator(_check_label)],
            Annotated[str, BeforeValidator(_read_pattern)],
        ],
        GROUP,
    ] = Field(description="without a target, write 'target: none'")
    priority: Annotated[tuple[Text, ...], some("labels"), UNIQUE] = ()
    where: Annotated[str, text("SQL")] = ""
    ways: Annotated[tuple[Annotated[str, choice(WAYS, "way")], ...], some("ways"), UNIQUE] = WAYS

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if not self.labels:
            raise problem("there is no label, such as {tumour: '(?i)gtv.*'}", key="labels")
        for name in self.priority:
            if name not in self.labels:
                raise problem(str(UnknownName("label", name, self.labels)), key="priority")
        try:
            _ = self.patterns
        except UsageError as error:
            raise problem(str(error), key="labels") from None
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """All keys, as JSON can hold them; labels in their order, which gives their numbers."""
        return self.model_dump(mode="json") | {"labels": [*map(list, self.labels.items())]}

    @property
    def patterns(self) -> LabelPatterns:
        """The labels, as `volume.read_labels` takes them."""
        return LabelPatterns.compile(self.labels, self.priority)


def _read_target(value: Any) -> Any:
    return None if value == "none" else check_group(value)


def _read_spacing(value: Any) -> tuple[float, ...] | None:
    if value == NATIVE:
        return None
    wanted = "'native', or three lengths in mm above 0, such as [1, 1, 1.5]"
    lengths = tuple(map(float, read_numbers(value, 3, wanted)))
    if min(lengths) <= 0:
        raise problem(f"[{', '.join(f'{length:g}' for length in lengths)}] is not {wanted}")
    return lengths


def _read_window(value: Any) -> tuple[float, ...]:
    wanted = "a lower and an upper end, such as [-1000, 400]"
    low, high = map(float, read_numbers(value, 2, wanted))
    if low >= high:
        raise problem(f"[{low:g}, {high:g}] is not {wanted}")
    return low, high


def _read_orientation(value: Any) -> str | None:
    orientation = read_choice(value, ORIENTATIONS, "orientation")
    return None if orientation == NATIVE else orientation


def _read_dtype(value: Any) -> str | None:
    dtype = read_choice(value, DTYPES, "dtype")
    return None if dtype == NATIVE else dtype


class VolumeSettings(Section):
    """How volumes are written; None leaves a property as the Series has it.

    Attributes:
        spacing: in mm along x, y, z.
        orientation: the ends to which x, y, z rise, such as RAS.
        dtype: of the voxels.
        window: lower and upper end, in the units of the Series; mapped to the range of the dtype,
            or to 0 to 1 for float32.
        least_slices: a Series with fewer slices has the finding `too_few_slices`.
    """

    spacing: Annotated[tuple[float, float, float] | None, BeforeValidator(_read_spacing)] = None
    orientation: Annotated[str | None, BeforeValidator(_read_orientation)] = None
    dtype: Annotated[str | None, BeforeValidator(_read_dtype)] = None
    window: Annotated[tuple[float, float] | None, BeforeValidator(_read_window)] = None
    least_slices: Annotated[int, whole_number(1, 100_000)] = 3

    @model_validator(mode="after")
    def _check_dtype(self) -> Self:
        if self.dtype == "uint8" and self.window is None:
            advice = "'uint8' needs a window: most values of an image do not fit into it"
            raise problem(advice, key="dtype")
        return self


class LicenseKeys(Section):
    """The licences to refuse, or the only ones to accept."""

    deny: Names = ()
    allow: Names = ()

    @field_validator("deny", "allow")
    @classmethod
    def _check_names(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        try:
            Licenses(**{str(info.field_name): names})
        except UsageError as error:
            raise problem(_without_prefix(error)) from None
        return names

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not (self.deny or self.allow):
            raise problem("it needs names under 'deny' or 'allow'")
        return self


# --- The declaration ------------------------------------------------------------------------------


def _check_codes(value: Any) -> Any:
    for code in check_group(value):
        if code not in SAMPLE_CODES:
            raise problem(str(UnknownName("code", code, SAMPLE_CODES)), key=code)
    return value


class Declaration(Section):
    """A dataset as its file declares it."""

    title: Text
    cohort: CohortQuery
    split: SplitSettings
    target: Annotated[TargetSettings | None, BeforeValidator(_read_target)] = None
    volume: VolumeSettings = VolumeSettings()
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
    def _check_formats(self) -> Self:
        """Refuse what a format cannot hold now, rather than after hours of work."""
        if "nnunet" in self.formats and self.target is None:
            raise problem("'nnunet' needs a target: each image needs labels", key="formats")
        if "nnunet" in self.formats and self.policy(WITHOUT_TARGET) == KEEP:
            reason = "'nnunet' needs labels for each image; valid with it: 'drop', 'fail'"
            raise problem(reason, key=f"qc.{WITHOUT_TARGET}")
        if "huggingface" in self.formats:
            self._check_split_names()
        return self

    def _check_split_names(self) -> None:
        """Refuse names of splits that are equal where Hugging Face replaces `-` by `_`."""
        first_with: dict[str, str] = {}
        for name in self.split.splits:
            other = first_with.setdefault(name.replace("-", "_"), name)
            if other != name:
                is_fraction = name in self.split.fractions
                key = f"split.fractions.{name}" if is_fraction else "split.holdout.part"
                reason = f"'huggingface' replaces '-' by '_', which makes {name!r} equal to"
                raise problem(f"{reason} {other!r}: rename one of them", key=key)

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
        """The rule for licences, as an image selection has it."""
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
        """The settings on which the cohort depends: its query and, of the target, which masks."""
        target = self.target
        masks = target and {n: target.settings[n] for n in ("kind", "where", "ways")}
        return {"cohort": self.cohort.content, "target": masks}

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is built, as JSON can hold it."""
        licenses = self.license_keys
        return {
            "title": self.title,
            "cohort": self.cohort.content,
            "split": self.split.model_dump(mode="json"),
            "target": self.target and self.target.settings,
            "volume": self.volume.model_dump(mode="json"),
            "licenses": licenses.model_dump(mode="json", exclude_defaults=True) if licenses else {},
            "formats": list(self.formats),
            "qc": {code: self.policy(code) for code in sorted(SAMPLE_CODES)},
        }


def load_declaration(path: Path) -> Declaration:
    """Read a file that declares a dataset, which is named as the file is.

    Raises:
        BadDeclaration: names the file, the line and the key, and what is valid there.
    """
    return _validate(read_yaml(path), path.stem, path.parent)


def parse_declaration(
    text: str, name: str, *, file: str = "", folder: Path = Path()
) -> Declaration:
    """Read a text that declares a dataset; see `load_declaration`.

    Args:
        text: YAML or JSON.
        name: of the dataset.
        file: the name that errors show; by default `<name>.yaml`.
        folder: where relative paths of series lists begin.
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
