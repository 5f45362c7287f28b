"""Lists of Series, with which others fetch the same from the archive.

What belongs here: CSV files of one column as TCIA's Data Retriever reads them, and the older
manifest `.tcia` of the NBIA Data Retriever. `selection.py` reads both.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import KeptSamples, Row

_TCIA = """\
downloadServerUrl=https://public.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet
includeAnnotation=true
noOfrRetry=4
databasketId={name}.tcia
manifestVersion=3.0
ListOfSeriesToDownload=
"""


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """`retriever/<name>.csv`, the same for each part, and `retriever/<name>.tcia`.

    Each lists the Series of the images and those of the masks that lie on them, once and sorted.
    """
    folder = root / "retriever"
    folder.mkdir(parents=True)
    uids = _series(kept.rows)
    _write_csv(folder / f"{info.name}.csv", uids)
    for part in info.splits:
        if rows := kept.in_split(part):
            _write_csv(folder / f"{info.name}-{part}.csv", _series(rows))
    head = _TCIA.format(name=info.name)
    _write(folder / f"{info.name}.tcia", head, uids)


def _series(rows: Iterable[Row]) -> list[str]:
    uids: set[str] = set()
    for row in rows:
        uids.update((row["SeriesInstanceUID"], *row["target_series_instance_uids"]))
    return sorted(uids)


def _write_csv(path: Path, uids: list[str]) -> None:
    _write(path, "SeriesInstanceUID\n", uids)


def _write(path: Path, head: str, uids: list[str]) -> None:
    path.write_text(head + "".join(f"{uid}\n" for uid in uids), encoding="ascii", newline="\n")
