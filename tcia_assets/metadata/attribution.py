"""Whose data the images are: licences and citations, written next to the images.

What belongs here: which licences and DOIs the images on disk have, as a table, and the files that
pass this on: `LICENSES.md`, `CITATION.cff` and `CITATIONS.bib`. What does not: which licences may
be fetched (`selection.py`).

The archive's policy binds whoever passes its data on. All of it comes from the warehouse; what the
archive did not tell is said to be untold, never guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import yaml

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import StorageError
from tcia_assets.metadata.selection import short_license
from tcia_assets.store.files import publish_text
from tcia_assets.store.warehouse import Warehouse

POLICY = "https://www.cancerimagingarchive.net/data-usage-policies-and-restrictions/"

SCHEMA = pa.schema(
    [
        pa.field("Collection", pa.string(), nullable=False),
        pa.field("LicenseName", pa.string()),
        pa.field("LicenseURI", pa.string()),
        pa.field("DataDescriptionURI", pa.string()),
        pa.field("series", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)

_ARCHIVE = "The Cancer Imaging Archive"
_ARCHIVE_URL = "https://www.cancerimagingarchive.net"
_AUTHORS = "The archive's interface names no authors; the page of the data names them."

# CFF's own rule of what a DOI is.
_DOI = re.compile(
    r"(?:(?:https?://)?(?:dx[.])?doi[.]org/|doi:)?"
    r"(10[.][0-9]{4,9}(?:[.][0-9]+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+)",
    re.IGNORECASE,
)
# Addresses that mean the same in Markdown, YAML and BibTeX.
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9/:_;.~?&=+,@%-]*)?")
_SPDX = re.compile(r"cc-by(-nc)?(-nd|-sa)?-([12][.]0|2[.]5|3[.]0|4[.]0)|cc0-1[.]0")

_LICENSES = """\
# Licences: {title}

{total} from [{archive}]({archive_url}).

| Collection | Licence | Data to be cited | Series | Bytes |
| --- | --- | --- | ---: | ---: |
{rows}

{gaps}## What the archive asks of whoever uses or passes on these images

The archive's [data usage policy]({policy}) holds:

- Do not try to identify or to contact the participants, neither from these data alone nor together
  with others.
- Name the datasets and the archive in each talk, publication or other disclosure that rests on
  them, and cite each dataset by its DOI; `CITATIONS.bib` and `CITATION.cff` list them.
- Whoever passes the data on, or gives access to them, attributes each dataset, links to that
  policy, and asks the same of those who receive them.
- The licence of each dataset holds beside it; one with NonCommercial (NC) in its name forbids
  commercial use.
"""


# --- The table ------------------------------------------------------------------------------------


def attribution(warehouse: Warehouse, collection: str = "") -> pa.Table:
    """Licences and DOIs of the Series with a zip on disk, with their number and the zips' bytes.

    One row per Collection, LicenseName, LicenseURI and DataDescriptionURI, as `SCHEMA` says; null
    where the archive tells none. Of one Collection, or of all.
    """
    rows = warehouse.query(
        """
        SELECT Collection, LicenseName, LicenseURI, DataDescriptionURI,
               count(*)::BIGINT AS series, coalesce(sum(archive_bytes), 0)::BIGINT AS bytes
        FROM (
            SELECT Collection, a.archive_bytes,
                   -- What the archive says now; what it said then, where it lists it no more.
                   nullif(trim(if(s.first_seen_at IS NULL, a.license_name, s.LicenseName)), '')
                       AS LicenseName,
                   nullif(trim(s.LicenseURI), '') AS LicenseURI,
                   nullif(trim(if(s.first_seen_at IS NULL, a.DataDescriptionURI,
                                  s.DataDescriptionURI)), '') AS DataDescriptionURI
            FROM image_archives AS a LEFT JOIN series AS s USING (Collection, SeriesInstanceUID)
            WHERE a.path NOTNULL AND ($collection = '' OR Collection = $collection)
        )
        GROUP BY ALL ORDER BY ALL
        """,
        {"collection": collection},
    )
    return rows.cast(SCHEMA)


# --- The files ------------------------------------------------------------------------------------


def write_collection(collection: str, warehouse: Warehouse) -> bool:
    """The three files next to a Collection's zips say what is on disk; whether one changed.

    It asks for a lock of its own, so that of two runs none writes what the other knows better.

    Raises:
        StorageError: the disk refuses. Each file is as it was, or as it should be.
        Busy: another run has been writing them for ten minutes.
    """
    folder = warehouse.root / "archives" / quote(collection, safe="")
    title = f"Images of the Collection {collection}"
    with warehouse.lock(IMAGE_ARCHIVES, collection, part="attribution"):
        return write(folder, title, attribution(warehouse, collection))


def write(folder: Path, title: str, table: pa.Table, *, form: str = "as zips") -> bool:
    """The three files in a folder are those of a table such as `attribution` gives.

    Each appears whole or not at all, and is left alone where it is the same already. Where the
    table has no rows, none of them is there. `form` says of what its bytes are. Returns whether one
    changed.

    Raises:
        StorageError: the disk refuses. Each file is as it was, or as it should be.
    """
    if not table.num_rows:
        changed = [_removed(folder / name) for name in _WRITERS]
    else:
        texts = files(title, table, form=form)
        changed = [publish_text(folder / name, text) for name, text in texts.items()]
    return any(changed)


def files(title: str, table: pa.Table, *, form: str = "as zips") -> dict[str, str]:
    """The three files by name; equal tables, in any order, give equal texts."""
    facts = _Facts.of(title, table, form)
    return {name: writer(facts) for name, writer in _WRITERS.items()}


def sources(table: pa.Table) -> list[Source]:
    """What is to be cited of a table such as `attribution` gives, each once; sorted."""
    return _Facts.of("", table).sources


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path} cannot be removed: {reason}") from error
    return True


@dataclass(frozen=True)
class Source:
    """What is to be cited: a DOI, or what the archive gave in its place, and whose data it is.

    `doi` and `url` are "" where there is none; `licenses` are names, or addresses without a name.
    """

    told: str
    collections: tuple[str, ...]
    licenses: tuple[str, ...]
    series: int
    unlicensed: int

    @property
    def doi(self) -> str:
        found = _DOI.fullmatch(self.told)
        return found[1] if found else ""

    @property
    def url(self) -> str:
        if self.doi:
            # As it may stand in an address; a DOI may hold brackets and a backslash.
            return f"https://doi.org/{quote(self.doi, safe=':/_;-.()')}"
        return self.told if _URL.fullmatch(self.told) else ""

    @property
    def title(self) -> str:
        return f"{', '.join(self.collections)} ({_ARCHIVE})"

    @property
    def notes(self) -> str:
        told = [*self.licenses, *([_unlicensed(self.unlicensed)] if self.unlicensed else [])]
        return f"{_series(self.series)}; licence: {'; '.join(told)}."

    @property
    def spdx(self) -> str:
        """SPDX's name of the licence; "" where there are several, or one that it does not know."""
        return _spdx(self.licenses) if not self.unlicensed else ""


@dataclass(frozen=True)
class _Facts:
    """A table of attribution, sorted and cleaned of what has no place in one line."""

    title: str
    rows: tuple[dict[str, Any], ...]
    form: str

    @classmethod
    def of(cls, title: str, table: pa.Table, form: str = "") -> _Facts:
        rows = [{k: _line(v) for k, v in row.items()} for row in table.to_pylist()]
        ordered = sorted(rows, key=lambda row: [str(row[name]) for name in SCHEMA.names])
        return cls(_line(title), tuple(ordered), form)

    def count(self, without: str = "", unit: str = "series") -> int:
        """Series, or bytes, of all; or of those for which these are not told."""
        return sum(row[unit] for row in self.rows if not (without and _told(row, without)))

    @property
    def sources(self) -> list[Source]:
        """Each DOI once, however it is written; sorted."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            if told := row["DataDescriptionURI"]:
                doi = _DOI.fullmatch(told)
                # A DOI means the same in any case.
                groups.setdefault(doi[1].lower() if doi else told, []).append(row)
        return [_source(rows) for _, rows in sorted(groups.items())]


def _source(rows: list[dict[str, Any]]) -> Source:
    return Source(
        told=rows[0]["DataDescriptionURI"],
        collections=tuple(sorted({row["Collection"] for row in rows})),
        licenses=tuple(sorted({_told(row, "licence") for row in rows} - {""})),
        series=sum(row["series"] for row in rows),
        unlicensed=sum(row["series"] for row in rows if not _told(row, "licence")),
    )


def _told(row: dict[str, Any], what: str) -> str:
    """The licence (by its name, else its address) or the DOI of a row; "" where it has none."""
    if what == "licence":
        return row["LicenseName"] or row["LicenseURI"] or ""
    return row["DataDescriptionURI"] or ""


def _spdx(licenses: tuple[str, ...]) -> str:
    shorts = {short_license(name) for name in licenses}
    short = shorts.pop() if len(shorts) == 1 else ""
    return short.upper() if _SPDX.fullmatch(short) else ""


def _series(number: int) -> str:
    return f"{number:,} Series"


def _unlicensed(number: int) -> str:
    return f"none told for {_series(number)}"


def _line(value: Any) -> Any:
    """A text without line breaks, control characters and what cannot be encoded."""
    if not isinstance(value, str):
        return value
    # Letters of right-to-left scripts stay; what overrides the direction does not.
    dropped = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown = (" " if unicodedata.category(c) in dropped else c for c in value)
    return " ".join("".join(shown).split())


# --- Markdown -------------------------------------------------------------------------------------


def _licenses_md(facts: _Facts) -> str:
    gaps = [
        f"The archive tells no {what} for {_series(number)}: {advice}\n\n"
        for what, number, advice in _gaps(facts)
    ]
    return _LICENSES.format(
        title=markdown(facts.title),
        total=f"{_series(facts.count())}, {facts.count(unit='bytes'):,} bytes {facts.form},",
        archive=_ARCHIVE,
        archive_url=_ARCHIVE_URL,
        rows="\n".join(map(_md_row, facts.rows)),
        gaps="".join(gaps),
        policy=POLICY,
    )


def _gaps(facts: _Facts) -> Iterator[tuple[str, int, str]]:
    if number := facts.count(without="licence"):
        yield "licence", number, "ask it before you use or pass on these."
    if number := facts.count(without="DOI"):
        yield "DOI", number, "name the Collection where you cite these."


def _md_row(row: dict[str, Any]) -> str:
    source = _source([row]) if _told(row, "DOI") else None
    cells = [
        markdown(row["Collection"]),
        markdown_license(row["LicenseName"] or "", row["LicenseURI"] or ""),
        markdown_link(source.doi or source.told, source.url) if source else _UNTOLD,
        f"{row['series']:,}",
        f"{row['bytes']:,}",
    ]
    return f"| {' | '.join(cells)} |"


_UNTOLD = "**none told**"


def markdown_license(name: str, uri: str) -> str:
    """A licence by its name and address, of which either may be ""."""
    if _URL.fullmatch(uri):
        return markdown_link(name or uri, uri)
    return markdown(f"{name} ({uri})" if name and uri else name or uri) or _UNTOLD


def markdown_link(text: str, url: str) -> str:
    """A text that leads to an address, which must hold no sign of Markdown; or just the text."""
    return f"[{markdown(text)}](<{url}>)" if url else markdown(text)


def markdown(text: str) -> str:
    """A text of any kind as one line that means itself in Markdown, in a cell of a table too."""
    escaped = re.sub(r"([\\`*_\[\]~|$^])", r"\\\1", _line(text))
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        escaped = escaped.replace(character, entity)
    # No address becomes a link by itself, nobody is called by name.
    return escaped.replace("://", "&#58;//").replace("@", "&#64;").replace("www.", "www&#46;")


# --- CITATION.cff ---------------------------------------------------------------------------------


def _citation_cff(facts: _Facts) -> str:
    sources = facts.sources
    untold = [f"{_series(number)} have no {what} told" for what, number, _ in _gaps(facts)]
    card = {
        "cff-version": "1.2.0",
        "type": "dataset",
        "title": facts.title,
        "message": "Please cite each dataset under `references`, by its DOI where it has one, and "
        f"keep to the archive's data usage policy: {POLICY}",
        "abstract": "; ".join([f"{_series(facts.count())} from {_ARCHIVE}", *untold]) + ".",
        "authors": [_publisher()],
        "url": _ARCHIVE_URL,
    }
    if spdx := _spdx(tuple({_told(row, "licence") for row in facts.rows})):
        card["license"] = spdx
    if sources:
        card["identifiers"] = [_identifier(source) for source in sources]
        card["references"] = [_reference(source) for source in sources]
    # PyYAML knows how to quote whatever the archive may have sent.
    return yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100)


def _publisher() -> dict[str, str]:
    return {"name": _ARCHIVE, "website": _ARCHIVE_URL}


def _identifier(source: Source) -> dict[str, str]:
    kind = "doi" if source.doi else "url" if source.url else "other"
    about = f"Data of {', '.join(source.collections)}"
    return {"type": kind, "value": source.doi or source.url or source.told, "description": about}


def _reference(source: Source) -> dict[str, Any]:
    reference: dict[str, Any] = {
        "type": "data",
        "title": source.title,
        "authors": [_publisher()],
        "publisher": _publisher(),
        "notes": f"{source.notes} {_AUTHORS}",
    }
    if source.doi:
        reference["doi"] = source.doi
    if source.url:
        reference["url"] = source.url
    else:
        reference["identifiers"] = [_identifier(source)]
    if source.spdx:
        reference["license"] = source.spdx
    return reference


# --- CITATIONS.bib --------------------------------------------------------------------------------

# Braces count in BibTeX even where a backslash stands before them.
_TEX = {
    "\\": r"{\textbackslash}",
    "{": r"{\textbraceleft}",
    "}": r"{\textbraceright}",
    "^": r"{\textasciicircum}",
    "~": r"{\textasciitilde}",
    "@": r"{@}",
} | {character: f"\\{character}" for character in "&%$#_"}


def _citations_bib(facts: _Facts) -> str:
    head = [f"% The archive's data usage policy: {POLICY}", f"% {_AUTHORS}"]
    head += [f"% It tells no {what} for {_series(number)}." for what, number, _ in _gaps(facts)]
    entries, keys = [], set[str]()
    for source in facts.sources:
        key = _key(source, keys)
        keys.add(key.lower())
        entries.append(_entry(key, source))
    return "\n".join(head) + "\n" + "".join(entries)


def _key(source: Source, taken: set[str]) -> str:
    base = "tcia-" + re.sub("[^A-Za-z0-9]+", "-", source.doi or source.told).strip("-")[:80]
    number, key = 1, base
    while key.lower() in taken:
        number += 1
        key = f"{base}-{number}"
    return key


def _entry(key: str, source: Source) -> str:
    fields = {
        "title": f"{{{_tex(source.title)}}}",
        "author": f"{{{_ARCHIVE}}}",
        "publisher": _ARCHIVE,
        "note": _tex(source.notes if source.url else f"{source.told}. {source.notes}"),
    }
    if source.doi and "\\" not in source.doi:
        fields["doi"] = source.doi
    if source.url:
        fields["url"] = source.url
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"\n@misc{{{key},\n{lines}}}\n"


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


_WRITERS = {
    "LICENSES.md": _licenses_md,
    "CITATION.cff": _citation_cff,
    "CITATIONS.bib": _citations_bib,
}
