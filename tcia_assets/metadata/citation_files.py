"""Write CITATION.cff and CITATIONS.bib: what must be cited for a set of Series."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tcia_assets.metadata.citations import (
    ARCHIVE,
    ARCHIVE_URL,
    POLICY,
    Attribution,
    Citation,
    count_of_series,
    license_of,
    spdx_of,
)

# The file format demands an author.
_OWNER = "Whoever owns the imported data"
_AUTHORS = "The source lists no authors; they are on the web page of the data."


def citation_cff(attribution: Attribution) -> str:
    """Return the text of CITATION.cff, in version 1.2.0 of the Citation File Format."""
    citations = attribution.citations
    gaps = [f"no {what} stated for {count_of_series(n)}" for what, n, _ in attribution.gaps()]
    total = f"{count_of_series(attribution.total())} {attribution.from_whom}"
    content: dict[str, Any] = {
        "cff-version": "1.2.0",
        "type": "dataset",
        "title": attribution.title,
        "message": _message(attribution),
        "abstract": "; ".join([total, *gaps]) + ".",
        "authors": [_archive() if attribution.origin.has_tcia else {"name": _OWNER}],
    }
    if attribution.origin.has_tcia:
        content["url"] = ARCHIVE_URL
    if spdx := spdx_of(tuple({license_of(row) for row in attribution.rows})):
        content["license"] = spdx
    if citations:
        content["identifiers"] = [_identifier(citation) for citation in citations]
        content["references"] = [_reference(citation) for citation in citations]
    # PyYAML quotes whatever the source may have sent.
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _message(attribution: Attribution) -> str:
    cite = "Please cite each dataset under `references`, by its DOI if it has one"
    if not attribution.origin.has_tcia:
        return f"{cite}."
    return f"{cite}, and comply with the archive's data usage policy: {POLICY}"


def _archive() -> dict[str, str]:
    return {"name": ARCHIVE, "website": ARCHIVE_URL}


def _entity(name: str) -> dict[str, str]:
    return _archive() if name == ARCHIVE else {"name": name}


def _identifier(citation: Citation) -> dict[str, str]:
    kind = "doi" if citation.doi else "url" if citation.url else "other"
    value = citation.doi or citation.url or citation.uri
    return {
        "type": kind,
        "value": value,
        "description": f"Data of {citation.about}",
    }


def _reference(citation: Citation) -> dict[str, Any]:
    reference: dict[str, Any] = {
        "type": "data",
        "title": citation.title,
        "authors": [_entity(_author(citation))],
    }
    if citation.publisher:
        reference["publisher"] = _entity(citation.publisher)
    reference["notes"] = f"{citation.notes} {_how_to_cite(citation) or _AUTHORS}"
    if citation.doi:
        reference["doi"] = citation.doi
    if citation.url:
        reference["url"] = citation.url
    else:
        reference["identifiers"] = [_identifier(citation)]
    if citation.spdx:
        reference["license"] = citation.spdx
    return reference


def _author(citation: Citation) -> str:
    # The file format demands an author.
    return citation.authors or citation.publisher or citation.title


def _how_to_cite(citation: Citation) -> str:
    return f"Cite as: {citation.text}" if citation.text else ""


# Braces count in BibTeX even after a backslash.
_TEX = {
    "\\": r"{\textbackslash}",
    "{": r"{\textbraceleft}",
    "}": r"{\textbraceright}",
    "^": r"{\textasciicircum}",
    "~": r"{\textasciitilde}",
    "@": r"{@}",
} | {character: f"\\{character}" for character in "&%$#_"}


def citations_bib(attribution: Attribution) -> str:
    """Return the text of CITATIONS.bib: one entry a citation, with unique keys."""
    head = ["% What to cite."]
    if attribution.origin.has_tcia:
        head = [f"% The archive's data usage policy: {POLICY}"]
    if not all(citation.authors for citation in attribution.citations):
        head.append(f"% {_AUTHORS}")
    head += [
        f"% It states no {what} for {count_of_series(number)}."
        for what, number, _ in attribution.gaps()
    ]
    entries, keys = [], set[str]()
    for citation in attribution.citations:
        key = _key(citation, keys)
        keys.add(key.lower())
        entries.append(_entry(key, citation))
    return "\n".join(head) + "\n" + "".join(entries)


def _key(citation: Citation, taken: set[str]) -> str:
    name = re.sub("[^A-Za-z0-9]+", "-", citation.doi or citation.uri).strip("-")[:80]
    number, key = 1, f"tcia-{name}"
    while key.lower() in taken:
        number += 1
        key = f"tcia-{name}-{number}"
    return key


def _entry(key: str, citation: Citation) -> str:
    note = citation.notes if citation.url else f"{citation.uri}. {citation.notes}"
    fields = {
        "title": f"{{{_tex(citation.title)}}}",
        "author": f"{{{_tex(_author(citation))}}}",
    }
    if citation.publisher:
        fields["publisher"] = citation.publisher
    fields["note"] = _tex(" ".join(filter(None, [note, _how_to_cite(citation)])))
    if citation.doi and "\\" not in citation.doi:
        fields["doi"] = citation.doi
    if citation.url:
        fields["url"] = citation.url
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"\n@misc{{{key},\n{lines}}}\n"


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
