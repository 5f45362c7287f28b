"""List and download the objects of a public bucket, over plain HTTPS without a signature."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from tcia_assets.errors import NotPublic, RequestRefused, UnknownReply, UnreadableReply
from tcia_assets.sources import Cost, counting
from tcia_assets.sources.http.transport import Transport
from tcia_assets.sources.idc.listing import MAX_PAGE_BYTES, Page, StoredObject, read_page

_NOT_FOUND = 404
# How S3 refuses a listing where there is no such bucket, or not there.
_ELSEWHERE = (_NOT_FOUND, 301)
# What S3 answers for what it does not show to the public.
NOT_PUBLIC = ("<Code>AccessDenied</Code>", "<Code>AllAccessDisabled</Code>")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,62}", re.ASCII)
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)


class SeriesFolder:
    """The objects of one Series, or of one table: a folder in a bucket.

    Args:
        transport: What sends the requests.
        base_url: The URL of a bucket, with `{bucket}` for its name.
        bucket: The name of the bucket.
        uuid: The name of the folder.
        below: Where the folder is in the bucket, with a slash at its end.

    Raises:
        UnknownReply: There is no such name.
    """

    def __init__(
        self, transport: Transport, base_url: str, bucket: str, uuid: str, below: str = ""
    ) -> None:
        if not _BUCKET.fullmatch(bucket) or not _FOLDER.fullmatch(uuid):
            raise UnknownReply(f"the index has no place of this Series: {bucket!r}, {uuid!r}")
        self._transport, self._prefix = transport, f"{below}{uuid}/"
        self._url = base_url.replace("{bucket}", bucket).rstrip("/")

    def objects(self, most: int, cost: Cost) -> list[StoredObject]:
        """List the objects, in the order of their names.

        Args:
            most: Where there are more, the listing ends with an error.
            cost: Increased by what was sent and received.

        Raises:
            UnreadableReply: The listing cannot be read, or does not end.
        """
        found: dict[str, StoredObject] = {}
        tokens: set[str] = set()
        token = ""
        while True:
            page = self._page(token, cost)
            for each in page.objects:
                if each.name in found:
                    self._refuse(f"it has the key {each.name!r} twice")
                found[each.name] = each
            if len(found) > most:
                self._refuse(f"it has more than {most} objects")
            token = page.token
            if not token:
                return [found[name] for name in sorted(found)]
            if token in tokens:
                self._refuse("it continues with what it had before")
            tokens.add(token)

    def download(
        self, each: StoredObject, path: Path, cost: Cost, on_bytes: Callable[[int], None]
    ) -> str:
        """Download an object to a file; returns its MD5.

        Args:
            each: The object.
            path: The file.
            cost: Increased by what was sent and received.
            on_bytes: As in `Target`.

        Raises:
            UnreadableReply: What was received is not what was listed.
            NotPublic: The bucket lists the object, but does not have it, or does not show it.
        """
        url = f"{self._url}/{quote(self._prefix + each.name)}"

        def attempt() -> str:
            with self._transport.send(
                "GET", url, {}, cost, max_bytes=each.size_bytes, is_file=True, kind="object"
            ) as chunks:
                return _save(chunks, each, path, url, on_bytes)

        try:
            md5 = self._transport.retry(attempt)
        except RequestRefused as error:
            if error.status != _NOT_FOUND:
                raise
            # Also objects of old versions are deleted if they must not be public.
            problem = "the bucket lists an object that it does not have: it was removed just now"
            raise NotPublic(problem, url=url, status=error.status, excerpt=error.excerpt) from None
        cost.size_bytes += each.size_bytes
        return md5

    def _page(self, token: str, cost: Cost) -> Page:
        try:
            return self._transport.retry(self._page_getter(token, cost))
        except RequestRefused as error:
            if isinstance(error, NotPublic) or error.status not in _ELSEWHERE:
                raise
            problem = (
                f"there is no bucket at {self._url}, or it is in another region; check "
                "TCIA_IDC_BASE_URL, or refresh from a newer index release"
            )
            raise RequestRefused(
                problem, url=error.url, status=error.status, excerpt=error.excerpt
            ) from None

    def _page_getter(self, token: str, cost: Cost) -> Callable[[], Page]:
        parameters = {"list-type": "2", "prefix": self._prefix}
        if token:
            parameters["continuation-token"] = token

        def attempt() -> Page:
            with self._transport.send(
                "GET", f"{self._url}/", parameters, cost, max_bytes=MAX_PAGE_BYTES, kind="list"
            ) as chunks:
                body = b"".join(chunks)
            cost.size_bytes += len(body)
            return read_page(body, self._prefix, self._url)

        return attempt

    def _refuse(self, problem: str) -> None:
        raise UnreadableReply(f"the listing of the bucket cannot be used: {problem}", url=self._url)


def _save(
    chunks: Iterator[bytes],
    each: StoredObject,
    path: Path,
    url: str,
    on_bytes: Callable[[int], None],
) -> str:
    digest, written = hashlib.md5(usedforsecurity=False), 0
    with counting(on_bytes) as count:
        with path.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                written += file.write(chunk)
                count(len(chunk))
                if written > each.size_bytes:
                    break
        _compare(each, written, digest.hexdigest(), url)
    return digest.hexdigest()


def _compare(each: StoredObject, size_bytes: int, md5: str, url: str) -> None:
    """Raise UnreadableReply unless the object is what the bucket lists."""
    if size_bytes != each.size_bytes:
        received = f"{size_bytes} bytes" if size_bytes < each.size_bytes else "more bytes"
        problem = f"{received} were received, but the bucket lists {each.size_bytes}"
        raise UnreadableReply(problem, url=url)
    if each.md5 not in {"", md5}:
        raise UnreadableReply("the bytes do not have the MD5 that the bucket lists", url=url)
