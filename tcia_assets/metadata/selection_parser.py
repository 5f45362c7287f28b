"""Read a selection from YAML, JSON or fields, turn it into fields again, and override fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from tcia_assets.errors import UsageError, require_known, shorten
from tcia_assets.metadata.licenses import Licenses
from tcia_assets.metadata.quiet_hours import QuietHours
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.series_lists import is_uid

# A selection needs three levels. UIDs by the 100,000s belong in a series list.
_MAX_DEPTH = 10
_MAX_BYTES = 16 << 20


def parse_selection(text: str) -> Selection | None:
    """Read a selection from YAML or JSON, or from the file that the text names.

    Paths of series lists in a file are relative to that file.

    Returns:
        The selection; None for an empty text.

    Raises:
        UsageError: The text is not valid; names the field and what it may hold.

    >>> parse_selection("{collections: [LCTSC], max_series_per_run: 10}").collections
    ('LCTSC',)
    """
    if not text.strip():
        return None
    file = _file(text)
    try:
        given = _load(_read(file) if file else text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UsageError(f"the image selection is neither YAML nor JSON: {problem}") from None
    if not isinstance(given, dict):
        raise UsageError(
            f"the image selection {text[:80]!r} is neither a file nor fields such as "
            "{collections: [4D-Lung]}"
        )
    return selection_from_fields(given, folder=file.parent if file else Path())


def selection_from_fields(given: dict[str, Any], *, folder: Path = Path()) -> Selection:
    """Make a selection from its fields.

    Args:
        given: The fields, as YAML, JSON or a run's config hold them.
        folder: What relative paths of series lists are relative to.

    Raises:
        UsageError: As `parse_selection`; also if a series list cannot be read.
    """
    _check_names("field of an image selection", given, Selection)
    values = {name: _value(name, value) for name, value in given.items()}
    if "manifests" in values:
        values["manifests"] = tuple(str(folder / path) for path in values["manifests"])
    selection = Selection(**values)
    _ = selection.tables  # raises now, rather than in a run, if a series list is wrong
    return selection


def selection_to_fields(selection: Selection) -> dict[str, Any]:
    """Return the fields that are not at their default, as JSON can hold them."""
    values = {f.name: (getattr(selection, f.name), f.default) for f in fields(Selection)}
    return {name: _plain(value) for name, (value, default) in values.items() if value != default}


def override_selection(base: Selection | None, criteria: Mapping[str, Any]) -> Selection:
    """Return a selection with these fields replaced; `where` must hold besides the one before.

    Args:
        base: The selection to override; None if there is none.
        criteria: Fields of a Selection. None, "" and an empty sequence stand for no criterion.

    Raises:
        UsageError: There is neither a selection nor a criterion, or a field cannot be used.
    """
    chosen = {name: value for name, value in criteria.items() if value not in (None, "", [], ())}
    if base is None and not chosen:
        raise UsageError("name Collections, or give --selection or TCIA_IMAGE_SELECTION")
    before = {} if base is None else selection_to_fields(base)
    if before.get("where") and chosen.get("where"):
        chosen["where"] = f"({before['where']}\n) AND ({chosen['where']}\n)"
    return selection_from_fields(before | chosen)


def _plain(value: Any) -> Any:
    if isinstance(value, Licenses):
        return {name: list(names) for name, names in vars(value).items() if names}
    if isinstance(value, QuietHours):
        return value.to_fields()
    return list(value) if isinstance(value, tuple) else value


def _file(text: str) -> Path | None:
    """Return the file that a text names; None if the text is a selection."""
    path = Path(text.strip())
    is_name = "\n" not in text and "{" not in text and ":" not in path.name
    return path if is_name and path.suffix in {".yaml", ".yml", ".json"} else None


def _load(text: str) -> Any:
    """Load YAML; raises UsageError for what would grow or nest without bound."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        if isinstance(event, yaml.AliasEvent):
            problem = f"the alias *{shorten(str(event.anchor))} is not allowed: write its value out"
            raise UsageError(f"image selection: {problem}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise UsageError(f"image selection: nested more than {_MAX_DEPTH} levels deep")
    return yaml.load(text, Loader=_TextLoader)  # noqa: S506 - text only


class _TextLoader(yaml.BaseLoader):
    """Loads values as text, and refuses a key that appears twice: one value would be lost.

    YAML's own types would turn a Collection 0123 into 83, and a body part NO into false.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as in yaml
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if isinstance(key, yaml.ScalarNode) and name in lines:
                problem = f"{shorten(name)!r} appears twice, first in line {lines[name]}"
                raise UsageError(f"image selection, line {line}: {problem}")
            lines[name] = line
        return super().construct_mapping(node, deep)


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            problem = "cannot be read: it is not a regular file"
            raise UsageError(f"the image selection {str(path)!r} {problem}")
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"the image selection {str(path)!r} is longer than {_MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = str(getattr(error, "strerror", None) or error)
        raise UsageError(f"the image selection {str(path)!r} cannot be read: {problem}") from None


def _check_names(what: str, given: dict[str, Any], kind: type[Selection | Licenses]) -> None:
    require_known(what, map(str, given), {f.name for f in fields(kind)})


def _value(name: str, value: Any) -> Any:
    if name == "where":
        return _condition(value)
    if name == "licenses":
        return _licenses(value)
    if name == "series":
        return _uids(value)
    if name == "quiet_hours":
        return value if isinstance(value, QuietHours) else QuietHours.from_fields(value)
    is_number = name.startswith("max_") or name == "shards"
    return _number(name, value) if is_number else _names(name, value)


def _condition(value: Any) -> str:
    if isinstance(value, bool):  # `true` in a run's config is not a text
        return str(value).lower()
    if isinstance(value, str):
        return value.strip()
    raise UsageError(f"image selection: where is {value!r}; it must be SQL as text")


def _number(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise UsageError(f"image selection: {name} is {value!r}; it must be a whole number")


def _names(name: str, value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        # Not all: what was meant to name a few must not fetch everything.
        raise UsageError(f"image selection: {name} is empty; name some, or leave it out")
    # A config file may hold a Collection named 4711 as a number.
    if all(isinstance(v, str | int) and not isinstance(v, bool) and str(v).strip() for v in values):
        return tuple(str(v) for v in values)
    raise UsageError(f"image selection: {name} is {value!r}; it must be a list of names")


def _uids(value: Any) -> tuple[str, ...]:
    uids = tuple(uid.strip() for uid in _names("series", value))
    for uid in uids:
        if not is_uid(uid):
            raise UsageError(f"image selection: series has {uid[:80]!r}; it must be a list of UIDs")
    return uids


def _licenses(value: Any) -> Licenses:
    if isinstance(value, Licenses):
        return value
    if not isinstance(value, dict):
        raise UsageError(
            f"image selection: licenses is {value!r}; it must be like {{deny: [CC BY-NC 3.0]}}"
        )
    _check_names("field of licenses", value, Licenses)
    return Licenses(**{name: _names(f"licenses.{name}", names) for name, names in value.items()})
