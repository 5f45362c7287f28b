"""Files with series lists, and what a selection selects of a warehouse."""

from __future__ import annotations

from pathlib import Path

from tcia_assets.metadata.selection import Selection
from tcia_assets.store.warehouse import Warehouse

HEAD = """\
downloadServerUrl=https://nbia.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet
includeAnnotation=true
noOfrRetry=4
databasketId=manifest-1561766528292.tcia
manifestVersion=3.0
ListOfSeriesToDownload=
"""


def chosen(selection: Selection, warehouse: Warehouse) -> list[str]:
    statement = (
        f"SELECT SeriesInstanceUID FROM current_series WHERE {selection.predicate} ORDER BY 1"
    )
    return warehouse.query(statement, tables=selection.tables)["SeriesInstanceUID"].to_pylist()


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)
