"""A client of the sandbox's buckets that believes what it gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

import requests

from tcia_assets.sandbox.server import Sandbox


@dataclass(frozen=True)
class Listed:
    key: str
    etag: str
    size: int


class BucketClient:
    def __init__(self, sandbox: Sandbox, session: requests.Session) -> None:
        self.sandbox, self.session = sandbox, session

    def place(self, uid: str) -> tuple[str, str]:
        """The bucket and the uuid of a Series in the current release."""
        uuid = self.sandbox.idc.uuid_of(uid)
        found = self.sandbox.idc.find(uuid)
        assert found is not None
        return found.bucket, uuid

    def get(
        self, bucket: str, key: str = "", method: str = "GET", range_: str = "", **parameters: str
    ) -> requests.Response:
        url = f"{self.sandbox.url}/{bucket}/{key}"
        headers = {"Range": range_} if range_ else {}
        return self.session.request(method, url, params=parameters, headers=headers, timeout=20)

    def page(self, bucket: str, prefix: str, **parameters: str) -> tuple[list[Listed], str]:
        """The objects of a page, and the token for the next."""
        named = {name.replace("_", "-"): value for name, value in parameters.items()}
        reply = self.get(bucket, prefix=prefix, **{"list-type": "2"}, **named)
        assert reply.status_code == 200, reply.text
        contents = re.findall("<Contents>(.*?)</Contents>", reply.text)
        token = _text(reply.text, "NextContinuationToken")
        assert (_text(reply.text, "IsTruncated") == "true") == bool(token)
        return [
            Listed(_text(each, "Key"), _text(each, "ETag"), int(_text(each, "Size")))
            for each in contents
        ], token

    def list(self, bucket: str, prefix: str) -> list[Listed]:
        """All objects, from all pages."""
        found, token = self.page(bucket, prefix)
        while token:
            more, token = self.page(bucket, prefix, continuation_token=token)
            found += more
        return found

    def of_series(self, uid: str) -> tuple[str, list[Listed]]:
        """The bucket of a Series, and its objects."""
        bucket, uuid = self.place(uid)
        return bucket, self.list(bucket, f"{uuid}/")


def _text(xml: str, name: str) -> str:
    found = re.search(f"<{name}>(.*?)</{name}>", xml)
    return unescape(found.group(1)) if found else ""
