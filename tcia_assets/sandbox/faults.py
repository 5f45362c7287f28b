"""Faults that the sandbox produces on request.

This module declares the faults and which requests each applies to. Their effects are in
`transport.py` (connection), `row_faults.py` and `series_zip.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tcia_assets.errors import UnknownName, UsageError

CONNECTION = {
    "status": "replies with `status`, `body` and, if given, Retry-After: `retry_after`",
    "html": "replies 200 with an HTML page",
    "empty": "replies 200 with an empty body",
    "no_data": "replies 500 'No data found.', as getUpdatedSeries is reported to do",
    "hang": "waits `seconds` before it replies",
    "drip": "sends one byte every `seconds`",
    "reset": "resets the connection after `after_bytes`",
    "unterminated": "closes the connection after `after_bytes`, without the last chunk",
    "cut": "sends `after_bytes` of the body as if they were complete",
    "cut_after_comma": "as `cut`, but ends after the last comma within `after_bytes`",
}
ROWS = {
    "wrong_count": "ImageCount and ObjectCount are larger by `images`",
    "ignored_filter": "returns all rows, although a filter was sent",
    "renamed_column": "`column` is named `value`",
    "duplicate_rows": "every row twice",
    "null_row": "a row without any value follows the others",
    "bad_value": "`column` of the first `rows` rows is the text `value`",
    "latin1": "the body is ISO-8859-1",
}
ARCHIVES = {
    "zip_short": "a valid zip without the last `images` objects and without MD5s",
    "zip_last_cut": "a valid zip whose last object is cut short, with the right CRC; no MD5s",
    "zip_no_md5s": "a valid zip with all objects, but without md5hashes.csv",
    "zip_empty": "the 22 bytes of a zip without entries",
    "zip_license_only": "a valid zip with an empty LICENSE and nothing else",
    "zip_flipped_byte": "one byte of a compressed object is changed",
    "zip_wrong_md5": "md5hashes.csv is wrong for one object; no effect on a zip without it",
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
    """A fault for the next `times` requests that match (0: for all of them).

    A request matches if it has the same `endpoint` (our name of it), `dialect`, `series` (a UID)
    and `collection`; "" matches any. The other fields are settings of the kind; see `KINDS`.
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
    rows: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("fault", self.kind, KINDS)

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Self:
        """Return the fault that this JSON object describes.

        Raises:
            UnknownName: A setting or the kind does not exist.
            UsageError: There is no kind.
        """
        known = {field.name for field in fields(cls)}
        for name in settings:
            if name not in known:
                raise UnknownName("setting of a fault", name, known)
        if "kind" not in settings:
            raise UsageError(f"a fault needs a kind, one of {', '.join(KINDS)}")
        return cls(**settings)

    def matches(self, dialect: str, endpoint: str, values: dict[str, str], *, returns: str) -> bool:
        """Return whether the fault applies to a request; `returns` as of `Endpoint`."""
        if self.kind in ARCHIVES and returns != "zip":
            return False
        if self.kind in ROWS and returns != "rows":
            return False
        wanted = [
            (self.dialect, dialect),
            (self.endpoint, endpoint),
            (self.series, values.get("SeriesInstanceUID")),
            (self.collection, values.get("Collection")),
        ]
        return all(own in {"", sent} for own, sent in wanted)


class Faults:
    """The pending faults; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[tuple[Fault, int]] = []

    def add(self, *faults: Fault) -> None:
        """Add faults; earlier ones apply first."""
        with self._lock:
            self._pending += [(fault, fault.times) for fault in faults]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._pending = []

    def take(
        self, dialect: str, endpoint: str, values: dict[str, str], *, returns: str
    ) -> Fault | None:
        """Return the first fault that matches the request, and count down its `times`."""
        if not self._pending:
            return None
        with self._lock:
            for at, (fault, left) in enumerate(self._pending):
                if fault.matches(dialect, endpoint, values, returns=returns):
                    self._pending[at : at + 1] = [] if left == 1 else [(fault, max(left - 1, 0))]
                    return fault
        return None

    def __len__(self) -> int:
        return len(self._pending)

    def pending(self) -> Iterable[dict[str, Any]]:
        """Return the pending faults as JSON objects; `times` is what is left."""
        return [{**asdict(fault), "times": left} for fault, left in self._pending]
