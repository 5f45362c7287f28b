"""The section `classes` of a declaration: a value for each image to learn, as a pydantic model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from tcia_assets.datasets.declaration_types import (
    GROUP,
    IN_ORDER,
    Section,
    Statement,
    Text,
    choice,
    problem,
    read_pattern,
    text,
    word,
)
from tcia_assets.store import sql

KEYS = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID")
"""The columns by which values may be joined with images, the finest first."""

_SOURCES = ("table", "sql", "csv")
_DEFAULT_TABLE = "current_series"


class ClassSettings(Section):
    """What to classify: a column of the warehouse, of a query or of a CSV file.

    Attributes:
        column: The column with the values.
        table: A table or view of the warehouse; `current_series` if there is no `sql` or `csv`.
        sql: A statement of SQL instead, which returns the key and the column.
        csv: A CSV file with a header instead; a relative path begins at the declaration's folder.
        key: `SeriesInstanceUID`, `StudyInstanceUID` or `PatientID`; by default the finest that
            there is. If the values have a column `Collection` too, it must be equal as well.
        names: For each class a regular expression for the whole value; by default each value is
            a class. Classes are numbered from 0 in this order, else in the order of their values.
    """

    column: Text = Field(description="the column with the values, such as PatientSex")
    table: Annotated[str, text("the name of a table or view")] = ""
    sql: Statement = ""
    csv: Annotated[str, text("the path of a CSV file")] = ""
    key: Annotated[str, choice(KEYS, "key")] = ""
    names: Annotated[
        dict[Annotated[Text, word("class")], Annotated[str, BeforeValidator(read_pattern)]],
        GROUP,
        IN_ORDER,
    ] = Field(default_factory=dict)
    _folder: Path = PrivateAttr(Path())

    @model_validator(mode="after")
    def _check_together(self, info: ValidationInfo) -> Self:
        given = [name for name in _SOURCES if getattr(self, name)]
        if len(given) > 1:
            raise problem(
                f"it cannot stand beside {given[0]!r}: values have one source", key=given[1]
            )
        self._folder = (info.context or {}).get("folder", Path())
        return self

    @property
    def origin(self) -> str:
        """Which of `table`, `sql` and `csv` the values come from."""
        return next((name for name in _SOURCES if getattr(self, name)), _SOURCES[0])

    @property
    def statement(self) -> str:
        """SQL that returns the rows of `table` or `sql`."""
        return self.sql or f"SELECT * FROM {sql.identifier(self.table or _DEFAULT_TABLE)}"

    @property
    def csv_path(self) -> Path:
        """The path of the CSV file."""
        return self._folder / self.csv
