"""What differs between two versions of a dataset.

It compares samples, settings, libraries and files. Versions are found in `versions.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tcia_assets.datasets.cohort_diff import change_line
from tcia_assets.datasets.samples import CHANNELS, sample_name
from tcia_assets.datasets.versions import Version

# The columns of a sample that are compared; findings and sizes of files are not.
_COMPARED = (
    "state",
    "reasons",
    "class_name",
    "part",
    "fold",
    "content_md5",
    "fingerprint",
    "target_series_instance_uids",
    "LicenseName",
    "shape",
    "pixel_sha256",
    "image_sha256",
    "label_sha256",
)

_Changes = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class VersionDiff:
    """What differs in the second of two versions; false where nothing does.

    Each change is (old, new); None where there was, or is, no value.

    Attributes:
        added: Samples, by name.
        removed: Samples, by name.
        changed: For each changed sample its columns that differ.
        settings: By full key, such as `split.salt`.
        made_with: Versions of libraries, by name.
        files: Hashes, by path.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, _Changes]
    settings: _Changes
    made_with: _Changes
    files: _Changes

    def __bool__(self) -> bool:
        return any(vars(self).values())

    @property
    def lines(self) -> Iterator[str]:
        """A line of text for each difference."""
        yield from (f"+ Series {uid}" for uid in self.added)
        yield from (f"- Series {uid}" for uid in self.removed)
        yield from (change_line(uid, columns) for uid, columns in self.changed.items())
        for kind, values in (("setting", self.settings), ("made with", self.made_with)):
            yield from (f"~ {kind} {n}: {old!r} -> {new!r}" for n, (old, new) in values.items())
        signs = {(True, False): "+", (False, True): "-", (False, False): "~"}
        for path, (old_sha256, new_sha256) in self.files.items():
            yield f"{signs[old_sha256 is None, new_sha256 is None]} file {path}"


def diff_versions(before: Version, after: Version) -> VersionDiff:
    """Return what differs in the second version.

    Raises:
        DataError: The samples of a version cannot be read.
    """
    old, new = _rows(before), _rows(after)
    changed = {uid: _changes(old[uid], new[uid]) for uid in sorted(old.keys() & new.keys())}
    hashes = [{path: file.sha256 for path, file in v.files.items()} for v in (before, after)]
    return VersionDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed={uid: columns for uid, columns in changed.items() if columns},
        settings=_changes(*(_flat(v.content["settings"]) for v in (before, after))),
        made_with=_changes(before.content["made_with"], after.content["made_with"]),
        files=_changes(*hashes),
    )


def _rows(version: Version) -> dict[str, dict[str, Any]]:
    columns = ["SeriesInstanceUID", "sample", *_COMPARED]
    samples = version.samples
    columns += [CHANNELS] if CHANNELS in samples.column_names else []
    rows = samples.select(columns).to_pylist()
    return {sample_name(row): {n: row[n] for n in _COMPARED} | _channels(row) for row in rows}


def _channels(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Series and pixels of each channel of a sample."""
    return {
        f"{channel['name']}.{column}": channel[column]
        for channel in row.get(CHANNELS) or ()
        for column in ("SeriesInstanceUID", "pixel_sha256", "image_sha256")
    }


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = sorted(old.keys() | new.keys())
    return {n: (old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)}


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return settings by their full key, such as `split.salt`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat
