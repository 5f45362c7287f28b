"""The base class and the field types from which a declaration's pydantic models are built.

Each type reads one value from the text in the YAML file; its error names the valid values.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tcia_assets.errors import UnknownName
from tcia_assets.store import sql

_MAX_SHOWN = 80
_NUMBER = re.compile(r"[-+]?[0-9]{1,15}([.][0-9]{1,15}|/[1-9][0-9]{0,14})?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


class Section(BaseModel):
    """A group of keys of a declaration: frozen; an unknown or missing key is an error."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    # What to write in place of keys that people guess.
    hints: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, value: Any) -> Any:
        if isinstance(check_group(value), cls):
            return value
        known = {field.alias or name: field for name, field in cls.model_fields.items()}
        for name in value:
            if name not in known:
                hint = cls.hints.get(name)
                unknown = str(UnknownName("key", name, known))
                raise problem(f"no key {name!r}: {hint}" if hint else unknown, key=name)
        for name, field in known.items():
            if field.is_required() and name not in value:
                advice = f"; {field.description}" if field.description else ""
                raise problem(f"the key {name!r} is missing{advice}")
        return value


def problem(text: str, *, key: str = "") -> PydanticCustomError:
    """Return an error to raise in a validator; `key` is one below the value that is validated."""
    return PydanticCustomError("declaration", "{problem}", {"problem": text, "key": key})


def unlike(value: Any, wanted: str) -> PydanticCustomError:
    """Return the error that a value is not what is wanted."""
    return problem(f"{shown(value)} is not {wanted}")


def shown(value: Any) -> str:
    """Return a value as an error shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a group of keys"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = str(value)
    return repr(text[:_MAX_SHOWN]) + ("..." if text[_MAX_SHOWN:] else "")


def listed(names: Collection[str]) -> str:
    """Return names in quotes, separated by commas."""
    return ", ".join(map(repr, names))


# --- Reading one value ----------------------------------------------------------------------------


def check_group(value: Any, example: str = "") -> Any:
    """Return a group of keys, or a section that was built from one."""
    if not isinstance(value, dict | Section):
        raise unlike(value, f"a group of keys with values{example and f', such as {example}'}")
    return value


def read_text(value: Any, wanted: str = "a text") -> str:
    """Return a text without blanks at its ends, which is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise unlike(value, wanted)
    return value.strip()


def read_pattern(value: Any) -> str:
    """Return a regular expression."""
    wanted = "a regular expression"
    if isinstance(value, list):
        raise problem("a list is not a regular expression: join its names as 'Lung_L|Lung_R'")
    pattern = read_text(value, wanted)
    try:
        with warnings.catch_warnings():
            # A later Python would read such a pattern in another way, and give other labels.
            warnings.simplefilter("error", FutureWarning)
            re.compile(pattern)
    except (re.error, FutureWarning) as error:
        raise problem(f"{shown(pattern)} is not {wanted}: {error}") from None
    return pattern


def read_choice(value: Any, valid: Collection[str], what: str) -> str:
    """Return one of the valid texts."""
    text = read_text(value, f"{_a(what)}: {listed(valid)}")
    if text not in valid:
        wanted = f"{_a(what)}; valid: {listed(valid)}"
        raise problem(f"{shown(value)} is not {wanted}{did_you_mean(text, valid)}")
    return text


def did_you_mean(text: str, valid: Collection[str]) -> str:
    """Return the end of an error with the valid texts that are like a wrong one; "" for none."""
    near = [name for name in valid if name.casefold() == text.casefold()]
    near = near or difflib.get_close_matches(text, valid, n=3, cutoff=0.5)
    return f"; did you mean {listed(near)}?" if near else ""


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def read_number(value: Any, wanted: str) -> Fraction:
    """Return a decimal such as 0.7, or a fraction such as 1/3, exactly."""
    if isinstance(value, Fraction):
        return value
    text = read_text(value, wanted)
    if not _NUMBER.fullmatch(text):
        raise unlike(value, wanted)
    return Fraction(text)


def read_numbers(value: Any, count: int, wanted: str) -> tuple[Fraction, ...]:
    """Return a list of `count` numbers."""
    if not isinstance(value, list) or len(value) != count:
        raise unlike(value, wanted)
    return tuple(read_number(item, wanted) for item in value)


def check_word(name: str, what: str) -> str:
    """Return a name that can be part of a file's name."""
    if not _WORD.fullmatch(name):
        rule = "it needs a letter first, then letters, digits, _ and -"
        raise problem(f"{name!r} is not a name for a {what}: {rule}")
    return name


# --- Field types ----------------------------------------------------------------------------------


def text(wanted: str = "a text") -> BeforeValidator:
    """Return the type of a text."""
    return BeforeValidator(lambda value: read_text(value, wanted))


def choice(valid: Collection[str], what: str) -> BeforeValidator:
    """Return the type of one of the valid texts."""
    return BeforeValidator(lambda value: read_choice(value, valid, what))


def word(what: str) -> AfterValidator:
    """Return the type of a name that can be part of a file's name."""
    return AfterValidator(lambda name: check_word(name, what))


def whole_number(least: int, most: int) -> BeforeValidator:
    """Return the type of a whole number within limits."""
    wanted = f"a whole number from {least} to {most}"

    def read(value: Any) -> int:
        text = str(value) if isinstance(value, int) else read_text(value, wanted)
        if not _WHOLE_NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise unlike(value, wanted)
        return int(text)

    return BeforeValidator(read)


def some(what: str) -> BeforeValidator:
    """Return the type of a list with at least one value, or of that one value alone."""

    def read(value: Any) -> list[Any]:
        if value == []:
            raise unlike(value, f"a list of {what} with at least one")
        return list(value) if isinstance(value, list | tuple) else [value]

    return BeforeValidator(read)


def _check_statement(statement: str) -> str:
    statement = statement.rstrip("; \n")
    if reason := sql.why_no_query(statement):
        raise problem(f"it must be one SELECT: {reason}")
    return statement


def _check_condition(condition: str) -> str:
    if not sql.is_expression(condition):
        raise problem("it must be one SQL condition")
    if reason := sql.why_no_query(f"SELECT ({condition}\n)"):
        raise problem(f"it must be one SQL condition: {reason}")
    return condition


def _without_repeats(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


UNIQUE = AfterValidator(_without_repeats)
GROUP = BeforeValidator(check_group)

Text = Annotated[str, text()]
Statement = Annotated[str, text("a statement of SQL"), AfterValidator(_check_statement)]
Condition = Annotated[str, text("SQL"), AfterValidator(_check_condition)]
# JSON with sorted keys would lose the order of the keys, which gives their numbers.
IN_ORDER = PlainSerializer(lambda named: [*map(list, named.items())])
Names = Annotated[tuple[Annotated[str, text("a name")], ...], some("names"), UNIQUE]
