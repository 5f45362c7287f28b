"""Requests to an S3 store, by obstore: what they need of the environment, and what errors mean.

Endpoint, region and keys are obstore's and every other client's variables: AWS_ENDPOINT_URL,
AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and so on.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlsplit

from tcia_assets.errors import MissingExtra, StorageError, UsageError, escape_unprintable
from tcia_assets.store.archives import SECRET_VARIABLES

try:
    import obstore
    from obstore.exceptions import (
        AlreadyExistsError,
        BaseError,
        PermissionDeniedError,
        PreconditionError,
        UnauthenticatedError,
    )
    from obstore.store import S3Store
except ModuleNotFoundError as error:
    raise MissingExtra(str(error.name), "s3", "TCIA_ARCHIVES_URL with s3://") from None

__all__ = ["CONFLICTS", "NO_STORE", "REFUSALS", "connect", "endpoint", "obstore"]
__all__ += ["s3_errors", "writer_timeout"]

REFUSALS = (PermissionDeniedError, UnauthenticatedError)
CONFLICTS = (AlreadyExistsError, PreconditionError)

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CONNECT_S, _READ_S = 10, 60
# How long a request that fails is repeated.
RETRY_S = 180.0
# A PUT has no answer before its last byte: so long for an object, and for each of its bytes.
_PUT_S, _SLOWEST_BYTES_PER_S = 60, 256 << 10

_STATUS = re.compile(r"status code: (\d{3})[^:]*:?")
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})</Message>")
_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_REGION = "set AWS_REGION to the region of the bucket"
_MAY_NOT = "the account of AWS_ACCESS_KEY_ID may not do this there"
_UNREACHABLE = "check AWS_ENDPOINT_URL and the network"
NO_STORE = f"the server does not answer as an S3 store does; {_UNREACHABLE}"
_ADVICE = {
    "AccessDenied": _MAY_NOT,
    "AuthorizationHeaderMalformed": _REGION,
    "EntityTooLarge": "it is larger than the store allows",
    "InvalidAccessKeyId": _KEYS,
    "InvalidBucketName": "check the bucket in TCIA_ARCHIVES_URL",
    "NoSuchBucket": "make the bucket, or correct TCIA_ARCHIVES_URL",
    "PermanentRedirect": _REGION,
    "RequestTimeTooSkewed": "the clock of this machine is off: correct it",
    "SignatureDoesNotMatch": _KEYS,
    "XAmzContentSHA256Mismatch": "what arrived is not what was sent; run it again",
}
_BY_STATUS = {"301": _REGION, "401": _KEYS, "403": _MAY_NOT, "404": _UNREACHABLE}


def endpoint(environment: Mapping[str, str]) -> str:
    """Return the URL of the S3 store; "" for that of Amazon."""
    return next((environment[name] for name in _ENDPOINTS if environment.get(name)), "")


def connect(
    bucket: str, prefix: str, *, timeout_s: float | None = None, retry_s: float | None = None
) -> S3Store:
    """Return what sends requests; none is sent yet.

    Args:
        bucket: The bucket.
        prefix: Below which all names are.
        timeout_s: Seconds that one request may take; by default those between two bytes of its
            answer are limited instead.
        retry_s: Seconds during which a request that fails is repeated; RETRY_S by default.

    Raises:
        UsageError: The environment has an endpoint that would send the images unencrypted.
    """
    options: Any = {
        "allow_http": _allows_http(os.environ),
        "connect_timeout": timedelta(seconds=_CONNECT_S),
        "timeout": timedelta(days=1),
        "read_timeout": timedelta(seconds=_READ_S),
    }
    if timeout_s is not None:
        del options["read_timeout"]
        options["timeout"] = timedelta(seconds=timeout_s)
    return S3Store(
        bucket,
        prefix=prefix or None,
        checksum_algorithm="SHA256",
        client_options=options,
        retry_config={"retry_timeout": timedelta(seconds=RETRY_S if retry_s is None else retry_s)},
    )


def writer_timeout(size_bytes: int) -> float:
    """Return the seconds that a PUT of so many bytes may take; few values, for few connections."""
    seconds = float(_PUT_S)
    while seconds < _PUT_S + size_bytes / _SLOWEST_BYTES_PER_S:
        seconds *= 4
    return seconds


def _allows_http(environment: Mapping[str, str]) -> bool:
    url = urlsplit(endpoint(environment))
    if url.scheme != "http":
        return False
    if environment.get("AWS_ALLOW_HTTP", "").lower() not in {"1", "true"} and not _is_loopback(
        url.hostname or ""
    ):
        raise UsageError(
            f"AWS_ENDPOINT_URL begins with http://, but {url.hostname} is not this machine: use "
            "https://, or set AWS_ALLOW_HTTP=true if the network is trusted"
        )
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def s3_errors(address: str) -> Iterator[None]:
    """Raise StorageError, with what is wrong and what to do, for an error of obstore in the body.

    FileNotFoundError and conflicts pass.
    """
    try:
        yield
    except CONFLICTS:
        raise
    except BaseError as error:
        raise StorageError(f"{address}: {_describe(str(error))}; nothing is lost") from None


def _describe(text: str) -> str:
    """Return what obstore's error says, without its secrets, and what to do."""
    status, code, message = (
        found[1] if (found := each.search(text)) else "" for each in (_STATUS, _CODE, _MESSAGE)
    )
    if not status:
        reason = text.partition("\n")[0].rpartition(" - ")[2]
        return f"{_without_secrets(reason)}; {_UNREACHABLE}"
    says = " ".join(each for each in (status, code) if each)
    if message:
        says += f" ({escape_unprintable(_without_secrets(unescape(message)))})"
    advice = _ADVICE.get(code) or _BY_STATUS.get(status) or "the store fails; try again later"
    return f"the store answered {says}; {advice}"


def _without_secrets(text: str) -> str:
    secrets: list[Any] = [os.environ.get(name, "") for name in SECRET_VARIABLES]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text
