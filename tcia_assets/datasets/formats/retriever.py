"""Series lists, with which other people can fetch the same Series from TCIA.

They are CSV files of one column for TCIA's Data Retriever, and files in the older format `.tcia` of
the NBIA Data Retriever. An image selection reads both (`metadata/series_lists.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Row
from tcia_assets.datasets.samples import series_of_images

_TCIA_HEADER = """\
downloadServerUrl=https://public.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet
includeAnnotation=true
noOfrRetry=4
databasketId={name}.tcia
manifestVersion=3.0
ListOfSeriesToDownload=
"""
_CSV_HEADER = "SeriesInstanceUID\n"


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """Write `retriever/<name>.csv`, one such file for each split, and `retriever/<name>.tcia`.

    Each lists the Series of the images, all channels, and of their masks, once and sorted.
    """
    folder = root / "retriever"
    folder.mkdir(parents=True)
    uids = _series(kept.rows)
    _write_list(folder / f"{info.name}.csv", _CSV_HEADER, uids)
    for split in info.splits:
        if rows := kept.in_split(split):
            _write_list(folder / f"{info.name}-{split}.csv", _CSV_HEADER, _series(rows))
    _write_list(folder / f"{info.name}.tcia", _TCIA_HEADER.format(name=info.name), uids)


def _series(rows: Iterable[Row]) -> list[str]:
    uids: set[str] = set()
    for row in rows:
        uids.update(row["target_series_instance_uids"], series_of_images(row))
    return sorted(uids)


def _write_list(path: Path, header: str, uids: list[str]) -> None:
    path.write_text(header + "".join(f"{uid}\n" for uid in uids), encoding="ascii", newline="\n")
