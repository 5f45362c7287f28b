"""The classes of a dataset: their names and numbers, and which an image has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tcia_assets.datasets.cohort import IMAGE, Cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.errors import UsageError


def name_of_value(names: Mapping[str, str], value: str) -> str | None:
    """Return the class of a value; None if it matches no class.

    Args:
        names: For each class a regular expression for the whole value; none if each value is one.
        value: The value.

    Raises:
        UsageError: The value matches several classes.
    """
    if not names:
        return value
    found = [name for name, pattern in names.items() if re.fullmatch(pattern, value)]
    if len(found) > 1:
        raise UsageError(f"the value {value!r} matches the classes {', '.join(found)}")
    return found[0] if found else None


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset; false if it has none.

    Attributes:
        names: The regular expression of each class; empty if each value is a class.
        by_number: The names of the classes by number, from 0.
    """

    names: Mapping[str, str]
    by_number: Mapping[int, str]

    @classmethod
    def of(cls, declaration: Declaration, cohort: Cohort) -> Classes:
        """Return the classes of a declaration; without `names`, each value in the cohort is one."""
        if declaration.classes is None:
            return cls({}, {})
        names = declaration.classes.names
        values = set(cohort.of_role(IMAGE)["class_value"].to_pylist()) - {None}
        return cls(names, dict(enumerate(names or sorted(values))))

    def __bool__(self) -> bool:
        return bool(self.by_number)

    def columns(self, value: str | None) -> dict[str, Any]:
        """Return the columns of a sample about its class; they are null without a class."""
        name = None if value is None or not self else name_of_value(self.names, value)
        return {"class_name": name, "class_index": None if name is None else self._numbers[name]}

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in self.by_number.items()}
