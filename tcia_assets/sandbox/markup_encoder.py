"""Encode a text in XML and HTML as the server's encoder (OWASP ESAPI) does, which alters data.

The encoder first decodes the text: HTML entities, percent and JavaScript escapes. It rejects a text
that seems to be encoded twice, or in two ways; the server then ends the document at that place.
Finally it encodes all characters except letters, digits and `,.-_ `.
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import codepoint2name

_UNSAFE = re.compile(r"[^A-Za-z0-9,.\-_ ]")


class DoubleEncoding(Exception):
    """The encoder rejects the text."""


def encode(text: str) -> str:
    """Return the text as the server writes it in XML and HTML.

    >>> encode("P4^P112, Gated, 10.0%"), encode("30%DELAY"), encode("Fußweg & Co")
    ('P4&#x5e;P112, Gated, 10.0&#x25;', '30&THORN;LAY', 'Fu&szlig;weg &amp; Co')
    """
    return _UNSAFE.sub(lambda found: _entity(found[0]), decode(text))


def decode(text: str) -> str:
    r"""Return the text with all escapes decoded.

    >>> decode("a&lt;b"), decode("C:\\data")
    ('a<b', 'C:data')

    Raises:
        DoubleEncoding: Two decoders changed the text, or one changed it twice.
    """
    rounds, last, mixed = 0, None, 0
    while True:
        clean = True
        for decoder in (html.unescape, _decode_percent, _decode_javascript):
            decoded = decoder(text)
            if decoded != text:
                mixed += last not in {None, decoder}
                rounds += clean
                last, clean, text = decoder, False, decoded
        if clean:
            break
    if rounds > 1 or mixed:
        raise DoubleEncoding(text)
    return text


def _decode_percent(text: str) -> str:
    return re.sub("%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), text)


_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|([0-3]?[0-7]{1,2})|(.))", re.DOTALL)


def _decode_javascript(text: str) -> str:
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
