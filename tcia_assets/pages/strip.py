"""A strip of small pictures of Series, for a place that keeps what it shows.

The picture of a Series is that of the middle object of its zip, by name. What cannot be shown is
left out.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa

from tcia_assets.errors import TciaError
from tcia_assets.images.manifest import read_rows_of
from tcia_assets.images.zip_files import name_at
from tcia_assets.store.warehouse import Warehouse

_HEIGHT, _GAP, _MOST, _MOST_TRIED = 128, 4, 6, 24


def picture_strip(warehouse: Warehouse, collection: str, series: Collection[str]) -> bytes:
    """Return a JPEG of at most 36 kB of some of these Series, side by side; empty if none shows.

    Args:
        warehouse: Has the zips.
        collection: The Collection that has them.
        series: SeriesInstanceUIDs; the same ones give the same choice.

    Raises:
        MissingExtra: Pictures need the extra `datasets`.
    """
    from PIL import Image  # noqa: PLC0415 - an optional extra

    from tcia_assets.datasets.grey_pictures import fit_jpeg  # noqa: PLC0415

    pictures = list(_pictures(warehouse, collection, series))
    if not pictures:
        return b""
    shown = [Image.open(io.BytesIO(each)).convert("RGB") for each in pictures]
    small = [each.resize((max(1, each.width * _HEIGHT // each.height), _HEIGHT)) for each in shown]
    width = sum(each.width + _GAP for each in small) - _GAP
    strip, left = Image.new("RGB", (width, _HEIGHT)), 0
    for each in small:
        strip.paste(each, (left, 0))
        left += each.width + _GAP
    return fit_jpeg(strip)


def _pictures(warehouse: Warehouse, collection: str, series: Collection[str]) -> Iterator[bytes]:
    """Yield pictures of some Series, chosen by the hashes of their UIDs."""
    from tcia_assets.pages.pictures import NoPicture, picture_of  # noqa: PLC0415 - an extra

    chosen = sorted(series, key=lambda uid: hashlib.sha256(uid.encode()).digest())[:_MOST_TRIED]
    found = read_rows_of(warehouse, collection, pa.chunked_array([chosen], pa.string()))
    made = 0
    for row in (found[uid] for uid in chosen if uid in found):
        if not (row.path and row.sha256):
            continue
        try:
            with warehouse.archives.local(name_at(row.path), row.sha256) as path:
                picture = picture_of(path, _middle_entry(path))
        except (NoPicture, TciaError, OSError):
            continue  # the page of the Series in the catalogue says why
        yield picture
        if (made := made + 1) == _MOST:
            return


def _middle_entry(path: Path) -> str:
    """Return the name of the middle object of a zip."""
    from tcia_assets.datasets.volume.series_zip import open_series_zip  # noqa: PLC0415 - an extra

    with open_series_zip(path) as series_zip:
        names = sorted(entry.name for entry in series_zip.entries)
    return names[len(names) // 2] if names else ""
