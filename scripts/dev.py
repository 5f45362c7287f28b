"""`make dev`: Dagster's UI and daemon on the demo's data, and the archives as the demo left them.

PORT chooses the port of the UI, ARCHIVE_PORT that of the archive; by default it is the demo's.
"""

from __future__ import annotations

import os
import subprocess
import sys

from demo import BIN, DATA, IDC_DATA, PORT, ROOT, dagster_environment, environment, sandbox


def main() -> None:
    if not PORT.exists():
        sys.exit("there is no data yet: run `make demo` first")
    port = os.environ.get("PORT", "3000")
    archive_port = int(os.environ.get("ARCHIVE_PORT") or PORT.read_text(encoding="utf-8"))
    print(f"Dagster's UI is at http://127.0.0.1:{port}; stop it with Ctrl-C.", flush=True)
    with sandbox(archive_port) as url:
        print(f"The archive of the demo is at {url}. For the Imaging Data Commons beside it:")
        for name in ("TCIA_IDC_BASE_URL", "TCIA_IDC_INDEX"):
            print(f"export {name}={environment(url)[name]}")
        print(f"export TCIA_SOURCE=idc TCIA_DATA_DIR={IDC_DATA.relative_to(ROOT)}", flush=True)
        command = [BIN / "dagster", "dev", "-w", ROOT / "workspace.yaml", "-p", port]
        try:
            subprocess.run(command, env=dagster_environment(url), cwd=ROOT, check=False)
        except KeyboardInterrupt:
            print(f"ended; the data are in {DATA}")


if __name__ == "__main__":
    main()
