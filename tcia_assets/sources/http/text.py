"""Text of a body whose encoding is not certain, and excerpts of it for error messages."""

from __future__ import annotations


def decode(body: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark; if it is not UTF-8, Latin-1."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def excerpt(body: bytes) -> str:
    """Return the first 200 characters of a body on one line, for an error message."""
    return " ".join(decode(body[:800]).split())[:200]
