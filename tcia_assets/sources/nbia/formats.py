"""The archive's CSV, XML and HTML, as its servers really write them -> rows of text.

What belongs here: the habits of these three formats. What does not: types (`wire.py`), and JSON,
which needs no help. Each raises ValueError, with the problem in words, where a body is cut off.
None of them can tell an empty text from a missing one: both are absent from the row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from html.entities import html5
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

Row = dict[str, str]


def decode(body: bytes) -> str:
    """UTF-8, with or without a byte order mark; else Latin-1, which is what the archive stores."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def beginning(body: bytes) -> str:
    """The first 200 characters of a body on one line, for an error."""
    return " ".join(decode(body[:800]).split())[:200]


def rows_in(body: str, form: str, columns: tuple[str, ...]) -> list[Row]:
    """The rows of a body in that format; `columns` are those that the endpoint declares.

    Raises ValueError, with the problem in words, where the body is not whole or not of that format.
    """
    readers: dict[str, Callable[[str, tuple[str, ...]], list[Row]]] = {
        "csv": _csv_lines if len(columns) == 1 else _csv,
        "xml": _xml,
        "html": _html,
    }
    return readers[form](body, columns)


def _rows(lines: Iterable[list[str]]) -> list[Row]:
    """The lines after the first, which names their fields."""
    numbered = enumerate(lines, start=1)
    _, head = next(numbered, (0, []))
    if not head or len(set(head)) < len(head):
        raise ValueError(f"no names of columns, or one twice: {str(head)[:80]}")
    rows = []
    for number, line in numbered:
        if len(line) != len(head):
            raise ValueError(f"row {number} has {len(line)} fields where {len(head)} are named")
        rows.append({name: value for name, value in zip(head, line, strict=True) if value})
    return rows


# --- CSV ----------------------------------------------------------------------------------------


def _csv_lines(body: str, columns: tuple[str, ...]) -> list[Row]:
    r"""One value a line: the server quotes and escapes nothing in a list of one column.

    >>> _csv_lines('Manufacturer\nCMS, Inc.\n\n"GE Healthcare"\n', ("Manufacturer",))
    [{'Manufacturer': 'CMS, Inc.'}, {}, {'Manufacturer': '"GE Healthcare"'}]
    """
    _demand_end(body)
    head, *lines = body[:-1].split("\n")
    if head.strip('"') != columns[0]:
        raise ValueError(f"the CSV begins with {head[:80]!r} where {columns[0]!r} was expected")
    return [{columns[0]: line} if line else {} for line in lines]


def _csv(body: str, _columns: tuple[str, ...]) -> list[Row]:
    _demand_end(body)
    try:
        return _rows(csv.reader(_mended(body), strict=True))
    except csv.Error as error:
        raise ValueError(f"the CSV is broken: {error}") from None


def _demand_end(body: str) -> None:
    if not body.endswith("\n"):
        raise ValueError("the CSV is cut off: its last line has no end")


def _mended(body: str) -> Iterator[str]:
    r"""The lines of a CSV, without the comma that a null in the first column leaves in quotes.

    >>> list(_mended('"a","b"\n","","5"\n'))
    ['"a","b"\n', '"","5"\n']
    """
    in_quotes = False
    for line in io.StringIO(body, newline="\n"):
        mended = line if in_quotes else re.sub(r'^",(?="",")', "", line)
        in_quotes ^= mended.count('"') % 2 == 1
        yield mended


# --- XML and HTML -------------------------------------------------------------------------------

# XML knows five entities; the server's encoder writes HTML's.
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)(\w+;)")


def _xml(body: str, _columns: tuple[str, ...]) -> list[Row]:
    # The server declares no entities of its own: whoever does wants to be expanded into gigabytes.
    if "<!DOCTYPE" in body:
        raise ValueError("the XML has a document type, which the archive's has not")
    try:
        root = ET.fromstring(_ENTITY.sub(_numbered, body))  # noqa: S314 - see above
    except ET.ParseError as error:
        cut = "" if body.rstrip().endswith("</Results>") else "cut off or "
        raise ValueError(f"the XML is {cut}not well-formed ({error})") from None
    if root.tag != "Results":
        raise ValueError(f"the XML holds {root.tag[:80]!r} where 'Results' were expected")
    return [{cell.tag: cell.text for cell in row if cell.text} for row in root]


def _numbered(entity: re.Match[str]) -> str:
    """An entity of HTML as XML has it, by number."""
    return "".join(f"&#{ord(c)};" for c in html5.get(entity[1], "")) or entity[0]


def _html(body: str, _columns: tuple[str, ...]) -> list[Row]:
    table = _Table()
    table.feed(body)
    if not table.is_whole:
        raise ValueError("the HTML table is cut off" if table.rows else "the HTML has no table")
    return _rows(table.rows)


class _Table(HTMLParser):
    """The cells of the one table that the server writes; a lone non-breaking space is a null."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.is_whole = False
        self._in_cell = False

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"} and self._in_cell:
            self._in_cell = False
            cell = self.rows[-1][-1]
            self.rows[-1][-1] = "" if cell == "\N{NO-BREAK SPACE}" else cell
        self.is_whole |= tag == "table"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data
