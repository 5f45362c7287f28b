"""The files that Dagster leaves of a run that was deleted.

Its public call removes the run and its events. With SQLite, the file of the run's events stays, 150
kB without an event in it; so do what its steps printed, and their stored outputs.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import dagster as dg

_PAGE = 200
_SUFFIXES = ("", "-wal", "-shm", "-journal")


def remove_files(instance: dg.DagsterInstance, run_id: str) -> int:
    """Remove the files of a run that is deleted, and return their bytes.

    What steps printed is removed wherever it was stored.
    """
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    folder = Path(instance.storage_directory()) / run_id
    files = [*_event_files(instance, run_id), *_files_in(folder)]
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink(missing_ok=True)
    if folder.is_dir():
        shutil.rmtree(folder)
    return size


def find_left_behind(instance: dg.DagsterInstance, before: float) -> Iterator[str]:
    """Yield IDs of runs that Dagster does not have any more, and whose events have a file still.

    Args:
        instance: Dagster's records.
        before: A file that was written later, in seconds since 1970, is left out.
    """
    ids = [
        path.stem
        for path in _events_folder(instance).glob("*.db")
        if _is_run_id(path.stem) and path.stat().st_mtime < before
    ]
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        records = instance.get_run_records(dg.RunsFilter(run_ids=page))
        known = {record.dagster_run.run_id for record in records}
        yield from (run_id for run_id in page if run_id not in known)


def _events_folder(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / "history" / "runs"


def _event_files(instance: dg.DagsterInstance, run_id: str) -> Sequence[Path]:
    paths = [_events_folder(instance) / f"{run_id}.db{suffix}" for suffix in _SUFFIXES]
    return [path for path in paths if path.is_file()]


def _files_in(folder: Path) -> Sequence[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _is_run_id(text: str) -> bool:
    with suppress(ValueError):
        return str(UUID(text)) == text
    return False
