"""Hashes of what is on disk are compared with the source's MD5 hierarchy."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets import catalog
from tcia_assets.errors import UsageError
from tcia_assets.images import audit
from tcia_assets.images.audit import AuditResult, audit_hashes, audit_sample
from tcia_assets.images.verify import verify_zips
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.conftest import settings_for
from tcia_assets_tests.images.many import SERIES, place_at, put
from tcia_assets_tests.images.place import COLLECTION, Place


def audited(place: Place, **chosen: Any) -> AuditResult:
    place.sandbox.requests.clear()
    with place.source() as source:
        return audit_hashes(COLLECTION, source, place.warehouse, **chosen)


def sampled(place: Place, size: int) -> AuditResult:
    with place.source() as source:
        return audit_sample(COLLECTION, source, place.warehouse, size)


def questions(place: Place) -> int:
    return place.sandbox.requests["getMD5Hierarchy"]


def test_one_request_verifies_a_complete_collection(fetched: Place) -> None:
    found = audited(fetched)

    assert (found.equal, found.differing, found.not_requested) == (SERIES, [], 0)
    assert found.requests == questions(fetched) == 1


def test_only_nodes_that_differ_are_requested_further_down(fetched: Place) -> None:
    changed = fetched.uids[0]
    fetched.sandbox.archive.revise([changed])
    found = audited(fetched)

    assert (found.equal, found.differing) == (SERIES - 1, [changed])
    assert 1 < found.requests == questions(fetched) < SERIES + 3


def test_a_wrong_md5_in_images_makes_its_series_differ(fetched: Place) -> None:
    uid = fetched.uids[0]
    table = fetched.warehouse.read(catalog.IMAGES, [COLLECTION])
    mine = pc.equal(table["SeriesInstanceUID"], uid)
    wrong = pc.if_else(mine, pa.scalar("0" * 32), table["md5"])
    at = table.schema.get_field_index("md5")
    fetched.warehouse.write(
        catalog.IMAGES, table.set_column(at, table.schema.field(at), wrong), COLLECTION
    )

    assert audited(fetched).differing == [uid]


def test_of_an_incomplete_node_every_series_on_disk_is_requested(fetched: Place) -> None:
    gone = fetched.uids[0]
    fetched.zip(gone).unlink()
    verify_zips(COLLECTION, fetched.warehouse)
    found = audited(fetched)

    assert (found.equal, found.differing, found.not_requested) == (SERIES - 1, [], 0)


def test_rows_of_images_from_an_older_zip_are_not_compared(fetched: Place) -> None:
    uid = fetched.uids[0]
    put(fetched, fetched.rows[uid] | {"sha256": "0" * 64})

    assert audited(fetched).equal == SERIES - 1


def test_a_sample_sends_one_request_a_series(fetched: Place) -> None:
    found = sampled(fetched, 4)

    assert (found.equal, found.not_requested, questions(fetched)) == (4, 0, 4)


def test_a_sample_is_the_same_all_day_and_others_the_next_day(
    fetched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Day(datetime):
        number = 1

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 3, cls.number, 12, tzinfo=tz)

    monkeypatch.setattr(audit, "datetime", Day)
    chosen = []
    for number in (1, 1, 2, 3):
        Day.number = number
        chosen.append(frozenset(each.uid for each in sampled(fetched, 4).walk.compared))

    assert [len(uids) for uids in chosen] == [4] * 4
    assert chosen[0] == chosen[1] and len(set(chosen)) == 3


def test_series_beyond_the_most_requests_are_counted_as_not_requested(fetched: Place) -> None:
    fetched.sandbox.archive.revise(fetched.uids)
    found = audited(fetched, max_requests=3)

    assert found.requests == questions(fetched) == 3
    assert found.equal + len(found.differing) + found.not_requested == SERIES
    assert found.not_requested > 0


def test_without_zips_nothing_is_requested(twelve_served: Sandbox, tmp_path: Path) -> None:
    empty = place_at(twelve_served, tmp_path)
    empty.warehouse.ensure_views()
    found = audited(empty)

    assert (found.equal, found.differing, found.not_requested, questions(empty)) == (0, [], 0, 0)


def test_a_withdrawn_series_differs_and_the_others_are_compared(
    fetched: Place,
) -> None:
    gone = fetched.uids[0]
    fetched.sandbox.archive.withdraw([gone])
    found = audited(fetched)

    assert (found.equal, found.differing, found.unknown) == (SERIES - 1, [gone], [gone])
    assert found.failure == ""


def test_a_failing_source_ends_the_audit_with_what_was_found(fetched: Place) -> None:
    fetched.sandbox.faults.add(Fault("status", "getMD5Hierarchy", times=0, status=404))
    found = audited(fetched)

    assert (found.equal, found.differing, found.not_requested) == (0, [], SERIES)
    assert "404" in found.failure and found.requests == 1


def test_series_without_index_are_counted_and_a_sample_needs_no_index(fetched: Place) -> None:
    fetched.warehouse.path(catalog.IMAGES, COLLECTION).unlink()

    assert audited(fetched).not_compared == SERIES
    of_zips = sampled(fetched, 4)
    assert (of_zips.equal, of_zips.not_compared) == (4, 0)


def test_a_source_without_hashes_is_refused(fetched: Place) -> None:
    class Bindaas(Place):
        @property
        def settings(self) -> Any:
            return settings_for(self.sandbox, self.data_dir, "bindaas-v4")

    with pytest.raises(UsageError, match=r"bindaas-v4@.* provides no MD5 hashes"):
        audited(Bindaas(fetched.sandbox, fetched.data_dir))
