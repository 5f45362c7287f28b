"""WebDataset shards: tar files whose members lie in the order in which they are read.

They are `webdataset/<split>-000000.tar`, .... Members have no time, no owner and fixed rights, so
that the same samples give the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Row, batches, row_metadata
from tcia_assets.datasets.sample_store import ending_of
from tcia_assets.datasets.samples import image_files, sample_name, uid_hash

_SHARD_BYTES = 1 << 30


def write(
    root: Path, kept: KeptSamples, info: DatasetInfo, *, max_bytes: int = _SHARD_BYTES
) -> None:
    """Write each sample as `<key>.image.nii.gz`, `<key>.label.nii.gz` if any, and `<key>.json`.

    `<key>.cls` is the number of its class, if it has one. An image that is a PNG file is
    `<key>.image.png`.

    The key is the name of the sample with `_` in place of each dot, because WebDataset splits names
    at the first dot; the JSON holds the UID and the other columns. Samples are in the order of the
    hashes of their names, so that each shard is a mixture.
    """
    folder = root / "webdataset"
    folder.mkdir(parents=True)
    for split in info.splits:
        rows = sorted(kept.in_split(split), key=uid_hash)
        for number, batch in enumerate(batches(rows, max_bytes)):
            _write_shard(folder / f"{split}-{number:06}.tar", root, batch)


def _write_shard(path: Path, root: Path, rows: list[Row]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as shard:
        for row in rows:
            key = sample_name(row).replace(".", "_")
            for channel, image in image_files(row).items():
                kind = f"image_{channel}" if channel else "image"
                ending = ending_of(image["image"])
                _add_file(shard, f"{key}.{kind}{ending}", root / image["image"])
            if row["label"]:
                _add_file(shard, f"{key}.label.nii.gz", root / row["label"])
            if row["class_index"] is not None:
                _add_text(shard, f"{key}.cls", str(row["class_index"]))
            content = json.dumps(row_metadata(row), indent=1)
            _add_text(shard, f"{key}.json", content)


def _add_file(shard: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        shard.addfile(_member(name, path.stat().st_size), file)


def _add_text(shard: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    shard.addfile(_member(name, len(content)), io.BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # time 0, owner 0, mode 0o644
    member.size = size
    return member
