"""Fixtures for tests over HTTP."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

import pytest
import requests

from tcia_assets.sandbox.server import Sandbox

from .api_client import ApiClient
from .released_series import ALL, CATALOGUE, COLLECTION, LATER, NONE, RELEASED, series


@pytest.fixture(scope="session")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def api(sandbox: Sandbox, session: requests.Session) -> ApiClient:
    return ApiClient(sandbox, session)


@pytest.fixture
def dated(sandbox: Sandbox) -> Mapping[str, set[str]]:
    """Release one Series in 1999 and one on 31 January 2020; hold back all others."""
    sandbox.archive.hold(CATALOGUE["SeriesInstanceUID"].to_pylist())
    old, new = sorted(series(Collection=COLLECTION, Modality="CT"))[:2]
    sandbox.archive.release([old], day=dt.date(1999, 1, 1))
    sandbox.archive.release([new], day=RELEASED)
    return {ALL: {old, new}, LATER: {new}, NONE: set()}
