"""A Series of few objects, and requests for it and for its Collection."""

from __future__ import annotations

import io
import zipfile

import requests

from . import released_series
from .api_client import ApiClient

CATALOGUE = released_series.CATALOGUE.to_pylist()


COLLECTION = "RIDER Lung CT"


FEW = min((r for r in CATALOGUE if r["ImageCount"] >= 5), key=lambda r: r["ImageCount"])


UID, COUNT = FEW["SeriesInstanceUID"], FEW["ImageCount"]


def list_series(api: ApiClient, collection: str = COLLECTION, **more: str) -> requests.Response:
    return api("nbia-v4", "getSeries", {"Collection": collection}, **more)


def image(api: ApiClient, uid: str = UID) -> requests.Response:
    return api("nbia-v4", "getImage", {"SeriesInstanceUID": uid}, IncludeMD5="Yes")


def zipped(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))
