"""Marks: what was last made of a partition's input, and of which files, beside the partition.

    <root>/warehouse/.marks/<table>/<percent-encoded key>/part-0.json

A mark is written last and removed first, so a killed writer leaves none. It counts only as long as
the bytes of all files are those that it names: whatever else writes, damages or removes one of them
makes it void. None is written if an input changed meanwhile. To lose a mark costs time, and nothing
else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tcia_assets.spec import Table
from tcia_assets.store.files import publish_hint, sha256_of
from tcia_assets.store.partitions import subfolder
from tcia_assets.store.warehouse import Warehouse

_FILE = "part-0.json"
_PACKAGE = Path(__file__).parents[1]
# What rows are made by, beside the modules of the package itself, such as the catalog.
_CODE = ("sources", "metadata", "store")
_LIBRARIES = ("duckdb", "pyarrow")


class Mark:
    """The mark of one partition.

    Args:
        table: The table.
        key: Its partition. Hold its lock from the first write of a file until the mark is written.
        written: The tables of which the partition with this key is written under that lock alone.
        inputs: Those that others may write at any time. They are compared with what they are now.
        warehouse: Where they are.
        context: What else the result depends on. The version of this code is a part of it.
    """

    def __init__(
        self,
        table: Table,
        key: str,
        written: Sequence[Table],
        inputs: Sequence[Table],
        warehouse: Warehouse,
        context: str,
    ) -> None:
        self._path = mark_path(warehouse.root, table, key)
        self._key, self._written, self._warehouse = key, written, warehouse
        self._inputs, self._found = inputs, self._digests(inputs)
        self._context = f"{context} {code_digest()}"

    def read(self) -> dict[str, Any]:
        """Return what was written; empty if there is none, or it does not count any more."""
        try:
            stored = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(stored, dict) or stored.get("context") != self._context:
            return {}
        facts, files = stored.get("facts"), self._digests(self._written) | self._found
        return facts if isinstance(facts, dict) and stored.get("files") == files else {}

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write it, once all else is written; not if an input is not what it was at the start.

        Raises:
            StorageError: The file cannot be written.
        """
        recorded = self._recorded([*self._written, *self._inputs])
        if any(recorded[name] != digests for name, digests in self._found.items()):
            return
        whole = {"context": self._context, "files": recorded, "facts": facts}
        publish_hint(self._path, json.dumps(whole))

    def remove(self) -> None:
        """Remove it, before anything is written."""
        self._path.unlink(missing_ok=True)

    def _digests(self, tables: Sequence[Table]) -> dict[str, list[str]]:
        files = {t.name: self._warehouse.files(t, self._key).paths() for t in tables}
        return {name: [sha256_of(path) for path in paths] for name, paths in files.items()}

    def _recorded(self, tables: Sequence[Table]) -> dict[str, list[str]]:
        """Return the digests of the files as they were written, which are there already."""
        files = {t.name: self._warehouse.files(t, self._key) for t in tables}
        return {name: [*each.digests().values()] for name, each in files.items()}


def mark_path(root: Path, table: Table, key: str) -> Path:
    """Return the path of a partition's mark."""
    return root / "warehouse" / ".marks" / table.name / subfolder(table, key) / _FILE


@cache
def code_digest() -> str:
    """Return what changes with the code that reads and stores rows, and with its libraries."""
    found = (path for name in _CODE for path in _PACKAGE.glob(f"{name}/**/*.py"))
    files = sorted([*found, *_PACKAGE.glob("*.py")])
    digest = sha256(" ".join(version(name) for name in _LIBRARIES).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()
