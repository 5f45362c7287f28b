"""`make dev`: Dagster's UI and daemon on the demo's data, and the sandbox as the demo left it.

PORT chooses the port of the UI, ARCHIVE_PORT that of the sandbox; by default it is the demo's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tcia_assets.demo.processes import DAGSTER
from tcia_assets.demo.stage import Stage

STAGE = Stage(Path(__file__).resolve().parents[1] / "data" / "demo")


def main() -> None:
    if not STAGE.port_file.exists():
        sys.exit("there is no data yet: run `make demo` first")
    # SIGTERM must end the sandbox too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    port = os.environ.get("PORT", "3000")
    archive_port = int(
        os.environ.get("ARCHIVE_PORT") or STAGE.port_file.read_text(encoding="utf-8")
    )
    print(f"Dagster's UI is at http://127.0.0.1:{port}; stop it with Ctrl-C.", flush=True)
    with STAGE.sandbox(archive_port) as url:
        print(f"The sandbox of the demo is at {url}. For the Imaging Data Commons beside it:")
        for name in ("TCIA_IDC_BASE_URL", "TCIA_IDC_INDEX"):
            print(f"export {name}={STAGE.environment(url)[name]}")
        print(f"export TCIA_SOURCE=idc TCIA_DATA_DIR={STAGE.idc_folder}", flush=True)
        command = [*DAGSTER, "dev", "-m", "tcia_assets.definitions", "-p", port]
        try:
            subprocess.run(command, env=STAGE.dagster_environment(url), check=False)
        except KeyboardInterrupt:
            print(f"ended; the data are in {STAGE.folder}")


if __name__ == "__main__":
    main()
