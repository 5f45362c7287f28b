"""Read a page of a bucket's listing (S3's LIST, version 2): XML from the network, not trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from tcia_assets.errors import UnreadableReply, shorten
from tcia_assets.sources.http import text

# A page has at most 1,000 objects, of a few hundred bytes each.
MAX_PAGE_BYTES = 4 << 20
_MD5 = re.compile("[0-9a-f]{32}")
# A file of this name is written. IDC's are UUIDs.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)
_SIZE = re.compile("[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a bucket.

    Attributes:
        name: Its key without the prefix.
        size_bytes: Its size.
        md5: Its MD5, in lower case; "" if its ETag is none.
    """

    name: str
    size_bytes: int
    md5: str


@dataclass(frozen=True)
class Page:
    """Some objects of a listing, and the token with which it continues; "" at its end."""

    objects: tuple[StoredObject, ...]
    token: str


def read_page(body: bytes, prefix: str, url: str) -> Page:
    """Read a page.

    Args:
        body: The XML.
        prefix: What the key of each object must begin with.
        url: Where it is from, for errors.

    Raises:
        UnreadableReply: It is not such a page, or not one of objects below the prefix.
    """
    root = _parse(body, url)
    try:
        contents = root.iterfind("{*}Contents")
        objects = tuple(_object(c, prefix) for c in contents if not _is_folder(c, prefix))
        token = _token(root)
    except ValueError as error:
        raise UnreadableReply(
            f"the listing of the bucket cannot be used: {error}", url=url
        ) from None
    return Page(objects, token)


def _parse(body: bytes, url: str) -> ET.Element:
    problem = "not the listing of a bucket"
    try:
        content = body.decode()
        # Only a DOCTYPE can declare entities, which expand without limit.
        if "<!DOCTYPE" not in content:
            root = ET.fromstring(content)  # noqa: S314 - see above
            if root.tag.rpartition("}")[2] == "ListBucketResult":
                return root
    except (UnicodeDecodeError, ET.ParseError, ValueError):
        problem = "not the listing of a bucket, or cut"
    raise UnreadableReply(problem, url=url, excerpt=text.excerpt(body))


def _object(contents: ET.Element, prefix: str) -> StoredObject:
    key, size = _text(contents, "Key"), _text(contents, "Size")
    name = key.removeprefix(prefix)
    if not key.startswith(prefix) or not _NAME.fullmatch(name):
        raise ValueError(f"it has the key {shorten(key)!r}, which is no file below {prefix!r}")
    if not _SIZE.fullmatch(size):
        raise ValueError(f"{name} has {shorten(size)!r} bytes")
    # Most servers quote it. One of an upload in parts has a "-" and is no MD5.
    md5 = _text(contents, "ETag").strip('"').lower()
    return StoredObject(name, int(size), md5 if _MD5.fullmatch(md5) else "")


def _is_folder(contents: ET.Element, prefix: str) -> bool:
    """Return whether this stands for the folder itself: some tools make such objects."""
    return _text(contents, "Key") == prefix and _text(contents, "Size") == "0"


def _token(root: ET.Element) -> str:
    is_cut = _text(root, "IsTruncated")
    if is_cut not in {"true", "false"}:
        raise ValueError("it does not say whether it is complete")
    if is_cut == "false":
        return ""
    token = _text(root, "NextContinuationToken")
    if not token or root.find("{*}Contents") is None:
        raise ValueError("it continues, but without a token, or without objects")
    return token


def _text(parent: ET.Element, name: str) -> str:
    return (parent.findtext(f"{{*}}{name}") or "").strip()
