"""Write text from a source into Markdown: nothing in it becomes markup, a link or a mention."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

NOT_STATED = "**not stated**"

# Addresses that mean the same in Markdown, YAML and BibTeX.
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9/:_;.~?&=+,@%-]*)?")


def is_plain_url(text: str) -> bool:
    """Return whether a text is an address that needs no escaping in Markdown, YAML or BibTeX."""
    return bool(_URL.fullmatch(text))


def one_line(value: Any) -> Any:
    """Return a text without line breaks, control characters and surrogates; other values as is."""
    if not isinstance(value, str):
        return value
    # Letters of right-to-left scripts stay; characters that override the direction are removed.
    removed = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    kept = (" " if unicodedata.category(c) in removed else c for c in value)
    return " ".join("".join(kept).split())


def markdown(text: str) -> str:
    """Return a text as one line of Markdown that shows exactly the text, also in a table's cell."""
    escaped = re.sub(r"([\\`*_\[\]~|$^])", r"\\\1", one_line(text))
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        escaped = escaped.replace(character, entity)
    # Some renderers turn a bare address into a link, and @name into a mention.
    return escaped.replace("://", "&#58;//").replace("@", "&#64;").replace("www.", "www&#46;")


def markdown_link(text: str, url: str) -> str:
    """Return a link in Markdown; only the text if `url` is "".

    Args:
        text: Any text.
        url: An address for which `is_plain_url` is true, or "".
    """
    return f"[{markdown(text)}](<{url}>)" if url else markdown(text)


def markdown_license(name: str, uri: str) -> str:
    """Return a licence in Markdown, from its name and address; either may be ""."""
    if is_plain_url(uri):
        return markdown_link(name or uri, uri)
    return markdown(f"{name} ({uri})" if name and uri else name or uri) or NOT_STATED


def markdown_table(records: Sequence[Mapping[str, str]]) -> str:
    """Return a table whose cells are Markdown; columns of numbers are aligned to the right."""
    if not records:
        return ""
    head = list(records[0])
    is_number = {name: all(record[name][:1].isdigit() for record in records) for name in head}
    rule = ["---:" if is_number[name] else "---" for name in head]
    lines = [head, rule, *([record[name] for name in head] for record in records)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fenced(text: str, language: str) -> str:
    """Return a text in a fence that is longer than any fence in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}\n"
