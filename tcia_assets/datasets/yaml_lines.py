"""YAML read as plain values, with the line of each, so that an error can name it.

Files that break a rule below are refused before any key is read. The keys are checked in
`declaration.py`.

Scalars stay text: YAML would read the Collection 0123 as 83 and the body part NO as false. Aliases
are refused: a declaration needs none, and nested aliases grow exponentially. Repeated keys are
refused: YAML would silently keep the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tcia_assets.errors import BadDeclaration

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 20
_NULL = "tag:yaml.org,2002:null"

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlDocument:
    """A file of YAML or JSON.

    Attributes:
        file: The name that errors show.
        content: Dicts, lists, str and None; numbers and booleans are str, as they were written.
        lines: The line, from 1, of each location: the keys and list positions that lead to a value,
            such as ("formats", 1). A key counts from its own line, not from its value's.
    """

    file: str
    content: Any
    lines: Mapping[Location, int]

    def error_at(self, location: Location, problem: str) -> BadDeclaration:
        """Return the error about a location, or the nearest one above it that the file has."""
        nearest = location
        while nearest not in self.lines and nearest:
            nearest = nearest[:-1]
        key = ".".join(part for part in location if isinstance(part, str))
        return BadDeclaration(self.file, self.lines.get(nearest, 1), key, problem)


def read_yaml(path: Path) -> YamlDocument:
    """Read a file of YAML or JSON.

    Raises:
        BadDeclaration: The file cannot be read, is larger than 1 MiB or is not YAML; names the
            line.
    """
    file = str(path)
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise BadDeclaration(file, 1, "", f"the file has {size} bytes, more than {_MAX_BYTES}")
        return parse_yaml(path.read_text(encoding="utf-8-sig"), file)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadDeclaration(file, line, "", f"the file is not UTF-8: {error.reason}") from None
    except OSError as error:
        problem = f"the file cannot be read: {error.strerror or error}"
        raise BadDeclaration(file, 1, "", problem) from None


def parse_yaml(text: str, file: str) -> YamlDocument:
    """Parse a text of YAML or JSON; `file` is the name that errors show. See `read_yaml`."""
    try:
        _check_events(text, file)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(filter(None, (error.context, error.problem)))
        line = mark.line + 1 if mark else 1
        raise BadDeclaration(file, line, "", f"the file is not YAML: {reason}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise BadDeclaration(file, 1, "", f"the file is not YAML: {reason}") from None
    if node is None:
        raise BadDeclaration(file, 1, "", "the file is empty")
    lines: dict[Location, int] = {(): _line_of(node)}
    content = _read_node(node, (), file, lines)
    return YamlDocument(file, content, lines)


def _check_events(text: str, file: str) -> None:
    """Refuse aliases and deep nesting, which composing the nodes would follow without bound."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line_of(event)
        if isinstance(event, yaml.AliasEvent):
            problem = f"the alias *{event.anchor} is not allowed: write its value out"
            raise BadDeclaration(file, line, "", problem)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            problem = f"values are nested more than {_MAX_DEPTH} levels deep"
            raise BadDeclaration(file, line, "", problem)


def _line_of(place: yaml.Node | yaml.Event) -> int:
    return place.start_mark.line + 1 if place.start_mark else 1


def _read_node(node: yaml.Node, at: Location, file: str, lines: dict[Location, int]) -> Any:
    """Return the value of a node, and add the lines of all that is below it to `lines`."""
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, at, file, lines)
    if isinstance(node, yaml.SequenceNode):
        values = []
        for position, item in enumerate(node.value):
            lines[*at, position] = _line_of(item)
            values.append(_read_node(item, (*at, position), file, lines))
        return values
    return None if node.tag == _NULL else node.value


def _read_mapping(
    node: yaml.MappingNode, at: Location, file: str, lines: dict[Location, int]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = _line_of(key_node)
        is_text = isinstance(key_node, yaml.ScalarNode) and key_node.tag != _NULL
        name = key_node.value.strip() if is_text else ""
        key = ".".join(part for part in (*at, name) if isinstance(part, str) and part)
        if not name:
            raise BadDeclaration(file, line, key, "a key must be a text")
        if name in values:
            problem = f"the key appears twice, first in line {lines[*at, name]}"
            raise BadDeclaration(file, line, key, problem)
        lines[*at, name] = line
        values[name] = _read_node(value_node, (*at, name), file, lines)
    return values
