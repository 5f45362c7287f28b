"""Programs for child processes that work on the same data folder and may be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tcia_assets_tests.repository import ROOT

# Fetches a shard, and kills itself after so many rows if that number is not 0.
FETCH = """
import os, signal, sys
from pathlib import Path
from tcia_assets.images.fetch import FetchListener, fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.run_limits import Shard
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse

url, root, collection, most, index, count, dies_after = sys.argv[1:]
selection = Selection(collections=(collection,), max_series_per_run=int(most))
kept = []

class Arrivals(FetchListener):
    def on_row(self, row):
        kept.append(row)
        if len(kept) == int(dies_after):
            os.kill(os.getpid(), signal.SIGKILL)

# Wait for the parent's signal to start.
print("ready", flush=True)
sys.stdin.readline()
with open_source(Settings(base_url=url, data_dir=root)) as source:
    shard = Shard(int(index), int(count))
    warehouse = Warehouse(Path(root))
    fetch_images(collection, FetchSession(selection, shard), source, warehouse, Arrivals())
"""

# Holds the claim on a zip until it is killed.
CLAIM = """
import sys
from pathlib import Path
from tcia_assets.images.zip_files import claim

with claim(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def child(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a Python program and wait until it is ready; it is killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("TCIA_")},
        text=True,
    )
    with process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
