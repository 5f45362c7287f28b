"""Manifests of the Imaging Data Commons, for s5cmd: each line copies one version of a Series.

Such a line is `cp s3://BUCKET/CRDC_SERIES_UUID/* FOLDER`, with options of s5cmd or without. It
names no SeriesInstanceUID, so the Series is looked up by `crdc_series_uuid`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.errors import UsageError

SUFFIX = ".s5cmd"
NEEDED = ("aws_bucket", "crdc_series_uuid")
_COPIES = frozenset({"cp", "sync"})
_SERIES = re.compile(r"s3://[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[*]?")
_MAX_SHOWN = 80


def read_versions(path: Path) -> pa.Array:
    """Read the crdc_series_uuids of a manifest.

    Raises:
        UsageError: A line copies something else; names the file and the line.
        OSError, UnicodeDecodeError: The file cannot be read.
    """
    uuids = list(_uuids(path))
    if not uuids:
        raise UsageError(f"the manifest {str(path)!r} has no Series")
    return pa.array(uuids, pa.string())


def _uuids(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            yield _uuid(path, number, line.strip())


def _uuid(path: Path, number: int, line: str) -> str:
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    if words and words[0] in _COPIES:
        found = [match[1] for word in words if (match := _SERIES.fullmatch(word))]
        if len(found) == 1:
            return found[0]
    raise UsageError(
        f"the manifest {str(path)!r}, line {number}: {line[:_MAX_SHOWN]!r} is not "
        "'cp s3://BUCKET/CRDC_SERIES_UUID/* FOLDER'"
    )


def format_manifest(rows: pa.Table, folder: str = ".") -> str:
    """Return the lines of a manifest that copies Series into a folder, each once and sorted.

    Args:
        rows: Rows with the columns `aws_bucket` and `crdc_series_uuid`; where both are null, the
            Imaging Data Commons does not have the Series.
        folder: Where s5cmd is to put the objects.

    Raises:
        UsageError: A column is missing, or no Series is in the Imaging Data Commons.
    """
    if missing := [name for name in NEEDED if name not in rows.column_names]:
        raise UsageError(
            f"a manifest for s5cmd needs also {' and '.join(missing)}, as in "
            f'"SELECT {", ".join(NEEDED)} FROM current_series"'
        )
    known = rows.filter(pc.and_(*(pc.is_valid(rows[name]) for name in NEEDED)))
    if not known.num_rows:
        raise UsageError(
            "none of these Series is known to be in the Imaging Data Commons; refresh them with "
            "TCIA_SOURCE=idc"
        )
    pairs = zip(*(known[name].to_pylist() for name in NEEDED), strict=True)
    lines = (f"cp s3://{bucket}/{uuid}/* {shlex.quote(folder)}" for bucket, uuid in set(pairs))
    return "".join(f"{line}\n" for line in sorted(lines))
