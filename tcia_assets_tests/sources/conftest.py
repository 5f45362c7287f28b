from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from tcia_assets.catalog import dialect
from tcia_assets.settings import Settings
from tcia_assets.sources import Pacing
from tcia_assets.sources.nbia.client import Client
from tcia_assets_tests.conftest import IMPATIENT
from tcia_assets_tests.sources.scripted import Scripted

FAST = Pacing(
    first_wait_s=0.001,
    longest_wait_s=0.002,
    longest_retry_after_s=0.01,
    connect_timeout_s=10.0,
    read_timeout_s=20.0,
)
# For servers that are meant to hang. A busy machine keeps an honest one from answering for a while.
HASTY = replace(FAST, read_timeout_s=1.0)
SECRETS = {"api_key": "k3y-s3cr3t", "username": "us3r", "password": "p4ss-s3cr3t"}


def base(url: str, speaks: str) -> str:
    """Where a dialect lies on a server."""
    return url + urlsplit(dialect(speaks).base_url).path


@contextmanager
def talking(
    url: str, speaks: str = "nbia-v4", *, form: str = "json", pacing: Pacing = FAST, **chosen: Any
) -> Iterator[Client]:
    """A client of a server that speaks a dialect."""
    settings = Settings(**({"dialect": speaks, "base_url": base(url, speaks)} | SECRETS | chosen))
    with Client(settings, form=form, pacing=pacing) as client:
        yield client


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """A client of the sandbox."""
    with Client(settings, pacing=IMPATIENT) as client:
        yield client


Serve = Callable[..., Scripted]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a scripted server that ends with the test."""
    with ExitStack() as stack:
        yield lambda handler: stack.enter_context(Scripted(handler))
