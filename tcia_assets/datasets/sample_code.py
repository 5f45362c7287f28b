"""The code that decides what is in a sample, as a digest.

The version of this package changes with releases only. Samples that were made by other code of the
same version, such as that of an earlier commit, must not be used again.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_MODULES = (
    *("sample_channels.py", "sample_files.py", "sample_grid.py", "sample_job.py", "sample_rows.py"),
    *("crop_settings.py", "volume_settings.py", "written_values.py", "volume/*.py"),
    *("frame_samples.py", "frame_settings.py", "frame/*.py"),
)


@cache
def code_digest(folder: Path = _HERE) -> str:
    """Return the SHA-256 of the modules that make samples.

    Args:
        folder: The package `tcia_assets.datasets`, or a copy of it.
    """
    paths = sorted(path for pattern in _MODULES for path in folder.glob(pattern))
    digest = hashlib.sha256()
    for path in paths:
        # Line ends differ between checkouts.
        text = path.read_text(encoding="utf-8")
        digest.update(f"{path.relative_to(folder).as_posix()} {len(text)}\n{text}".encode())
    return digest.hexdigest()
