"""What can be made to go wrong, on request.

What belongs here: which faults there are, and for which request each is due. What does not: doing
them, which is `handlers.py` (rows), `zip_stream.py` (archives) and `app.py` (the connection).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tcia_assets.errors import UnknownName, UsageError

CONNECTION = {
    "status": "answers with `status`, `body` and, where given, Retry-After: `retry_after`",
    "html": "answers 200 with an HTML page",
    "empty": "answers 200 with no byte",
    "no_data": "answers 500 'No data found.', as getUpdatedSeries is reported to do",
    "hang": "waits `seconds` before it answers",
    "drip": "sends one byte every `seconds`",
    "reset": "resets the connection after `after_bytes`",
    "unterminated": "closes the connection after `after_bytes`, without the last chunk",
    "cut": "sends `after_bytes` of the body as if that were all",
    "cut_after_comma": "as `cut`, but right after the last comma before that place",
}
ROWS = {
    "wrong_count": "ImageCount and ObjectCount are larger by `images`",
    "ignored_filter": "all rows, though a filter was sent",
    "renamed_column": "`column` arrives under the name `value`",
    "duplicate_rows": "every row twice",
    "bad_value": "`column` of the first row is the text `value`",
    "latin1": "the body is ISO-8859-1",
}
ARCHIVES = {
    "zip_short": "a valid zip without the last `images` objects and without MD5s",
    "zip_last_cut": "a valid zip whose last object is cut short, with the right CRC; no MD5s",
    "zip_empty": "the 22 bytes of a zip without entries",
    "zip_license_only": "a valid zip with an empty LICENSE and nothing else",
    "zip_flipped_byte": "one byte of a compressed object is another",
    "zip_wrong_md5": "md5hashes.csv disagrees for one object; without effect where there is none",
    "zip_trailing_bytes": "bytes follow the end of the zip",
    "zip_traversal": "an entry named ../outside.dcm",
    "zip_absolute": "an entry named /tmp/outside.dcm",
    "zip_drive": "an entry named C:\\outside.dcm",
    "zip_duplicate": "two entries of one name",
    "zip_symlink": "an entry that is a symbolic link to /etc/passwd",
    "zip_bomb": "an entry of 1 GiB of zeros",
    "zip_many": "a million entries",
    "zip_nested": "an entry that is a zip",
}
KINDS = CONNECTION | ROWS | ARCHIVES


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, for the next `times` requests that it fits (0: for all).

    `endpoint` is our name of it, "" any; so are `dialect`, `series` (a UID) and `collection`, the
    values that the request has to send. The rest are the kind's own settings; see `KINDS`.
    """

    kind: str
    endpoint: str = ""
    times: int = 1
    dialect: str = ""
    series: str = ""
    collection: str = ""
    status: int = 503
    retry_after: str = ""
    body: str = "<html><body><h1>Service Temporarily Unavailable</h1></body></html>"
    content_type: str = "text/html"
    after_bytes: int = 1000
    seconds: float = 1.0
    images: int = 1
    column: str = "ImageCount"
    value: str = "twelve"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("fault", self.kind, KINDS)

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Self:
        """A fault from its JSON."""
        known = {field.name for field in fields(cls)}
        for name in settings:
            if name not in known:
                raise UnknownName("setting of a fault", name, known)
        if "kind" not in settings:
            raise UsageError(f"a fault needs a kind, one of {', '.join(KINDS)}")
        return cls(**settings)

    def fits(self, dialect: str, endpoint: str, values: dict[str, str], *, answers: str) -> bool:
        """Whether a request is one that this fault can spoil; `answers` is what its body is."""
        if (self.kind in ARCHIVES and answers != "zip") or (
            self.kind in ROWS and answers != "rows"
        ):
            return False
        wanted = [
            (self.dialect, dialect),
            (self.endpoint, endpoint),
            (self.series, values.get("SeriesInstanceUID")),
            (self.collection, values.get("Collection")),
        ]
        return all(mine in {"", theirs} for mine, theirs in wanted)


class Faults:
    """The faults that are due; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: list[tuple[Fault, int]] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._due += [(fault, fault.times) for fault in faults]

    def clear(self) -> None:
        with self._lock:
            self._due = []

    def take(
        self, dialect: str, endpoint: str, values: dict[str, str], *, answers: str
    ) -> Fault | None:
        """The first fault that fits the request; each is taken as often as its `times` say."""
        if not self._due:
            return None
        with self._lock:
            for at, (fault, left) in enumerate(self._due):
                if fault.fits(dialect, endpoint, values, answers=answers):
                    self._due[at : at + 1] = [] if left == 1 else [(fault, max(left - 1, 0))]
                    return fault
        return None

    def __len__(self) -> int:
        return len(self._due)

    def pending(self) -> Iterable[dict[str, Any]]:
        """What is still due, with how often as `times`."""
        return [{**asdict(fault), "times": left} for fault, left in self._due]
