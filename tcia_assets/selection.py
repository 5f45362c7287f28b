"""Which Series' images to fetch, as the user writes it down; pure.

What belongs here: the fields of a selection, their validity, and the SQL that they mean. What does
not: what is on disk already (`archive.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from tcia_assets import sql
from tcia_assets.errors import UnknownName, UsageError

_CRITERIA = ("collections", "modalities", "body_parts", "where")


@dataclass(frozen=True)
class Selection:
    """Series whose images are wanted: all criteria that are given must hold.

    `where` is SQL over the view `current_series`. A run fetches at most `max_series_per_run` Series
    and `max_bytes_per_run` bytes and leaves the rest to the next. At least one criterion is needed:
    nobody mirrors 30 TB by accident; `where: "true"` means everything.
    """

    collections: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    where: str = ""
    max_series_bytes: int | None = None
    max_bytes_per_run: int = 50 * 10**9
    max_series_per_run: int = 10_000

    def __post_init__(self) -> None:
        if not any(getattr(self, name) for name in _CRITERIA):
            raise UsageError(
                f"an image selection needs one of {', '.join(_CRITERIA)}; where: 'true' takes all"
            )

    @property
    def predicate(self) -> str:
        """SQL that holds for a row of `current_series` that is selected.

        With `max_series_bytes`, Series whose size the archive does not tell are left out.
        """
        parts = [
            _one_of("Collection", self.collections),
            _one_of("Modality", self.modalities),
            _one_of("BodyPartExamined", self.body_parts),
            # On a line of its own: it may end in a comment.
            f"({self.where}\n)" if self.where.strip() else "",
            f"FileSize <= {self.max_series_bytes}" if self.max_series_bytes is not None else "",
        ]
        return " AND ".join(part for part in parts if part)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    # Without case and blanks, as the archive itself compares.
    chosen = ", ".join(f"lower(trim({sql.literal(value)}))" for value in values)
    return f"lower(trim({sql.identifier(column)})) IN ({chosen})" if values else ""


def parse(text: str) -> Selection | None:
    """The selection in a text of YAML or JSON, or in the file of that name; None for an empty one.

    >>> parse("{collections: [LCTSC], max_series_per_run: 10}").collections
    ('LCTSC',)

    Raises:
        UsageError: what is wrong, with the field and what it may hold.
    """
    if not text.strip():
        return None
    try:
        # As text: YAML itself would take a Collection 0123 for 83, and a body part NO for false.
        given = yaml.load(_read(text), Loader=yaml.BaseLoader)  # noqa: S506 - it makes only texts
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UsageError(f"the image selection is neither YAML nor JSON: {problem}") from None
    if not isinstance(given, dict):
        raise UsageError(
            f"the image selection {text[:80]!r} is neither a file nor fields such as "
            "{collections: [4D-Lung]}"
        )
    return from_fields(given)


def from_fields(given: dict[str, Any]) -> Selection:
    """A selection from its fields, as a config file holds them; raises UsageError as `parse`."""
    known = {f.name for f in fields(Selection)}
    for name in given:
        if name not in known:
            raise UnknownName("field of an image selection", str(name), known)
    return Selection(**{name: _checked(name, value) for name, value in given.items()})


def _read(text: str) -> str:
    path = Path(text.strip())
    is_name = "\n" not in text and "{" not in text and ":" not in path.name
    if not (is_name and path.suffix in {".yaml", ".yml", ".json"}):
        return text
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the image selection {text!r} cannot be read: {error}") from None


def _checked(name: str, value: Any) -> Any:
    if name == "where":
        return _condition(value)
    return _limit(name, value) if name.startswith("max_") else _names(name, value)


def _condition(value: Any) -> str:
    if isinstance(value, bool):  # as a config file holds it
        return str(value).lower()
    if isinstance(value, str):
        return value.strip()
    raise UsageError(f"image selection: where is {value!r}; it must be SQL as text")


def _limit(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise UsageError(f"image selection: {name} is {value!r}; it must be a whole number")


def _names(name: str, value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    # A config file may hold a Collection named 4711 as a number.
    if all(isinstance(v, str | int) and not isinstance(v, bool) and str(v).strip() for v in values):
        return tuple(str(v) for v in values)
    raise UsageError(f"image selection: {name} is {value!r}; it must be a list of names")
