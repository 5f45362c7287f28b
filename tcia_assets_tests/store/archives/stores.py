"""A bucket of the tests' S3 server, as this package uses it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tcia_assets.store.archives import Archives, open_archives

FOLDER = "RIDER%20Lung%20CT"
NAME = f"{FOLDER}/1.2.zip"
CONTENT = b"PK" + bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def opened(url: str, root: Path, cache_bytes: int = 1 << 20) -> Archives:
    """Return the store at a URL, with its own data folder."""
    return open_archives(url, root, cache_bytes)


def put(archives: Archives, name: str = NAME, content: bytes = CONTENT, replaces: str = "") -> str:
    """Put a file, and return its SHA-256."""
    folder = archives.work_folder(name.partition("/")[0])
    folder.mkdir(parents=True, exist_ok=True)
    draft, sha256 = folder / ".draft", hashlib.sha256(content).hexdigest()
    draft.write_bytes(content)
    archives.put(draft, name, sha256, replaces=replaces)
    assert not draft.exists()
    return sha256
