"""What a page says and where it leads, for tests."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from typing import Any

# Elements without an end.
_VOID = {"meta", "link", "img", "input", "br", "col", "path", "rect", "circle"}


class Page(HTMLParser):
    """The parsed elements of a page: tag and attributes of each, and the text that people read."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        assert self.open and self.open[-1] == tag, f"</{tag}> does not end {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts)).replace("\u202f", " ")

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def links(self) -> list[str]:
        return [attributes["href"] for attributes in self.all("a")]


def rows_of(script: bytes | str) -> list[dict[str, Any]]:
    """The rows that a script of rows hands to a page."""
    text = script.decode("ascii") if isinstance(script, bytes) else script
    match = re.fullmatch(r'"use strict";catalogue\.rows\("([A-Za-z0-9+/=]*)"\);\n', text)
    assert match is not None, text[:200]
    columns = json.loads(zlib.decompress(base64.b64decode(match[1]), wbits=31))
    values = {
        name: packed["values"]
        if "values" in packed
        else [None if at < 0 else packed["words"][at] for at in packed["places"]]
        for name, packed in columns.items()
    }
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
