"""The sections of a declaration: cohort, target and licences, as frozen pydantic models.

The split's section is in `split.py`, that of volumes in `volume_settings.py`; checks across
sections are in `declaration.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tcia_assets.datasets.declaration_types import (
    IN_ORDER,
    UNIQUE,
    Condition,
    Names,
    Section,
    Statement,
    Text,
    check_group,
    check_word,
    choice,
    problem,
    read_pattern,
    shown,
    some,
)
from tcia_assets.datasets.pairing import WAYS
from tcia_assets.datasets.volume.label_gaps import BETWEEN, NOTHING
from tcia_assets.datasets.volume.label_grid import LabelChoices
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_readers import READERS, UNION
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.metadata.licenses import Licenses
from tcia_assets.metadata.selection import CRITERIA, Selection
from tcia_assets.metadata.selection_parser import selection_from_fields

MASKS = ("SEG", "RTSTRUCT")


# --- Cohort ---------------------------------------------------------------------------------------


class CohortQuery(Section):
    """Which image Series: a statement of SQL, or the criteria of an image selection.

    Attributes:
        sql: One SELECT over the views, which returns a column `SeriesInstanceUID`; instead of all
            other keys, which are those of an image selection.
    """

    hints = dict.fromkeys(
        ("patients", "patient", "PatientID"), "write: {where: \"PatientID IN ('A', 'B')\"}"
    )

    sql: Statement = ""
    collections: Names = ()
    modalities: Names = ()
    body_parts: Names = ()
    where: Text = ""
    manifests: Names = ()
    series: Names = ()
    shared_lists: Names = ()
    max_series_bytes: Text = ""
    _selection: Selection | None = PrivateAttr(None)

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
        """SQL that returns a column SeriesInstanceUID; run it with `tables`."""
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


# --- Target and licences --------------------------------------------------------------------------


def _check_label(name: str) -> str:
    if name.casefold() == "background":
        raise problem("'background' is the name of the voxels without a label")
    return check_word(name, "label")


def _read_labels(value: Any) -> Any:
    if isinstance(value, list | str):
        advice = "each label has a pattern for names, such as {lung: '(?i)lung.*'}"
        raise problem(f"{shown(value)} is not a group of labels: {advice}")
    return check_group(value)


class TargetSettings(Section):
    """The labels to learn, and the masks they are read from; `none` for images without labels.

    Attributes:
        kind: Modality of the masks.
        labels: For each label a regular expression for the whole name of a segment or ROI. Labels
            are numbered from 1 in their order.
        priority: Labels, the strongest first, for voxels that belong to several.
        where: SQL over `current_series` that selects masks.
        ways: The ways by which a mask may be paired with its image.
        between: What is in slices between drawn ones.
        readers: How drawings of the same structure by several readers are combined.
    """

    kind: Annotated[str, choice(MASKS, "kind")] = Field(
        description="without a target, write 'target: none'"
    )
    labels: Annotated[
        dict[
            Annotated[str, BeforeValidator(_check_label)],
            Annotated[str, BeforeValidator(read_pattern)],
        ],
        BeforeValidator(_read_labels),
        IN_ORDER,
    ] = Field(description="without a target, write 'target: none'")
    priority: Annotated[tuple[Text, ...], some("labels"), UNIQUE] = ()
    where: Condition = ""
    ways: Annotated[tuple[Annotated[str, choice(WAYS, "way")], ...], some("ways"), UNIQUE] = WAYS
    between: Annotated[str, choice(BETWEEN, "choice")] = NOTHING
    readers: Annotated[str, choice(READERS, "choice")] = UNION

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if not self.labels:
            raise problem("there is no label, such as {tumour: '(?i)gtv.*'}", key="labels")
        try:
            _ = self.patterns
        except UnknownName as error:
            raise problem(str(error), key="priority") from None
        except UsageError as error:
            raise problem(str(error), key="labels") from None
        return self

    @property
    def patterns(self) -> LabelPatterns:
        """The labels, as `read_labels` takes them."""
        return LabelPatterns.compile(self.labels, self.priority)

    @property
    def choices(self) -> LabelChoices:
        """What `read_labels` does with gaps and with several readers."""
        return LabelChoices(self.between, self.readers)


class LicenseKeys(Section):
    """The licences to refuse, or the only ones to accept; a refused one refuses the cohort.

    Attributes:
        deny: Licences that are refused, by long or short name; `NC`, `ND` and `SA` are all with
            that restriction.
        allow: Licences that are accepted; all others are refused.
    """

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
