"""Routes that give bad zips of a Series, and what lies in quarantine then."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

from tcia_assets_tests.images.place import FOLDER, Place

ROUTES = ("getImage", "getImageWithMD5Hash")
_WORSE = ("zip_empty", "zip_license_only", "zip_trailing_bytes")


def spoil_routes(place: Place) -> dict[str, str]:
    """Let one route give a zip that lacks an image, and the other one that is worse.

    Returns:
        The route of the better zip by UID, for six Series: each route with each that is worse.
    """
    short_by_uid = {}
    for uid, (short, worse) in zip(place.uids, product(ROUTES, _WORSE), strict=False):
        [other] = set(ROUTES) - {short}
        place.spoil("zip_short", uid, endpoint=short, images=1)
        place.spoil(worse, uid, endpoint=other)
        short_by_uid[uid] = short
    return short_by_uid


def quarantine(place: Place, uid: str) -> Path:
    return place.data_dir / "quarantine" / FOLDER / f"{uid}.zip"


def reason(place: Place, uid: str) -> dict[str, Any]:
    path = quarantine(place, uid).with_suffix(".json")
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return said
