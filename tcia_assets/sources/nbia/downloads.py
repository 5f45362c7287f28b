"""Write the body of a reply to a file: hashed, limited in size, and only if it is such a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain

from tcia_assets.errors import TooLarge, UnknownReply, UnreadableReply
from tcia_assets.sources import Target, counting
from tcia_assets.sources.http import text
from tcia_assets.sources.nbia.request import Request

# What an endpoint returns: its name, and the bytes at a certain place of each such file.
_SIGNATURES = {
    "zip": ("zip", 0, b"PK"),
    "dicom": ("DICOM", 128, b"DICM"),
    "manifest": ("manifest", 0, b"downloadServerUrl="),
}
FILES = tuple(_SIGNATURES)


def save(chunks: Iterator[bytes], request: Request, target: Target) -> str:
    """Write the chunks to the target; returns the SHA-256 of what was written.

    Raises:
        UnknownReply: There are no bytes.
        UnreadableReply: The first chunk is not the beginning of such a file; nothing is written.
        TooLarge: There are more than `max_bytes`.
    """
    digest, written = hashlib.sha256(), 0
    first = next(chunks, b"")
    _check_signature(first, request)
    with counting(target.on_bytes) as count, target.path.open("wb") as file:
        for chunk in chain([first], chunks):
            digest.update(chunk)
            written += file.write(chunk)
            count(len(chunk))
            del chunk  # as its sender does: chunks are large
            _check_size(written, target.max_bytes, request)
    return digest.hexdigest()


def _check_size(written: int, max_bytes: int | None, request: Request) -> None:
    if max_bytes is not None and written > max_bytes:
        problem = f"{request.name}: more than {max_bytes} bytes, its upper limit"
        raise TooLarge(problem, url=request.url)


def _check_signature(first: bytes, request: Request) -> None:
    noun, place, signature = _SIGNATURES[request.endpoint.returns]
    if first.startswith(signature, place):
        return
    if not first:
        problem = f"{request.name}: zero bytes where a {noun} was expected"
        raise UnknownReply(problem, url=request.url)
    problem = f"{request.name}: not a {noun}"
    raise UnreadableReply(problem, url=request.url, excerpt=text.excerpt(first))
