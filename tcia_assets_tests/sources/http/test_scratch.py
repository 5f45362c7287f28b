"""What a killed process leaves behind is gone when the next one starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tcia_assets.sources.http.scratch import Scratch

HOLD = """
import time
from tcia_assets.sources.http.scratch import Scratch
mine = Scratch()
print(mine.path, flush=True)
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's place for temporary files, of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder there, with a body in it, made long ago."""
    command = [sys.executable, "-c", HOLD]
    environment = os.environ | {"TMPDIR": str(place)}
    holder = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    folder = Path(holder.stdout.readline().strip())
    (folder / "body").write_bytes(bytes(1000))
    long_ago = time.time() - 3600
    os.utime(folder, (long_ago, long_ago))
    return holder, folder


def kill(holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert holder.stdout
    holder.stdout.close()


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(place: Path) -> None:
    (killed, left), (living, kept) = hold(place), hold(place)
    foreign = place / "tcia-replies-of-somebody"
    foreign.mkdir()
    try:
        kill(killed)
        assert (left / "body").is_file()
        mine = Scratch()
        assert not left.exists()
        assert (kept / "body").is_file() and mine.path.is_dir() and foreign.is_dir()
        mine.close()
        assert not mine.path.exists()
    finally:
        kill(living)


def test_a_folder_that_was_just_made_is_not_touched_before_its_owner_holds_it(place: Path) -> None:
    young = place / "tcia-replies-young"
    young.mkdir()
    (young / "lock").touch()
    Scratch().close()
    assert young.is_dir()
    long_ago = time.time() - 3600
    os.utime(young, (long_ago, long_ago))
    Scratch().close()
    assert not young.exists()
