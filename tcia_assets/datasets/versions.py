"""The versions of a dataset on disk: found, read and verified.

A version has a lock file with its root hash. `version_publishing.py` adds and removes versions;
`version_diff.py` compares two of them.

    <data root>/datasets/<name>/<version>/          all files, and dataset.lock.json about them
    <data root>/datasets/<name>/latest              a symbolic link to the newest version

A version is named by the first 12 digits of its root hash: the SHA-256 over a line
`<sha256>  <path>` for each file but the lock file, sorted by path, as `sha256sum` writes them. So
the same files are the same version, wherever and whenever they were made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.cohort import hash_cohort
from tcia_assets.datasets.samples import read_samples, series_in_files
from tcia_assets.errors import DataError, UnknownName, UsageError
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.files import sha256_of

LOCK = "dataset.lock.json"
INDEX = "samples.parquet"
LATEST = "latest"

_FORMAT = 1
_OWN_HASH = "lock_sha256"
_DIGITS = 12
_VERSION = re.compile(f"[0-9a-f]{{{_DIGITS}}}")
_THREADS = 2


@dataclass(frozen=True)
class VersionFile:
    """A file of a version; `path` is relative to its folder, with slashes."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Version:
    """A version on disk; `content` is that of its lock file."""

    folder: Path
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return str(self.content["name"])

    @property
    def version(self) -> str:
        """The first digits of the root hash."""
        return str(self.content["version"])

    @property
    def files(self) -> dict[str, VersionFile]:
        """The files that the lock file lists, by path."""
        return {
            path: VersionFile(path, facts["bytes"], facts["sha256"])
            for path, facts in self.content["files"].items()
        }

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files.values())

    @property
    def made_at(self) -> datetime:
        """When its lock file was written; no file of the version holds that time."""
        return datetime.fromtimestamp((self.folder / LOCK).stat().st_mtime, UTC)

    @property
    def samples(self) -> pa.Table:
        """The table of samples, as `samples.SAMPLES`.

        Raises:
            DataError: The file is damaged.
        """
        path = self.folder / INDEX
        try:
            return read_samples(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read: {error}", table="samples") from error

    @property
    def series(self) -> list[dict[str, Any]]:
        """The rows of the cohort, in its order, whose Series are in files of the version.

        Raises:
            DataError: The table of samples is damaged.
        """
        used = series_in_files(self.samples)
        rows = self.content["cohort"]["series"]
        return [row for row in rows if row["SeriesInstanceUID"] in used]


# --- Finding versions -----------------------------------------------------------------------------


def dataset_folder(root: Path, name: str) -> Path:
    """Return the folder of a dataset's versions, below the data root."""
    return root / "datasets" / name


def dataset_names(root: Path) -> list[str]:
    """Return the names of the datasets that have a version, sorted."""
    locks = (root / "datasets").glob(f"*/*/{LOCK}")
    folders = (lock.parent for lock in locks if _VERSION.fullmatch(lock.parent.name))
    return sorted({folder.parent.name for folder in folders})


def list_versions(root: Path, name: str) -> list[Version]:
    """Return the versions of a dataset, the newest last."""
    locks = dataset_folder(root, name).glob(f"*/{LOCK}")
    found = [read(lock.parent) for lock in locks if _VERSION.fullmatch(lock.parent.name)]
    return sorted(found, key=lambda version: (version.made_at, version.version))


def latest(root: Path, name: str) -> str:
    """Return the version that the link `latest` points to; "" without a link."""
    with suppress(OSError):
        return (dataset_folder(root, name) / LATEST).readlink().name
    return ""


def find(root: Path, wanted: str) -> Version:
    """Find the version that a path, `NAME` (its latest), or `NAME/VERSION` names.

    The first digits of a version are enough if no other version starts with them.

    Raises:
        UnknownName: There is no such dataset or version.
        DataError: The lock file is damaged.
    """
    folder = Path(wanted)
    if (folder / LOCK).is_file():
        return read(folder.resolve())
    name, _, version = wanted.partition("/")
    names = dataset_names(root)
    if name not in names:
        raise UnknownName("built dataset", name, names)
    known = {each.folder.name: each for each in list_versions(root, name)}
    version = version or LATEST
    if version == LATEST:
        version = latest(root, name) or next(reversed(known))
    matching = [each for each in known if each.startswith(version)]
    if len(matching) != 1:
        raise UnknownName("version", version, known)
    return known[matching[0]]


def read(folder: Path) -> Version:
    """Read the version in a folder.

    Raises:
        UsageError: The folder has no lock file.
        DataError: The lock file is damaged.
    """
    path = folder / LOCK
    try:
        return _version(folder, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        problem = f"{folder} is not a version of a dataset: it has no {LOCK}"
        raise UsageError(problem) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{path} is not a lock file of a dataset: {error}"
        raise DataError(problem, table="dataset") from error


def _version(folder: Path, content: dict[str, Any]) -> Version:
    if content["format"] != _FORMAT:
        raise ValueError(f"its format is {content['format']!r}; only {_FORMAT} can be read")
    version = Version(folder, content)
    # Read all that callers rely on: a damaged file fails here, as a whole.
    _ = (version.name, version.version, version.files, content["sha256"], content["settings"])
    return version


# --- Verifying ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VerifyResult:
    """How many files and bytes were checked; a line for each problem, with the file."""

    files: int
    bytes: int
    problems: tuple[str, ...]


def verify(version: Version, report: ProgressCallback = ignore_progress) -> VerifyResult:
    """Check each file against the lock file, and the lock file against its hashes.

    Further files are problems too.

    Args:
        version: On disk.
        report: Called with the number of checked files and of all files.
    """
    listed = version.files
    found = set(_file_paths(version.folder)) - {LOCK}
    problems = [f"{path}: the file is missing" for path in sorted(listed.keys() - found)]
    problems += [f"{path}: not a file of the dataset" for path in sorted(found - listed.keys())]
    checked = sorted(listed.keys() & found)
    with ThreadPoolExecutor(_THREADS) as pool:
        results = pool.map(lambda path: _file_problem(version.folder, listed[path]), checked)
        for done, problem in enumerate(results, start=1):
            problems += [problem] if problem else []
            report(done, len(checked))
    # A changed list of files is found by its root hash; other content, such as licences, by this.
    problems += [*_name_problems(version)] or _content_problems(version)
    return VerifyResult(len(checked), version.bytes, tuple(problems))


def _file_problem(folder: Path, file: VersionFile) -> str:
    path = folder / file.path
    try:
        if path.is_symlink() or not path.is_file():
            return f"{file.path}: not a regular file"
        if (size := path.stat().st_size) != file.bytes:
            return f"{file.path}: its size is {size} bytes, not {file.bytes}"
        sha256 = sha256_of(path)
    except OSError as error:
        return f"{file.path}: it cannot be read: {error.strerror or error}"
    if sha256 != file.sha256:
        return f"{file.path}: its sha256 is {sha256}, not {file.sha256}"
    return ""


def _content_problems(version: Version) -> list[str]:
    # Versions that were built earlier have no hash of their lock file.
    own = version.content.get(_OWN_HASH)
    if own is not None and own != _content_sha256(version.content):
        return [f"{LOCK}: it was changed after the dataset was built"]
    # The card has this hash too, so that it cannot be edited alone.
    cohort = version.content.get("cohort") or {}
    if cohort and hash_cohort(cohort) != cohort["sha256"]:
        return [f"{LOCK}: its cohort was changed: its Series do not match its sha256"]
    return []


def _name_problems(version: Version) -> Iterator[str]:
    root = root_sha256(version.files.values())
    if root != version.content["sha256"]:
        yield f"{LOCK}: the root hash of its files is {root}, not {version.content['sha256']}"
    if not root.startswith(version.version) or not version.version:
        yield f"{LOCK}: the version {version.version!r} is not the start of the root hash {root}"
    is_published = _VERSION.fullmatch(version.folder.name)
    if is_published and version.folder.name != version.version:
        yield f"{LOCK}: it is of the version {version.version}, not of {version.folder.name}"


# --- Hashes and files -----------------------------------------------------------------------------


def root_sha256(files: Iterable[VersionFile]) -> str:
    """Hash the hash and path of each file, sorted by path."""
    lines = sorted((file.path, f"{file.sha256}  {file.path}\n") for file in files)
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()


def list_files(folder: Path, hashed: Iterable[VersionFile] = ()) -> list[VersionFile]:
    """Return every file of a folder but the lock file, sorted by path.

    Files in `hashed` are not read again.
    """
    known = {file.path: file for file in hashed}
    paths = sorted(path for path in _file_paths(folder) if path != LOCK)
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda path: known.get(path) or _hash(folder, path), paths))


def _hash(folder: Path, path: str) -> VersionFile:
    file = folder / path
    return VersionFile(path, file.stat().st_size, sha256_of(file))


def lock_content(content: Mapping[str, Any], files: Collection[VersionFile]) -> dict[str, Any]:
    """Return what the lock file of a version holds, with its name and hashes.

    Args:
        content: What it holds beside these.
        files: All other files of the version.
    """
    listed = {file.path: {"bytes": file.bytes, "sha256": file.sha256} for file in files}
    root = root_sha256(files)
    content = {"format": _FORMAT, **content, "version": root[:_DIGITS], "sha256": root}
    content["files"] = listed
    return content | {_OWN_HASH: _content_sha256(content)}


def _content_sha256(content: Mapping[str, Any]) -> str:
    """Hash what a lock file holds, but this hash."""
    facts = {name: value for name, value in content.items() if name != _OWN_HASH}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _file_paths(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()
