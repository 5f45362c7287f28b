"""Fail if the sdist in a folder is too large: a data folder or a benchmark got into it.

python scripts/check_sdist.py build/sdist
"""

from __future__ import annotations

import sys
from pathlib import Path

MAX_BYTES = 5_000_000


def main(folder: Path) -> None:
    [sdist] = folder.glob("*.tar.gz")
    size = sdist.stat().st_size
    print(f"{sdist.name}: {size / 1e6:.1f} MB")
    if size > MAX_BYTES:
        sys.exit(f"{sdist} has {size} bytes; at most {MAX_BYTES} are allowed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
