"""Tables of attribution, and readers of the files that are written from them."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from importlib import resources
from typing import Any

import bibtexparser
import jsonschema
import pyarrow as pa
import yaml
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tcia_assets.metadata.citations import SCHEMA

BY3 = "Creative Commons Attribution 3.0 Unported License"
BY3_URI = "http://creativecommons.org/licenses/by/3.0/"
NC4 = "CC BY-NC 4.0"
DOI = "10.7937/K9/TCIA.2017.3r3fvz08"


def table(*rows: tuple[Any, ...]) -> pa.Table:
    """Rows with the columns of `SCHEMA`; those that are left out at the end are null."""
    return pa.Table.from_pylist(
        [dict(zip(SCHEMA.names, row, strict=False)) for row in rows], SCHEMA
    )


FULL = table(
    ("LCTSC", BY3, BY3_URI, f"https://doi.org/{DOI}", 1200, 5000),
    ("LCTSC", BY3, BY3_URI, f"https://doi.org/{DOI.lower()}", 2, 10),
    ("LCTSC", NC4, None, "https://doi.org/10.7937/abc", 1, 10),
    ("4D-Lung", None, None, "https://wiki.example.org/x", 3, 10),
    ("4D-Lung", BY3, "see the wiki", None, 4, 10),
)


def card(text: str) -> dict[str, Any]:
    """Read a CITATION.cff, which must be valid by its schema."""
    read = yaml.safe_load(text)
    _validator().validate(read)
    assert isinstance(read, dict)
    return read


@cache
def _validator() -> jsonschema.protocols.Validator:
    place = resources.files("check_jsonschema.builtin_schemas.vendor")
    schema = json.loads((place / "citation-file-format.json").read_text(encoding="utf-8"))
    kind = jsonschema.validators.validator_for(schema)
    return kind(schema, format_checker=jsonschema.FormatChecker())


def entries(text: str) -> dict[str, dict[str, str]]:
    """The entries of a BibTeX file by key, their fields as LaTeX shows them."""
    library = bibtexparser.parse_string(text)
    assert library.failed_blocks == []
    return {
        entry.key: {
            field.key: field.value
            if field.key in {"doi", "url"}
            # Names in braces are not taken apart.
            else shown(re.sub(r"^\{(.*)\}$", r"\1", field.value))
            if field.key in {"title", "author"}
            else shown(field.value)
            for field in entry.fields
        }
        for entry in library.entries
    }


SIGNS = {"braceleft": "{", "braceright": "}", "backslash": "\\", "asciicircum": "^"}
SIGNS["asciitilde"] = "~"


def shown(tex: str) -> str:
    """What LaTeX shows of a text, in which no character may be a command."""
    parts = re.findall(r"\{\\text([a-z]+)\}|\\([&%$#_])|\{(@)\}|([^\\{}^~&%$#_@])|(.)", tex)
    assert not [part for part in parts if part[4]], tex
    return "".join(SIGNS[name] if name else sign + at + plain for name, sign, at, plain, _ in parts)


def cells(text: str) -> list[list[str]]:
    """The cells of the one table of a Markdown file, as a browser shows them."""
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    assert not [token for token in tokens if token.type.startswith("html")]
    rows: list[list[str]] = []
    for place, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"th_open", "td_open"}:
            parts = tokens[place + 1].children or []
            assert not [part for part in parts if part.type in {"html_inline", "image"}]
            rows[-1].append("".join(part.content for part in parts))
    return rows[1:]


def links(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    parts = [part for token in tokens for part in token.children or []]
    return [str(part.attrs["href"]) for part in parts if part.type == "link_open"]


HOSTILE = st.text(
    st.sampled_from(list("\\{}[]()<>|`*_~$#%&^\"'@!:;,.=-+?/\n\r\t \0\u2028\u202eéa1")),
    max_size=30,
) | st.text(max_size=20)
UNFIT = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
NASTY = [
    "a\n@misc{evil, title={x}}",
    "}\\end{document}",
    "<script>alert(1)</script>",
    "a | b \\| c",
    "[x](javascript:alert(1))",
    "![x](http://e.org/p.png)",
    "k: v\n- evil: true",
    "&lt;b&gt; &amp;",
    "www.evil.org https://evil.org a@evil.org",
    "~~a~~ `b` *c* __d__",
    "100% {sure} \\",
]


def cleaned(text: str) -> str:
    """A text reduced to one line of visible characters."""
    return " ".join(
        "".join(c if unicodedata.category(c) not in UNFIT else " " for c in text).split()
    )
