"""Faults of the buckets: listings and objects that are not what is stored."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.idc.stored_objects import StoredFiles, StoredObject, StoredObjects

Objects = StoredObjects | StoredFiles

_ENTITIES = """<!DOCTYPE lies [
<!ENTITY a "lies lies lies lies lies lies lies lies lies lies">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">
<!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;"><!ENTITY g "&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;">
]>
"""
_OTHER_KEY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Item:
    """An object in a listing; `etag` with its quotes, "" for none."""

    key: str
    size: int
    etag: str
    series: Objects
    stored: StoredObject


@dataclass(frozen=True)
class Page:
    """A page of a listing.

    Args:
        items: Its objects.
        token: For the next page; "" for none.
        more: Whether it says that there are more, where that is not what the token says.
        prolog: What stands before its root element.
    """

    items: list[Item]
    token: str = ""
    more: bool = False
    prolog: str = ""

    @property
    def is_truncated(self) -> bool:
        """Whether it says that there are more objects."""
        return self.more or bool(self.token)


@dataclass(frozen=True)
class SentObject:
    """What is sent for an object; `etag` with its quotes, "" for none."""

    body: bytes
    etag: str
    headers: tuple[tuple[str, str], ...] = ()


def page_with_fault(fault: Fault, page: Page, first: list[Item], prefix: str) -> Page:
    """Return a page of a listing, changed by the fault.

    Args:
        fault: The fault.
        page: The page.
        first: The objects of the first page.
        prefix: What the keys begin with.
    """
    if fault.kind in CONTENTS or fault.kind.startswith("etag_"):
        return replace(page, items=[_item_with_fault(fault, each) for each in page.items])
    items, kind = page.items, fault.kind
    changed: dict[str, Callable[[], Page]] = {
        "list_short": lambda: replace(page, items=items[: -fault.images or None]),
        "list_one_page": lambda: replace(page, token=""),
        "list_empty": lambda: Page([]),
        "list_duplicate": lambda: replace(page, items=[*items[:1], *items]),
        "list_endless": lambda: replace(page, items=first, token=_another_token(page)),
        "list_no_token": lambda: replace(page, token="", more=True),
        "list_extra": lambda: replace(page, items=[*items, *_extra(items, prefix)]),
        "list_wrong_size": lambda: replace(
            page, items=[replace(each, size=each.size + 1) for each in items[:1]] + items[1:]
        ),
        "list_foreign_key": lambda: replace(
            page, items=[replace(each, key="../../outside.dcm") for each in items[:1]] + items[1:]
        ),
        "list_folder": lambda: replace(
            page, items=[replace(each, key=prefix, size=0) for each in items[:1]] + items
        ),
        "list_entities": lambda: replace(page, prolog=_ENTITIES),
    }
    return changed[kind]() if kind in changed else page


def object_with_fault(fault: Fault | None, series: Objects, stored: StoredObject) -> SentObject:
    """Return what is sent for an object, changed by the fault."""
    body, kind = series.body(stored), fault.kind if fault else ""
    sent = SentObject(body, f'"{series.etag(stored)}"')
    if fault and (kind in CONTENTS or kind.startswith("etag_")):
        return _object_with_content(fault, series, stored)
    half = len(body) // 2
    changed: dict[str, Callable[[], SentObject]] = {
        "object_short": lambda: replace(sent, body=body[:-1]),
        "object_long": lambda: replace(sent, body=body + b"?"),
        "object_flipped": lambda: replace(
            sent, body=body[:half] + bytes([body[half] ^ 0x55]) + body[half + 1 :]
        ),
        "object_other": lambda: _other_object(series, stored),
        "object_gzip": lambda: replace(
            sent, body=gzip.compress(body, 1, mtime=0), headers=(("content-encoding", "gzip"),)
        ),
        "length_wrong": lambda: replace(sent, headers=(("content-length", str(len(body) + 100)),)),
    }
    return changed[kind]() if kind in changed else sent


def _item_with_fault(fault: Fault, item: Item) -> Item:
    sent = _object_with_content(fault, item.series, item.stored)
    return replace(item, size=len(sent.body), etag=sent.etag)


def _object_with_content(fault: Fault, series: Objects, stored: StoredObject) -> SentObject:
    """Return an object as a fault makes it that is the same in listings and replies."""
    body, etag = series.body(stored), series.etag(stored)
    if fault.kind in CONTENTS:
        body = CONTENTS[fault.kind](series, stored)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    etags = {
        "etag_wrong": f'"{etag[::-1]}"',
        "etag_unquoted": etag,
        "etag_in_parts": f'"{etag}-2"',
        "etag_missing": "",
    }
    return SentObject(body, etags.get(fault.kind, f'"{etag}"'))


def _other_object(series: Objects, stored: StoredObject) -> SentObject:
    """Return the next object of the Series."""
    other = next(series.after(stored.key), None) or next(series.after())
    return SentObject(series.body(other), f'"{series.etag(other)}"')


def _of_other_series(series: Objects, stored: StoredObject) -> bytes:
    uid = series.values(stored).get("SeriesInstanceUID", "PAR1").encode()
    digit = b"1" if uid.endswith(b"2") else b"2"
    return series.body(stored).replace(uid, uid[:-1] + digit)


def _with_same_uid(series: Objects, _stored: StoredObject) -> bytes:
    return series.body(next(series.after()))


def _not_dicom(series: Objects, stored: StoredObject) -> bytes:
    return bytes(len(series.body(stored)))


# Bytes of an object that its MD5 and the listing agree with, so that only a header gives it away.
CONTENTS: dict[str, Callable[[Objects, StoredObject], bytes]] = {
    "other_series": _of_other_series,
    "same_object": _with_same_uid,
    "not_dicom": _not_dicom,
}


def _extra(items: Sequence[Item], prefix: str) -> list[Item]:
    return [replace(each, key=f"{prefix}{_OTHER_KEY}.dcm") for each in items[:1]]


def _another_token(page: Page) -> str:
    """Return a token for a page that follows all that there are."""
    last = page.items[-1].key if page.items else ""
    return base64.b64encode(f"after {last}".encode()).decode()
