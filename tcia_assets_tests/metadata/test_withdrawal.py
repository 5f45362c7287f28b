"""A Series is withdrawn only if a probe of it alone finds that the source no longer has it."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets.catalog import SERIES
from tcia_assets.errors import UnknownReply
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day, refreshed_without


def test_a_series_is_withdrawn_only_if_a_probe_finds_it_gone(
    mirror: SandboxMirror,
) -> None:
    [uid] = mirror.uids(SMALL, 1)
    *_, second, third = refreshed_without(mirror)
    assert (second.facts["due"], second.facts["asked_singly"], second.cost.requests) == (0, 0, 1)
    assert (third.facts["due"], third.facts["asked_singly"], third.facts["withdrawn"]) == (1, 1, 1)
    assert mirror.row(uid, SMALL)["withdrawn_at"] == day(4)
    [fourth] = mirror.refresh(day(5), SMALL)
    assert (fourth.facts["due"], fourth.cost.requests) == (0, 1)


def test_probes_beyond_the_budget_are_left_to_the_next_run(mirror: SandboxMirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    *_, third = refreshed_without(mirror, probes=0)
    assert (third.facts["due"], third.facts["asked_singly"], third.cost.requests) == (1, 0, 1)
    assert mirror.row(uid, SMALL)["withdrawn_at"] is None
    mirror.refresh(day(5), SMALL, probes=1)
    assert mirror.row(uid, SMALL)["withdrawn_at"] == day(5)


def test_a_series_that_a_probe_finds_is_not_withdrawn(mirror: SandboxMirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    refreshed_without(mirror, days=2)
    rows = mirror.warehouse.read(SERIES, [SMALL])
    due = rows.filter(pc.equal(rows["SeriesInstanceUID"], uid))
    # The source has the Series, although its listing lacks it.
    mirror.archive.show([uid])
    probed = mirror.source.probe(SMALL, due, rows, 10)
    assert (list(probed.gone), probed.elsewhere, probed.failure) == ([], {}, None)


def test_series_that_still_exist_do_not_keep_others_from_being_probed(
    mirror: SandboxMirror,
) -> None:
    """Whichever is first in the table: each is probed sooner or later."""
    for known, gone in (mirror.uids(SMALL, 2), mirror.uids(SMALL, 2)[::-1]):
        mirror.refresh(day(1), SMALL)
        rows = mirror.warehouse.read(SERIES, [SMALL])
        is_due = pc.is_in(rows["SeriesInstanceUID"], value_set=pa.array([known, gone]))
        # Both are counted in their Study, as if the source sent no counts.
        due, listed = (
            rows.filter(is_due),
            rows.filter(pc.not_equal(rows["SeriesInstanceUID"], gone)),
        )
        mirror.archive.hide([gone])
        found = set[tuple[str, ...]]()
        for _ in range(40):
            found.add(tuple(mirror.source.probe(SMALL, due, listed, 1).gone))
            if len(found) > 1:
                break
        assert found == {(gone,), ()}
        mirror.archive.show([gone])


def test_series_of_a_study_with_more_series_than_are_listed_are_not_gone(
    mirror: SandboxMirror,
) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.start()
    mirror.archive.hide([uid])
    mirror.refresh(day(2), SMALL)
    rows = mirror.warehouse.read(SERIES, [SMALL])
    due = rows.filter(pc.equal(rows["SeriesInstanceUID"], uid))
    study = due["StudyInstanceUID"][0].as_py()
    listed = rows.filter(pc.is_null(rows["missing_since"]))
    fewer = listed.filter(pc.not_equal(listed["StudyInstanceUID"], study))
    assert mirror.source.probe(SMALL, due, listed, 10).gone == [uid]
    probed = mirror.source.probe(SMALL, due, fewer, 10)
    assert (list(probed.gone), probed.probed) == ([], 0)


def test_nothing_is_withdrawn_while_the_source_has_no_reply_for_a_listed_series(
    mirror: SandboxMirror,
) -> None:
    [uid] = mirror.uids(SMALL, 1)
    refreshed_without(mirror, days=2)
    control = mirror.uids(SMALL, 1)[0]
    assert control != uid
    # The listing arrives; then requests for single Series get no reply.
    mirror.sandbox.faults.add(
        *(Fault("empty", "getSeries", times=0, series=each) for each in (uid, control))
    )
    with pytest.raises(UnknownReply):
        mirror.refresh(day(4), SMALL)
    row = mirror.row(uid, SMALL)
    assert (row["withdrawn_at"], row["missing_snapshots"]) == (None, 3)
    mirror.sandbox.faults.clear()
    mirror.refresh(day(4) + timedelta(minutes=5), SMALL)
    assert mirror.row(uid, SMALL)["withdrawn_at"] == day(4) + timedelta(minutes=5)


def test_a_collection_removed_from_the_sources_list_loses_no_series(mirror: SandboxMirror) -> None:
    refreshed_without(mirror, days=2)
    rows = mirror.warehouse.read(SERIES, [SMALL])
    mirror.archive.withdraw(collection=SMALL)
    probed = mirror.source.probe(SMALL, rows, rows, 100)
    assert (list(probed.gone), probed.probed) == ([], 0)
