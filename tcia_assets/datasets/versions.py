"""The versions of a dataset on disk: named by what is in them, listed, compared, verified.

What belongs here: the lock file of a version, its root hash, and how a finished draft becomes a
version. What does not: what is in it (`build.py`).

    <data root>/datasets/<name>/<version>/          all files, and dataset.lock.json about them
    <data root>/datasets/<name>/latest              a symbolic link to the newest version

A version is called by the first 12 digits of its root hash: the SHA-256 over a line
`<sha256>  <path>` for each file but the lock file, sorted by path, as `sha256sum` writes them. So
the same files are the same version, wherever and whenever they are made.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.datasets.samples import SAMPLES
from tcia_assets.errors import DataError, UnknownName, UsageError
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.files import publish_draft, sha256_of, sync

LOCK = "dataset.lock.json"
INDEX = "samples.parquet"
LATEST = "latest"

_FORMAT = 1
_REMOVED, _POINTER = ".removed", ".latest"
_DIGITS = 12
_VERSION = re.compile(f"[0-9a-f]{{{_DIGITS}}}")
_THREADS = 2


@dataclass(frozen=True)
class VersionFile:
    """A file of a version; `path` from its folder, with slashes."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Version:
    """A version on disk, as its lock file tells."""

    folder: Path
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the dataset."""
        return str(self.content["name"])

    @property
    def version(self) -> str:
        return str(self.content["version"])

    @property
    def files(self) -> dict[str, VersionFile]:
        told = self.content["files"]
        return {
            path: VersionFile(path, said["bytes"], said["sha256"]) for path, said in told.items()
        }

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())

    @property
    def made_at(self) -> datetime:
        """When its folder was made; what is in it does not say."""
        return datetime.fromtimestamp((self.folder / LOCK).stat().st_mtime, UTC)

    @property
    def samples(self) -> pa.Table:
        """As `samples.SAMPLES`.

        Raises:
            DataError: the file is damaged.
        """
        path = self.folder / INDEX
        try:
            return pq.read_table(path, schema=SAMPLES)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read: {error}", table="samples") from error


# --- Finding --------------------------------------------------------------------------------------


def dataset_folder(root: Path, name: str) -> Path:
    """Where the versions of a dataset lie, below the data root."""
    return root / "datasets" / name


def dataset_names(root: Path) -> list[str]:
    """The datasets of which there are versions, sorted."""
    places = (root / "datasets").glob(f"*/*/{LOCK}")
    found = (place.parent for place in places if _VERSION.fullmatch(place.parent.name))
    return sorted({folder.parent.name for folder in found})


def list_versions(root: Path, name: str) -> list[Version]:
    """The versions of a dataset, the newest last."""
    places = dataset_folder(root, name).glob(f"*/{LOCK}")
    found = [read(place.parent) for place in places if _VERSION.fullmatch(place.parent.name)]
    return sorted(found, key=lambda version: (version.made_at, version.version))


def latest(root: Path, name: str) -> str:
    """The version that `latest` points at; "" where there is none."""
    with suppress(OSError):
        return (dataset_folder(root, name) / LATEST).readlink().name
    return ""


def find(root: Path, wanted: str) -> Version:
    """The version that is meant by a path, `NAME` (its latest), or `NAME/VERSION`.

    Of a version the first digits are enough, where they are those of one only.

    Raises:
        UnknownName: there is no such dataset or version.
        DataError: its lock file is damaged.
    """
    place = Path(wanted)
    if (place / LOCK).is_file():
        return read(place.resolve())
    name, _, version = wanted.partition("/")
    if name not in (known := dataset_names(root)):
        raise UnknownName("dataset with a version", name, known)
    there = {each.folder.name: each for each in list_versions(root, name)}
    version = version or LATEST
    if version == LATEST:
        version = latest(root, name) or next(reversed(there))
    fitting = [each for each in there if each.startswith(version)]
    if len(fitting) != 1:
        raise UnknownName(f"version of {name}", version, there)
    return there[fitting[0]]


def read(folder: Path) -> Version:
    """The version in a folder.

    Raises:
        UsageError: there is none.
        DataError: its lock file is damaged.
    """
    path = folder / LOCK
    try:
        version = _version(folder, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(
            f"{folder}: there is no version of a dataset, for it has no {LOCK}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no lock file of a dataset: {error}", table="dataset") from error
    return version


def _version(folder: Path, content: dict[str, Any]) -> Version:
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']!r}, and {_FORMAT} can be read")
    version = Version(folder, content)
    # All that is relied on is there.
    _ = (version.name, version.version, version.files, content["sha256"], content["settings"])
    return version


# --- Making ---------------------------------------------------------------------------------------


def publish(
    draft: Path, place: Path, facts: Mapping[str, Any], files: list[VersionFile]
) -> Version:
    """A finished draft becomes a version, whole or not at all, and the latest.

    Where the same version is there and whole, that one stays, byte for byte. Earlier ones stay.
    """
    _remove_what_was_left(place)
    root = root_sha256(files)
    version = root[:_DIGITS]
    listed = {file.path: {"bytes": file.bytes, "sha256": file.sha256} for file in files}
    content = {"format": _FORMAT, **facts, "version": version, "sha256": root, "files": listed}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (draft / LOCK).write_text(text, encoding="utf-8", newline="\n")
    folder = place / version
    if not _is_whole(folder):
        _remove(folder)  # a damaged one: it is not what its name says
        publish_draft(draft, folder)
    _point_at(place, version)
    return read(folder)


def root_sha256(files: list[VersionFile]) -> str:
    """Over hash and path of each file, sorted by path."""
    lines = sorted((file.path, f"{file.sha256}  {file.path}\n") for file in files)
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()


def files_of(folder: Path, hashed: Iterable[VersionFile] = ()) -> list[VersionFile]:
    """Every file below a folder but the lock file, sorted by path; what is `hashed` is so once."""
    known = {file.path: file for file in hashed}
    paths = sorted(path for path in _paths(folder) if path != LOCK)
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda path: known.get(path) or _file(folder, path), paths))


def _paths(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _file(folder: Path, path: str) -> VersionFile:
    place = folder / path
    return VersionFile(path, place.stat().st_size, sha256_of(place))


def _is_whole(folder: Path) -> bool:
    try:
        return not verify(read(folder)).problems
    except (UsageError, DataError):
        return False


def _remove(folder: Path) -> None:
    if folder.exists():
        beside = folder.with_name(_REMOVED)
        folder.rename(beside)
        shutil.rmtree(beside)


def _remove_what_was_left(place: Path) -> None:
    """By a build that was killed."""
    shutil.rmtree(place / _REMOVED, ignore_errors=True)
    (place / _POINTER).unlink(missing_ok=True)


def _point_at(place: Path, version: str) -> None:
    beside = place / _POINTER
    beside.symlink_to(version)
    beside.replace(place / LATEST)
    sync(place)


# --- Verifying ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VerifyResult:
    """What was looked at, and what is not as the lock file says: a line each, with the file."""

    files: int
    bytes: int
    problems: tuple[str, ...]


def verify(version: Version, report: ProgressCallback = ignore_progress) -> VerifyResult:
    """Whether every file is there as the lock file says, nothing beside it, and its name right."""
    listed = version.files
    there = set(_paths(version.folder)) - {LOCK}
    problems = [f"{path}: it is not there" for path in sorted(listed.keys() - there)]
    problems += [f"{path}: no file of the dataset" for path in sorted(there - listed.keys())]
    looked_at = sorted(listed.keys() & there)
    with ThreadPoolExecutor(_THREADS) as pool:
        said = pool.map(lambda path: _amiss(version.folder, listed[path]), looked_at)
        for done, problem in enumerate(said, start=1):
            problems += [problem] if problem else []
            report(done, len(looked_at))
    return VerifyResult(len(looked_at), version.bytes, (*problems, *_misnamed(version)))


def _amiss(folder: Path, told: VersionFile) -> str:
    path = folder / told.path
    try:
        if path.is_symlink() or not path.is_file():
            return f"{told.path}: it is no file"
        if (size := path.stat().st_size) != told.bytes:
            return f"{told.path}: it has {size} bytes, not {told.bytes}"
        found = _file(folder, told.path)
    except OSError as error:
        return f"{told.path}: it cannot be read: {error.strerror or error}"
    if found.sha256 != told.sha256:
        return f"{told.path}: its sha256 is {found.sha256}, not {told.sha256}"
    return ""


def _misnamed(version: Version) -> Iterator[str]:
    root = root_sha256(list(version.files.values()))
    if root != version.content["sha256"]:
        yield f"{LOCK}: its files have the root hash {root}, not {version.content['sha256']}"
    if not root.startswith(version.version) or not version.version:
        yield f"{LOCK}: the version {version.version!r} is not the start of the root hash {root}"
    is_published = _VERSION.fullmatch(version.folder.name)
    if is_published and version.folder.name != version.version:
        yield f"{LOCK}: it is of the version {version.version}, not of {version.folder.name}"


# --- Comparing ------------------------------------------------------------------------------------

# What a Series is, apart from its findings and its files.
_TOLD = (
    "state",
    "reasons",
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


@dataclass(frozen=True)
class VersionDiff:
    """What is otherwise in the second of two versions.

    Series by UID, with the columns that differ; settings, versions of what made it and files by
    name, as they were and as they are (None: not there).
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]]
    settings: Mapping[str, tuple[Any, Any]]
    made_with: Mapping[str, tuple[Any, Any]]
    files: Mapping[str, tuple[str | None, str | None]]

    def __bool__(self) -> bool:
        return any(vars(self).values())

    @property
    def lines(self) -> Iterator[str]:
        """All of it for people."""
        yield from (f"+ Series {uid}" for uid in self.added)
        yield from (f"- Series {uid}" for uid in self.removed)
        for uid, columns in self.changed.items():
            told = ", ".join(f"{n} {old!r} -> {new!r}" for n, (old, new) in columns.items())
            yield f"~ Series {uid}: {told}"
        for what, values in (("setting", self.settings), ("made with", self.made_with)):
            yield from (f"~ {what} {n}: {old!r} -> {new!r}" for n, (old, new) in values.items())
        signs = {(True, False): "+", (False, True): "-", (False, False): "~"}
        for path, (old_sha256, new_sha256) in self.files.items():
            yield f"{signs[old_sha256 is None, new_sha256 is None]} file {path}"


def diff(before: Version, after: Version) -> VersionDiff:
    """What is otherwise in the second one.

    Raises:
        DataError: the samples of one of them cannot be read.
    """
    old, new = _rows(before), _rows(after)
    both = sorted(old.keys() & new.keys())
    changed = {uid: _otherwise(old[uid], new[uid]) for uid in both}
    hashes = [{path: file.sha256 for path, file in v.files.items()} for v in (before, after)]
    return VersionDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed={uid: columns for uid, columns in changed.items() if columns},
        settings=_otherwise(*(_flat(v.content["settings"]) for v in (before, after))),
        made_with=_otherwise(before.content["made_with"], after.content["made_with"]),
        files=_otherwise(*hashes),
    )


def _rows(version: Version) -> dict[str, dict[str, Any]]:
    rows = version.samples.select(["SeriesInstanceUID", *_TOLD]).to_pylist()
    return {row.pop("SeriesInstanceUID"): row for row in rows}


def _otherwise(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names_ = sorted(old.keys() | new.keys())
    return {n: (old.get(n), new.get(n)) for n in names_ if old.get(n) != new.get(n)}


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by their whole key, as `split.salt`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found
