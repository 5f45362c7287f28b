"""A version of a dataset on the Hugging Face Hub: all of its files, in one commit.

huggingface_hub uploads the large files first, and the Hub keeps them: a push that was interrupted
goes on where it was. Until the commit, readers see the version before. Files of an earlier version
that this one does not have are removed; others in the repository stay.

Needs the extra `hf`. The token is huggingface_hub's own: HF_TOKEN, or what `hf auth login` stored.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcia_assets.datasets.licenses import License, license_of_row
from tcia_assets.datasets.versions import LOCK, Version, verify
from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    DatasetRefused,
    MissingExtra,
    RemoteError,
    RequestRefused,
    UsageError,
    quote_first,
    shorten,
)
from tcia_assets.progress import ProgressCallback, ignore_progress

try:
    from huggingface_hub import (
        CommitOperationAdd,
        CommitOperationDelete,
        HfApi,
        get_token,
    )
    from huggingface_hub import errors as hub_errors
except ImportError as error:
    raise MissingExtra(str(error.name), "hf", "pushing a dataset to the Hub") from None

_ADDRESS = re.compile(r"hf://datasets/([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)/?")
_KIND = "dataset"
_REFUSED, _BROKEN = 400, 500
_UNAUTHORIZED, _FORBIDDEN, _CHANGED = 401, 403, 412
_LONGEST_REPLY = 300
_GO_ON = "push again: what is uploaded stays"
# A file of this machine that cannot be read is an OSError too, and no matter of the network.
_NO_CONNECTION = (hub_errors.HTTPError, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class PushOptions:
    """How a version is pushed.

    Attributes:
        is_public: Whether a new repository is public; one that exists stays as it is.
        allow_unlicensed: Also push Series of which the source states no licence.
        endpoint: The address of the Hub; None for that of HF_ENDPOINT, or the public one.
    """

    is_public: bool = False
    allow_unlicensed: bool = False
    endpoint: str | None = None


@dataclass(frozen=True)
class PushedDataset:
    """A version on the Hub.

    Attributes:
        url: Of the repository.
        commit: The hash of its newest commit.
        is_changed: Whether this push made that commit.
        is_private: Whether only people with access can see it.
        files: The number of its files.
        bytes: Their size.
        notes: What the licences of its data forbid.
    """

    url: str
    commit: str
    is_changed: bool
    is_private: bool
    files: int
    bytes: int
    notes: tuple[str, ...]


def push(
    version: Version,
    address: str,
    options: PushOptions,
    report: ProgressCallback = ignore_progress,
) -> PushedDataset:
    """Upload a version to a repository of datasets, which is made if there is none.

    Args:
        version: On disk.
        address: `hf://datasets/OWNER/REPO`.
        options: How.
        report: Called with the number of files checked and of all files, before the upload.

    Raises:
        UsageError: The address is none, there is no token, or Series have no licence.
        DatasetRefused: Files of the version are missing or damaged.
        RequestRefused: The Hub refuses the token, or what it may not do.
        ArchiveBroken: The Hub fails; what is uploaded stays.
        ArchiveUnreachable: There is no connection to it.
    """
    repository = parse_address(address)
    notes = check_licenses(version, allow_unlicensed=options.allow_unlicensed)
    if not get_token():
        raise UsageError("there is no token for the Hub: set HF_TOKEN, or run `hf auth login`")
    if problems := verify(version, report).problems:
        advice = "build it again, and see `tcia-assets dataset verify`"
        raise DatasetRefused(version.name, "its files differ from its lock file", problems, advice)
    hub = HfApi(endpoint=options.endpoint)
    with _clear_errors(repository, hub.endpoint):
        is_new = not hub.repo_exists(repository, repo_type=_KIND)
        made = hub.create_repo(
            repository, repo_type=_KIND, private=not options.is_public, exist_ok=True
        )
    kind = "public" if options.is_public else "private"
    left = f"the {kind} repository {made} was made, and is empty" if is_new else ""
    with _clear_errors(repository, hub.endpoint, left):
        return _upload(hub, version, repository, str(made), notes)


def parse_address(address: str) -> str:
    """Return the repository of an address, as `OWNER/REPO`.

    >>> parse_address("hf://datasets/me/lung_ct")
    'me/lung_ct'

    Raises:
        UsageError: It is no address of a repository of datasets.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError(f"{address!r} is not an address such as hf://datasets/OWNER/REPO")
    return match[1]


def check_licenses(version: Version, *, allow_unlicensed: bool) -> tuple[str, ...]:
    """Return what the licences of the data in a version forbid, a line for each licence.

    Raises:
        UsageError: Series have no licence, and that is not allowed.
    """
    licenses = {row["SeriesInstanceUID"]: license_of_row(row) for row in version.series}
    uids = [uid for uid, license_ in licenses.items() if license_.is_missing]
    if uids and not allow_unlicensed:
        raise UsageError(
            "leave Series without a licence out of the cohort, or use --allow-unlicensed if you "
            f"have the right to pass them on: the source states no licence for {len(uids)} Series, "
            f"{quote_first(uids, 2)}"
        )
    return tuple(sorted(filter(None, map(_limits, {*licenses.values()}))))


def _limits(license_: License) -> str:
    """Return what a licence forbids; "" if it lets everybody use and change the data."""
    name = license_.name or license_.uri
    if license_.is_missing:
        return "the source states no licence for some Series"
    if not license_.short:
        return f"{name!r} is not a known licence: read whether it lets you publish the data"
    words = license_.short.split("-")
    forbidden = {"nc": "commercial use", "nd": "passing on changed data"}
    limits = [text for word, text in forbidden.items() if word in words]
    return f"{name} forbids {' and '.join(limits)}" if limits else ""


# --- The upload -----------------------------------------------------------------------------------


def _upload(
    hub: HfApi, version: Version, repository: str, url: str, notes: tuple[str, ...]
) -> PushedDataset:
    before = hub.dataset_info(repository)
    paths = [*sorted(version.files), LOCK]
    additions = [CommitOperationAdd(path, version.folder / path) for path in paths]
    there = {each.rfilename for each in before.siblings or ()}
    old = _files_of(hub, repository) if LOCK in there else set()
    removed = [CommitOperationDelete(path) for path in sorted((old & there) - set(paths))]
    # Against another push at the same time: the Hub refuses a commit on a different parent.
    commit = hub.create_commit(
        repository,
        [*additions, *removed],
        repo_type=_KIND,
        commit_message=f"{version.name} {version.version}",
        parent_commit=before.sha,
    )
    return PushedDataset(
        url=url,
        commit=commit.oid,
        is_changed=commit.oid != before.sha,
        is_private=bool(before.private),
        files=len(paths),
        bytes=version.bytes,
        notes=notes,
    )


def _files_of(hub: HfApi, repository: str) -> set[str]:
    """Return the files that the lock file in the repository lists; none if it is not one."""
    with tempfile.TemporaryDirectory() as folder:
        lock = hub.hf_hub_download(repository, LOCK, repo_type=_KIND, local_dir=folder)
        try:
            return set(json.loads(Path(lock).read_text(encoding="utf-8"))["files"])
        except (ValueError, KeyError, TypeError):
            return set()


@contextmanager
def _clear_errors(repository: str, url: str, left: str = "") -> Iterator[None]:
    """Raise our errors for those of huggingface_hub, each a sentence with what to do.

    Args:
        repository: Of the dataset.
        url: The address of the Hub.
        left: What a failure leaves on the Hub; "" for nothing.
    """
    try:
        yield
    except (hub_errors.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise _explain(error, repository, url, left) from None


def _explain(error: BaseException, repository: str, url: str, left: str) -> RemoteError:
    """Return our error for one of huggingface_hub, by the first cause that the Hub gave."""
    left = f"; {left}" if left else ""
    for cause in _causes(error):
        if isinstance(cause, hub_errors.HfHubHTTPError):
            return _refusal(cause, repository, url, left)
        if isinstance(cause, _NO_CONNECTION):
            reason = shorten(str(cause)) or type(cause).__name__
            problem = f"the Hub cannot be reached: {reason}; {_GO_ON}{left}"
            return ArchiveUnreachable(problem, url=url)
    reason = shorten(str(error.__cause__ or error))
    return ArchiveBroken(f"the upload failed: {reason}; {_GO_ON}{left}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from: downloads and uploads wrap the Hub's reply."""
    while error is not None:
        yield error
        error = error.__cause__


def _refusal(error: Any, repository: str, url: str, left: str) -> RemoteError:
    status = int(error.response.status_code)
    reply = shorten(" ".join((error.server_message or "").split()), _LONGEST_REPLY)
    if status == _UNAUTHORIZED:
        problem = "the Hub does not accept the token: set HF_TOKEN, or run `hf auth login`"
    elif status == _FORBIDDEN:
        problem = f"the token may not write to {repository}, or not make it: it needs that right"
    elif status == _CHANGED:
        problem = f"{repository} was changed meanwhile: push again"
    elif status < _BROKEN:
        problem = f"the Hub answered {status} for {repository}"
    else:
        problem = f"the Hub fails; {_GO_ON}"
    kind = RequestRefused if _REFUSED <= status < _BROKEN else ArchiveBroken
    return kind(problem + left, url=url, status=status, excerpt=reply)
