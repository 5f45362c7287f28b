"""The objects of a Series: the archive's own bytes, under keys that do not tell their UIDs."""

from __future__ import annotations

from tcia_assets.sandbox.idc.stored_objects import Bodies, Store
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.small_series import UID


def test_objects_are_those_of_the_archive(sandbox: Sandbox) -> None:
    store = Store(sandbox.idc)
    stored = store.series(sandbox.idc.uuid_of(UID))
    assert stored is not None
    series = sandbox.archive.find(UID)
    assert series is not None
    own = dict(sandbox.archive.objects(series))
    assert {stored.uid(each): stored.body(each) for each in stored.after()} == own
    keys = [each.key for each in stored.after()]
    assert keys == sorted(set(keys))


def test_a_series_is_made_once_for_many_requests(sandbox: Sandbox) -> None:
    store, uuid = Store(sandbox.idc), sandbox.idc.uuid_of(UID)
    assert store.series(uuid) is store.series(uuid)
    sandbox.idc.publish(revised=[UID])
    assert store.series(uuid) is not None
    assert store.series(sandbox.idc.uuid_of(UID)) is not store.series(uuid)
    assert store.series("unknown") is None


def test_bodies_are_held_up_to_a_limit() -> None:
    bodies, made = Bodies(limit=10), []

    def body(key: str) -> bytes:
        return bodies.get(key, lambda: made.append(key) or bytes(4))

    for key in "abaca":
        assert body(key) == bytes(4)
    assert made == ["a", "b", "c"]
    body("b")
    assert made == ["a", "b", "c", "b"]
