"""Shards for WebDataset: tar files whose members lie in the order in which they are read.

What belongs here: `webdataset/<part>-000000.tar` and the following. The same samples give the same
bytes: members have no time, no owner and no rights of their own.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Row, batches, row_metadata

_MOST_BYTES = 1 << 30


def write(
    root: Path, kept: KeptSamples, info: DatasetInfo, *, most_bytes: int = _MOST_BYTES
) -> None:
    """Each sample as `<key>.image.nii.gz`, `<key>.label.nii.gz` if it has one, and `<key>.json`.

    The key is the Series' UID with `_` for each dot, since WebDataset cuts names at the first dot;
    the JSON has the UID, and all else that its row says. Samples come in the order of the hashes of
    their UIDs, so that a shard is a mixture.
    """
    folder = root / "webdataset"
    folder.mkdir(parents=True)
    for part in info.splits:
        rows = sorted(kept.in_split(part), key=_hashed)
        for number, batch in enumerate(batches(rows, most_bytes)):
            _write_shard(folder / f"{part}-{number:06}.tar", root, batch)


def _hashed(row: Row) -> bytes:
    return hashlib.sha256(row["SeriesInstanceUID"].encode()).digest()


def _write_shard(path: Path, root: Path, rows: list[Row]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as shard:
        for row in rows:
            key = row["SeriesInstanceUID"].replace(".", "_")
            _add(shard, f"{key}.image.nii.gz", root / row["image"])
            if row["label"]:
                _add(shard, f"{key}.label.nii.gz", root / row["label"])
            content = json.dumps(row_metadata(row), indent=1).encode()
            shard.addfile(_member(f"{key}.json", len(content)), io.BytesIO(content))


def _add(shard: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        shard.addfile(_member(name, path.stat().st_size), file)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # time 0, owner 0, mode 0o644
    member.size = size
    return member
