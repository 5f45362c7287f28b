"""Routes that give bad zips of a Series, and what lies in quarantine then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tcia_assets_tests.images.place import FOLDER, Place

ROUTES = ("getImage", "getImageWithMD5Hash")
SHORT_BY_ROUTE = pytest.mark.parametrize("short", ROUTES)
WORSE = pytest.mark.parametrize("worse", ["zip_empty", "zip_license_only", "zip_trailing_bytes"])


def spoil_routes(place: Place, uid: str, short: str, worse: str) -> None:
    """One route gives a zip that lacks an image, the other one that is worse."""
    [other] = set(ROUTES) - {short}
    place.spoil("zip_short", uid, endpoint=short, images=1)
    place.spoil(worse, uid, endpoint=other)


def quarantine(place: Place, uid: str) -> Path:
    return place.data_dir / "quarantine" / FOLDER / f"{uid}.zip"


def reason(place: Place, uid: str) -> dict[str, Any]:
    path = quarantine(place, uid).with_suffix(".json")
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return said
