"""Where a file that is downloaded goes, and what was received."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """Where a file that is downloaded goes.

    Attributes:
        path: The file to write. If the download raises an error, its content is of no use; an
            OSError is about this file or `parts`, never about the network.
        max_bytes: A longer file raises TooLarge.
        on_bytes: Called with the size of each chunk that is written and, if an attempt fails, with
            everything that it wrote as one negative number. It must send no request.
        parts: A folder for what a source receives in parts. It is made if necessary, and stays: the
            next attempt uses what it proves to be right. The caller removes it.
        image_count: Number of objects that the zip must have; None if unknown.
        image_bytes: Bytes of these objects; None if unknown. A source that sees before the
            download that it has others raises UnknownReply.
    """

    path: Path
    max_bytes: int | None = None
    on_bytes: Callable[[int], None] = lambda _: None
    parts: Path | None = None
    image_count: int | None = None
    image_bytes: int | None = None


@contextmanager
def counting(on_bytes: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Report bytes as `Target.on_bytes` is to be called: all are taken back if the body fails.

    Yields:
        What is to be called with the size of each chunk that is written.
    """
    written = 0

    def count(size: int) -> None:
        nonlocal written
        written += size
        on_bytes(size)

    try:
        yield count
    except BaseException:
        if written:
            on_bytes(-written)
        raise


@dataclass(frozen=True)
class FetchedFile:
    """A file that was received completely; `sha256` is of its bytes as they are on disk."""

    size_bytes: int
    sha256: str
    requests: int
    seconds: float
