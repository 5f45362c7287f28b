"""`make dev`: Dagster's UI and daemon on the demo's data, with a sandbox as the source."""

from __future__ import annotations

import subprocess
import sys

from demo import BIN, DATA, ROOT, dagster_environment, sandbox


def main() -> None:
    if not DATA.exists():
        sys.exit("there is no data yet: run `make demo` first")
    print("Dagster's UI is at http://127.0.0.1:3000; stop it with Ctrl-C.", flush=True)
    with sandbox() as url:
        command = [BIN / "dagster", "dev", "-w", ROOT / "workspace.yaml", "-p", "3000"]
        try:
            subprocess.run(command, env=dagster_environment(url), cwd=ROOT, check=False)
        except KeyboardInterrupt:
            print("ended")


if __name__ == "__main__":
    main()
