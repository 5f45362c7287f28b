"""Plain text from the HTML that curators write."""

from __future__ import annotations

import re
from html.parser import HTMLParser

# Elements that begin a line of their own.
_BLOCKS = frozenset(
    {"address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figure"}
    | {"footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav"}
    | {"ol", "p", "pre", "section", "table", "tr", "ul"}
)
_HIDDEN = frozenset({"script", "style", "template", "title"})
_MOST_PARSED = 1 << 19
# A comment that does not end hides the rest.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Declarations, also those that word processors leave. A comment is removed before.
_DECLARATION = re.compile("<[!?][^<>]*>")
_UNCLOSED = re.compile(r"<(?=[^<>]*(?:<|\Z)|[^a-zA-Z/])")


def plain_text(html: str, most: int) -> str:
    """Return the text of HTML: paragraphs as lines, links with their address behind the words.

    Args:
        html: HTML, whole or a fragment, or plain text.
        most: The number of characters to return at most.

    >>> plain_text("<p>CT &amp; contours of <a href='https://x.org/1'>60 patients</a></p>", 99)
    'CT & contours of 60 patients (https://x.org/1)'
    """
    parser = _Text()
    parser.feed(_without_traps(html[:_MOST_PARSED]))
    parser.close()
    return parser.text[:most].rstrip()


def _without_traps(html: str) -> str:
    """Remove what the parser fails for, or takes quadratic time for: a server may send anything."""
    return _UNCLOSED.sub("&lt;", _DECLARATION.sub("", _COMMENT.sub("", html)))


class _Text(HTMLParser):
    """Collects the text of a document; unknown and unclosed elements are no problem."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._hidden: list[str] = []
        self._link: tuple[str, int] | None = None

    @property
    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._parts).split("\n"))
        return "\n".join(line for line in lines if line not in {"", "-"})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self._parts.append("\n- " if tag == "li" else "\n")
        elif tag in {"td", "th"}:
            self._parts.append(" ")
        elif tag in _HIDDEN:
            self._hidden.append(tag)
        elif tag == "a":
            self._link = dict(attrs).get("href") or "", len(self._parts)

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._parts.append("\n")
        elif self._hidden and tag == self._hidden[-1]:
            self._hidden.pop()
        elif tag == "a" and self._link:
            (address, begin), self._link = self._link, None
            words = "".join(self._parts[begin:]).strip()
            if re.match("https?://", address) and address not in words:
                self._parts.append(f" ({address})")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            # A line break in the source is a blank.
            self._parts.append(re.sub(r"\s+", " ", data))
