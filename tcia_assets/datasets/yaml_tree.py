"""YAML, of which each value knows its line, so that an error can name it.

What belongs here: reading values of the kinds that declarations have. What does not: any particular
key (`declaration.py`).

All scalars are texts until somebody asks for a number: YAML itself would take a Collection 0123 for
83, a body part NO for false. Aliases are refused: nothing here needs them, and they grow without
bound. So are keys that are there twice, of which YAML would keep the last one in silence.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import yaml

from tcia_assets.errors import BadDeclaration, UnknownName

_LARGEST_BYTES = 1 << 20
_LONGEST_SHOWN = 80
_DEEPEST = 20
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_NUMBER = re.compile(r"[-+]?[0-9]{1,15}([.][0-9]{1,15}|/[1-9][0-9]{0,14})?", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def read(path: Path, shown: str = "") -> Field:
    """The top of a file of YAML or JSON.

    Raises:
        BadDeclaration: the file cannot be read or is not YAML, and where.
    """
    file = shown or str(path)
    try:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            raise BadDeclaration(file, 1, "", f"it has {size} bytes; {_LARGEST_BYTES} are read")
        return parse(path.read_text(encoding="utf-8-sig"), file)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadDeclaration(file, line, "", f"it is not in UTF-8: {error.reason}") from None
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
        raise BadDeclaration(file, 1, "", problem) from None


def parse(text: str, file: str) -> Field:
    """The top of a text of YAML or JSON; see `read`."""
    try:
        _check_events(text, file)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.context, error.problem)))
        line = mark.line + 1 if mark else 1
        raise BadDeclaration(file, line, "", f"it is not YAML: {said}") from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise BadDeclaration(file, 1, "", f"it is not YAML: {said}") from None
    if node is None:
        raise BadDeclaration(file, 1, "", "it is empty")
    return Field(file, "", node)


def _check_events(text: str, file: str) -> None:
    """Refuses what composing would follow without bound."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise BadDeclaration(file, _line(event), "", f"an alias *{event.anchor}: write it out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise BadDeclaration(
                file, _line(event), "", f"values are nested more than {_DEEPEST} deep"
            )


def _line(place: yaml.Node | yaml.Event) -> int:
    return place.start_mark.line + 1 if place.start_mark else 1


@dataclass(frozen=True)
class Field:
    """A value of a file: where it stands, the key that it has, and what was written."""

    file: str
    key: str
    node: yaml.Node
    key_line: int = 0

    @property
    def line(self) -> int:
        """Where its key stands, or, where it has none, itself; from 1."""
        return self.key_line or _line(self.node)

    @property
    def is_null(self) -> bool:
        node = self.node
        return isinstance(node, yaml.ScalarNode) and not node.style and node.value in _NULLS

    @property
    def is_fields(self) -> bool:
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_text(self) -> bool:
        return isinstance(self.node, yaml.ScalarNode) and not self.is_null

    def refuse(self, problem: str) -> NoReturn:
        """Raises BadDeclaration about this value."""
        raise BadDeclaration(self.file, self.line, self.key, problem)

    def refuse_as(self, wanted: str) -> NoReturn:
        """Raises BadDeclaration: this value is not what it should be."""
        self.refuse(f"{self.shown} is not {wanted}")

    @property
    def shown(self) -> str:
        if self.is_null:
            return "nothing"
        if isinstance(self.node, yaml.ScalarNode):
            text = self.node.value
            return repr(text[:_LONGEST_SHOWN]) + ("..." if text[_LONGEST_SHOWN:] else "")
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "a group of keys"

    # --- Values -----------------------------------------------------------------------------------

    def fields(self, known: Collection[str] | None = None) -> dict[str, Field]:
        """The values by their keys, in the order of the file; any keys, or only the known ones."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse_as("a group of keys with values")
        found: dict[str, Field] = {}
        for key, node in self.node.value:
            name = Field(self.file, self.key, key).text("a key")
            path = f"{self.key}.{name}" if self.key else name
            field = Field(self.file, path, node, _line(key))
            if name in found:
                field.refuse(f"the key is there twice, first in line {found[name].line}")
            if known is not None and name not in known:
                what = f"key of {self.key}" if self.key else "key"
                field.refuse(str(UnknownName(what, name, known)))
            found[name] = field
        return found

    def items(self) -> list[Field]:
        """The values of a list; of a single value, that one."""
        if isinstance(self.node, yaml.SequenceNode):
            return [Field(self.file, self.key, node) for node in self.node.value]
        return [self]

    def text(self, wanted: str = "a text") -> str:
        """A text that is not empty."""
        if not self.is_text or not isinstance(self.node, yaml.ScalarNode):
            self.refuse_as(wanted)
        text = self.node.value.strip()
        if not text:
            self.refuse_as(wanted)
        return str(text)

    def texts(self, wanted: str = "a list of texts") -> tuple[str, ...]:
        """Texts of a list, each once; or the one that stands there."""
        return tuple(dict.fromkeys(item.text(wanted) for item in self._some(wanted)))

    def choice(self, valid: Collection[str], what: str) -> str:
        """One of these texts."""
        text = self.text(f"a {what}: {_listed(valid)}")
        if text not in valid:
            near = difflib.get_close_matches(text, valid, n=3, cutoff=0.5)
            hint = f"; did you mean {_listed(near)}?" if near else ""
            self.refuse(f"{self.shown} is no {what}; valid: {_listed(valid)}{hint}")
        return text

    def choices(self, valid: Collection[str], what: str) -> tuple[str, ...]:
        """Some of these texts, each once."""
        found = (item.choice(valid, what) for item in self._some(f"a list of {what}s"))
        return tuple(dict.fromkeys(found))

    def whole(self, least: int, most: int) -> int:
        wanted = f"a whole number from {least} to {most}"
        text = self.text(wanted)
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            self.refuse_as(wanted)
        return int(text)

    def number(self, wanted: str = "a number") -> Fraction:
        """A decimal such as 0.7, or a fraction such as 1/3; exact."""
        text = self.text(wanted)
        if not _NUMBER.fullmatch(text):
            self.refuse_as(wanted)
        return Fraction(text)

    def numbers(self, count: int, wanted: str) -> tuple[Fraction, ...]:
        if not isinstance(self.node, yaml.SequenceNode) or len(self.node.value) != count:
            self.refuse_as(wanted)
        return tuple(item.number(wanted) for item in self.items())

    def _some(self, wanted: str) -> Iterator[Field]:
        items = self.items()
        if not items:
            self.refuse_as(f"{wanted} with at least one")
        yield from items


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names))
