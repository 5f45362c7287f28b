"""Parse CSV, XML and HTML, as TCIA's servers really write them, into rows of text.

None of these formats distinguishes an empty text from a missing one: both are absent from the row.
JSON needs no help; types are given in `values.py`.
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


def rows_in(body: str, form: str, columns: tuple[str, ...]) -> list[Row]:
    """Parse a body.

    Args:
        body: The text.
        form: csv, xml or html.
        columns: The fields that the endpoint declares.

    Raises:
        ValueError: The body is incomplete or not in that format; the message has the position.
    """
    readers: dict[str, Callable[[str, tuple[str, ...]], list[Row]]] = {
        "csv": _csv_lines if len(columns) == 1 else _csv,
        "xml": _xml,
        "html": _html,
    }
    return readers[form](body, columns)


def _rows(lines: Iterable[list[str]]) -> list[Row]:
    """Make rows of the lines after the first, which has the names of the fields."""
    numbered = enumerate(lines, start=1)
    _, head = next(numbered, (0, []))
    if not head or len(set(head)) < len(head):
        raise ValueError(f"no column names, or one of them twice: {str(head)[:80]}")
    rows = []
    for number, line in numbered:
        if len(line) != len(head):
            raise ValueError(f"row {number} has {len(line)} fields where {len(head)} are named")
        rows.append({name: value for name, value in zip(head, line, strict=True) if value})
    return rows


# --- CSV ----------------------------------------------------------------------------------------


def _csv_lines(body: str, columns: tuple[str, ...]) -> list[Row]:
    r"""Parse a list of one column: one value per line, in which nothing is quoted or escaped.

    >>> _csv_lines('Manufacturer\nCMS, Inc.\n\n"GE Healthcare"\n', ("Manufacturer",))
    [{'Manufacturer': 'CMS, Inc.'}, {}, {'Manufacturer': '"GE Healthcare"'}]
    """
    _check_end(body)
    head, *lines = body[:-1].split("\n")
    if head.strip('"') != columns[0]:
        raise ValueError(f"the CSV begins with {head[:80]!r} where {columns[0]!r} was expected")
    return [{columns[0]: line} if line else {} for line in lines]


def _csv(body: str, _columns: tuple[str, ...]) -> list[Row]:
    _check_end(body)
    try:
        return _rows(csv.reader(_repaired(body), strict=True))
    except csv.Error as error:
        raise ValueError(f"the CSV is broken: {error}") from None


def _check_end(body: str) -> None:
    if not body.endswith("\n"):
        raise ValueError("the CSV is cut off: its last line has no end")


def _repaired(body: str) -> Iterator[str]:
    r"""Remove the comma that a null in the first column leaves inside the quotes.

    >>> list(_repaired('"a","b"\n","","5"\n'))
    ['"a","b"\n', '"","5"\n']
    """
    in_quotes = False
    for line in io.StringIO(body, newline="\n"):
        repaired = line if in_quotes else re.sub(r'^",(?="",")', "", line)
        in_quotes ^= repaired.count('"') % 2 == 1
        yield repaired


# --- XML and HTML -------------------------------------------------------------------------------

# XML knows five entities; the server's encoder writes HTML's.
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)(\w+;)")


def _xml(body: str, _columns: tuple[str, ...]) -> list[Row]:
    # The server declares no entities. A body that does may be meant to expand into gigabytes.
    if "<!DOCTYPE" in body:
        raise ValueError("the XML has a document type, which the source never sends")
    try:
        root = ET.fromstring(_ENTITY.sub(_numbered, body))  # noqa: S314 - see above
    except ET.ParseError as error:
        cut = "" if body.rstrip().endswith("</Results>") else "cut off or "
        raise ValueError(f"the XML is {cut}not well-formed ({error})") from None
    if root.tag != "Results":
        raise ValueError(f"the root of the XML is {root.tag[:80]!r}, not 'Results'")
    return [{cell.tag: cell.text for cell in row if cell.text} for row in root]


def _numbered(entity: re.Match[str]) -> str:
    """Return an HTML entity as numeric references, which XML allows."""
    return "".join(f"&#{ord(c)};" for c in html5.get(entity[1], "")) or entity[0]


def _html(body: str, _columns: tuple[str, ...]) -> list[Row]:
    table = _Table()
    table.feed(body)
    if not table.is_complete:
        raise ValueError("the HTML table is cut off" if table.rows else "the HTML has no table")
    return _rows(table.rows)


class _Table(HTMLParser):
    """Collect the cells of the server's one table; a lone non-breaking space is a null."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.is_complete = False
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
        self.is_complete |= tag == "table"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data
