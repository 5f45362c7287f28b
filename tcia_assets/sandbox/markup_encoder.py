"""What the server's encoder (OWASP ESAPI) makes of a text in XML and HTML: it alters data.

A text is first "canonicalised", that is decoded: HTML entities, percent and JavaScript escapes. A
text that seems to be encoded twice, or in two ways, is refused, and the server's formatter then
ends the document where it stands. What is left is encoded: all but letters, digits and `,.-_ `.
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import codepoint2name

_SAFE = re.compile(r"[^A-Za-z0-9,.\-_ ]")


class SeemsEncodedTwice(Exception):
    """The encoder refuses the text; the document ends here."""


def encoded(text: str) -> str:
    """The text as it stands in XML and HTML.

    >>> encoded("P4^P112, Gated, 10.0%"), encoded("30%DELAY"), encoded("Fußweg & Co")
    ('P4&#x5e;P112, Gated, 10.0&#x25;', '30&THORN;LAY', 'Fu&szlig;weg &amp; Co')
    """
    return _SAFE.sub(lambda found: _entity(found[0]), canonical(text))


def canonical(text: str) -> str:
    r"""The text with all escapes resolved.

    >>> canonical("a&lt;b"), canonical("C:\\data")
    ('a<b', 'C:data')

    Raises:
        SeemsEncodedTwice: more than one decoder, or one more than once, found something to do.
    """
    rounds, last, mixed = 0, None, 0
    while True:
        clean = True
        for decode in (html.unescape, _unpercent, _unjavascript):
            decoded = decode(text)
            if decoded != text:
                mixed += last not in {None, decode}
                rounds += clean
                last, clean, text = decode, False, decoded
        if clean:
            break
    if rounds > 1 or mixed:
        raise SeemsEncodedTwice(text)
    return text


def _unpercent(text: str) -> str:
    return re.sub("%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), text)


_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|([0-3]?[0-7]{1,2})|(.))", re.DOTALL)


def _unjavascript(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        hexadecimal, octal, other = found[1] or found[2], found[3], found[4]
        if hexadecimal:
            return chr(int(hexadecimal, 16))
        return chr(int(octal, 8)) if octal else _ESCAPES.get(other, other)

    return _ESCAPE.sub(plain, text)


def _entity(character: str) -> str:
    code = ord(character)
    if code in codepoint2name:
        return f"&{codepoint2name[code]};"
    is_control = unicodedata.category(character) == "Cc" and character not in "\t\n\r"
    return "&#xfffd;" if is_control else f"&#x{code:x};"
