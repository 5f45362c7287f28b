"""Fixtures for tests of the Imaging Data Commons that the sandbox plays."""

from __future__ import annotations

import pytest
import requests

from tcia_assets.sandbox.server import Sandbox

from .bucket_client import BucketClient


@pytest.fixture
def buckets(sandbox: Sandbox, session: requests.Session) -> BucketClient:
    return BucketClient(sandbox, session)
