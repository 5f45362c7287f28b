"""The folder in which Dagster keeps its records: DAGSTER_HOME, or one in the data folder."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import dagster as dg

from tcia_assets.errors import StorageError, UsageError
from tcia_assets.store.locks import hold_lock

# How long to wait for another command that makes Dagster's home.
_HOME_WAIT_S = 60.0
_IN_URLS = frozenset("?%#")
# The configuration of a Dagster home that we make; an existing DAGSTER_HOME stays as it is.
DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
sensors:
  use_threads: true
  num_workers: 4
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
# What sensors and schedules found; that a sensor found nothing is kept for seven days by default.
retention:
  schedule:
    purge_after_days: 30
  sensor:
    purge_after_days: {skipped: 7, success: 30, failure: 30}
# The output of a step is shown, not kept: to keep it, Dagster starts four processes a step.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


def open_instance(root: Path) -> dg.DagsterInstance:
    """Open the instance of DAGSTER_HOME if that is set, else the one in the data folder.

    Raises:
        UsageError: The data folder cannot be written to, or Dagster cannot use its home.
    """
    chosen = os.environ.get("DAGSTER_HOME")
    if chosen and not (Path(chosen).is_absolute() and Path(chosen).is_dir()):
        raise UsageError(
            f"DAGSTER_HOME is {chosen!r}; it must be the absolute path of a folder, or unset"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        home = Path(chosen) if chosen else _own_home(root)
    except (OSError, StorageError) as error:
        cause = error.__cause__ if isinstance(error, StorageError) else error
        reason = f"cannot be written to: {getattr(cause, 'strerror', None) or error}"
        raise UsageError(f"the data folder (TCIA_DATA_DIR) {str(root)!r} {reason}") from None
    if not os.access(home, os.W_OK):
        raise UsageError(f"the data folder {str(root)!r} is read-only: {home} cannot be written to")
    try:
        return dg.DagsterInstance.from_config(_plain_path(home))
    except Exception as error:  # its loader raises errors of many kinds for a bad file
        problem = " ".join(str(error).split())[:300]  # it may list all valid keys
        raise UsageError(f"Dagster cannot use {home / 'dagster.yaml'}: {problem}") from error


def _own_home(root: Path) -> Path:
    """Return Dagster's home in the data folder; it is made if there is none."""
    home = root / "dagster"
    if not (home / "dagster.yaml").exists():
        lock = root / ".locks" / "dagster.lock"
        with hold_lock(lock, "Dagster's home in the data folder", wait=_HOME_WAIT_S):
            if not (home / "dagster.yaml").exists():
                _make_home(home, root / ".dagster")
    return home


def _plain_path(home: Path) -> str:
    """Return a path of a home without the characters that mean something in a URL.

    Dagster writes the path of its databases into one as it is: it would be cut at a "?".
    """
    if not _IN_URLS.intersection(str(home)):
        return str(home)
    folder = Path(tempfile.mkdtemp(prefix="tcia-dagster-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # the link, not what it leads to
    (folder / "home").symlink_to(home.absolute(), target_is_directory=True)
    return str(folder / "home")


def _make_home(home: Path, draft: Path) -> None:
    """Make a home whole or not at all: one whose databases are half made cannot be used again."""
    shutil.rmtree(draft, ignore_errors=True)  # a killed run may have left it
    draft = home if home.exists() else draft
    draft.mkdir(exist_ok=True)
    (draft / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
    if draft != home:
        dg.DagsterInstance.from_config(_plain_path(draft)).dispose()
        draft.rename(home)
