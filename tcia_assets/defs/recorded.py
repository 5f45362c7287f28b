"""Which partitions Dagster has an event of, as they are stored now.

An event is due where the digest of a stored partition is not that of its newest event. So a
partition that did not change has no second event; a run that was killed between writing and
recording loses none; an instance that is new, or was reset, gets one for each partition; and of two
instances that share a data folder each gets its own.

To look up the newest event of each partition takes seconds. The digests that an instance has
recorded are therefore kept in a file too. It may be deleted at any time.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager, suppress
from time import time
from uuid import uuid4

import dagster as dg

from tcia_assets.spec import Table
from tcia_assets.store.files import publish_text
from tcia_assets.store.locks import hold_lock
from tcia_assets.store.warehouse import Warehouse

DIGEST = "digest"
_ID = "tcia_assets_instance"
# Each event is stored in 12 ms; the first refresh of TCIA has more than a thousand.
_LOCK_WAIT_S = 600.0
# An instance that has not recorded anything for so long is gone; `dagster dev` makes one a start.
_FORGOTTEN_AFTER_S = 30 * 86400


class RecordedDigests:
    """The digests that an instance of Dagster has recorded; use it within `open_recorded`."""

    def __init__(self, instance: dg.DagsterInstance, warehouse: Warehouse) -> None:
        self._instance, self._warehouse = instance, warehouse
        self._file = warehouse.root / "warehouse" / ".recorded" / f"{_id_of(instance)}.json"
        self._known: dict[str, dict[str, str]] = {}
        with suppress(FileNotFoundError, ValueError):
            self._known = json.loads(self._file.read_text(encoding="utf-8"))
        self._materialized: dict[dg.AssetKey, set[str]] = {}

    def is_due(self, asset: dg.AssetKey, table: Table, key: str, digest: str) -> bool:
        """Return whether a partition has no event with this digest.

        Args:
            asset: The asset of the table.
            table: The table.
            key: The partition; "" for a table without partitions.
            digest: The partition's digest.
        """
        if key and key not in self._partitions(asset):
            return True
        if key and self._known.get(asset.to_user_string(), {}).get(key) == digest:
            return False
        return not self._is_newest(asset, table, key, digest)

    def mark(self, asset: dg.AssetKey, key: str, digest: str) -> None:
        """Remember that the event of a partition is stored."""
        self._known.setdefault(asset.to_user_string(), {})[key] = digest

    def forget(self, asset: dg.AssetKey, key: str) -> None:
        """Forget the event of a partition, and `save` that, before a new one is stored.

        Should the partition become again what it was before, its digest must not pass for that of
        the newest event, whether or not the new one is ever marked.
        """
        self._known.get(asset.to_user_string(), {}).pop(key, None)

    def save(self) -> None:
        """Write what was marked and forgotten, and remove the files of instances that are gone."""
        publish_text(self._file, json.dumps(self._known, sort_keys=True))
        for path in self._file.parent.glob("*.json"):
            with suppress(FileNotFoundError):
                if time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S and path != self._file:
                    path.unlink()

    def _partitions(self, asset: dg.AssetKey) -> set[str]:
        if asset not in self._materialized:
            self._materialized[asset] = set(self._instance.get_materialized_partitions(asset))
        return self._materialized[asset]

    def _is_newest(self, asset: dg.AssetKey, table: Table, key: str, digest: str) -> bool:
        of_key = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[key] if key else None)
        records = self._instance.fetch_materializations(of_key, limit=1).records
        event = records[0].asset_materialization if records else None
        if event is None:
            return False
        if DIGEST in event.metadata:
            return bool(event.metadata[DIGEST].value == digest)
        # An event of an earlier version, which recorded each write.
        written = [path.stat().st_mtime for path in self._warehouse.files(table, key).paths()]
        return bool(written) and max(written) <= records[0].timestamp


@contextmanager
def open_recorded(
    instance: dg.DagsterInstance, warehouse: Warehouse
) -> Generator[RecordedDigests, None, None]:
    """Hold the right to record partitions: two runs would record the same one twice.

    Raises:
        Busy: Another run has held it for ten minutes.
    """
    lock = warehouse.root / ".locks" / "recorded.lock"
    with hold_lock(lock, "the record of Dagster's events", wait=_LOCK_WAIT_S):
        yield RecordedDigests(instance, warehouse)


def _id_of(instance: dg.DagsterInstance) -> str:
    """Return an ID of an instance, which it keeps as a partition that no asset has."""
    if not instance.get_dynamic_partitions(_ID):
        instance.add_dynamic_partitions(_ID, [uuid4().hex])
    return min(instance.get_dynamic_partitions(_ID))
