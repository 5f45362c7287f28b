"""The folders and files that exported Series get: templates, and names that are safe everywhere.

Which Series are exported, and how, is in `export.py`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from string import Formatter
from typing import Any

from tcia_assets.catalog import SERIES
from tcia_assets.errors import UsageError, require_known

DEFAULT_TEMPLATE = "{PatientID}/{StudyDate}-{StudyDescription}/{SeriesNumber}-{SeriesDescription}"
SUFFIX = ".dcm"

# What no name may hold on Windows, where it is most.
_FORBIDDEN = frozenset('<>:"/\\|?*')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])([.].*)?", re.IGNORECASE)
# File systems allow 255; a suffix may follow, and Windows limits the whole path.
_MAX_NAME_BYTES = 100
_EDGES = " .-_"
# Two of these that become the same name would mix two patients.
_IDENTIFIERS = frozenset({"PatientID", "Collection"})
_EMPTY = "unknown"


@dataclass(frozen=True)
class FolderTemplate:
    """The folder of a Series below the export, such as `{PatientID}/{SeriesNumber}`.

    Fields are columns of `series`. Slashes of the template separate folders; those in values do
    not.

    Raises:
        UsageError: The text is no such template; names what is wrong.
    """

    text: str

    def __post_init__(self) -> None:
        if not self.fields:
            raise self._error("it has no field, such as {SeriesNumber}")
        require_known("column of series in --template", self.fields, SERIES.column_names)

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns of `series` that it uses."""
        return tuple(name for part in self._parts for _, name in part if name)

    def folder(self, series: Mapping[str, Any]) -> str:
        """Return the folder of a Series, given its row; each part of it is a safe name."""
        return "/".join(_part_name(part, series) for part in self._parts)

    @cached_property
    def _parts(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """For each folder the pairs of a literal text and the field after it, "" at the end."""
        texts = self.text.split("/")
        if not all(text.strip() and set(text) != {"."} for text in texts):
            raise self._error("it must be a relative path without '..' and empty parts")
        return tuple(tuple(self._parse(text)) for text in texts)

    def _parse(self, part: str) -> Iterator[tuple[str, str]]:
        try:
            for literal, name, form, conversion in Formatter().parse(part):
                if form or conversion:
                    raise self._error(f"a field has no format: write {{{name}}}")
                if name == "":
                    raise self._error("a field needs a name: {} has none")
                yield literal, name or ""
        except ValueError as error:
            raise self._error(str(error)) from None

    def _error(self, problem: str) -> UsageError:
        return UsageError(f"--template {self.text!r}: {problem}")


def _part_name(part: Iterable[tuple[str, str]], series: Mapping[str, Any]) -> str:
    texts = []
    for literal, name in part:
        texts.append(literal)
        if name:
            texts.append(_field_text(name, series.get(name)))
    return safe_name("".join(texts).strip(_EDGES)) or _EMPTY


def _field_text(name: str, value: Any) -> str:
    text = "" if value is None else str(value)
    safe = safe_name(text)
    if name in _IDENTIFIERS and safe != text:
        safe = f"{safe}~{_digest(text)}"
    return safe


def safe_name(text: str) -> str:
    """Return a text as a name that each file system accepts; "" if nothing of it is left.

    >>> [safe_name(text) for text in ("CHEST/ABD  w/o", "../x", "con.1", " . ")]
    ['CHEST_ABD w_o', '_x', '_con.1', '']
    """
    normal = unicodedata.normalize("NFC", text)
    replaced = "".join("_" if c in _FORBIDDEN or not c.isprintable() else c for c in normal)
    name = " ".join(replaced.split()).strip(" .")
    while len(name.encode()) > _MAX_NAME_BYTES:
        name = name[:-1].rstrip(" .")
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def file_names(members: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each member of a zip with the name of its file; no two names are equal in any case."""
    taken: set[str] = set()
    for member in members:
        stem = safe_name(PurePosixPath(member).name).removesuffix(SUFFIX) or _EMPTY
        name, number = f"{stem}{SUFFIX}", 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}{SUFFIX}"
        taken.add(name.casefold())
        yield member, name


def unique_folders(folder: str, series_instance_uid: str) -> Iterator[str]:
    """Yield names for the folder of a Series, in the order in which they are tried."""
    yield folder
    yield f"{folder}-{series_instance_uid.replace('.', '')[-6:]}"
    yield f"{folder}-{_digest(series_instance_uid)}"
    yield f"{folder}-{series_instance_uid}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
