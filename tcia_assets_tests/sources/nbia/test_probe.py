"""Single-Series checks over the sandbox; what follows from them is tested with the history."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets.catalog import SERIES
from tcia_assets.errors import UnknownReply
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source
from tcia_assets_tests.conftest import SMALL


@pytest.fixture
def listed(source: Source) -> pa.Table:
    """The Series of a Collection, as they were listed before one is lost."""
    return source.rows(SERIES, SMALL).table


def of(rows: pa.Table, uid: str) -> pa.Table:
    return rows.filter(pc.equal(rows["SeriesInstanceUID"], uid))


def test_a_series_that_the_server_lost_is_gone(
    source: Source, sandbox: Sandbox, listed: pa.Table
) -> None:
    uid = listed["SeriesInstanceUID"][1].as_py()
    sandbox.archive.hide([uid])
    probed = source.probe(SMALL, of(listed, uid), listed, 10)

    assert (list(probed.gone), probed.elsewhere, probed.failure) == ([uid], {}, None)
    # The Collections, the Studies, the Series, and one that is listed.
    assert (probed.probed, probed.cost.requests) == (1, 4)
    assert probed.cost.size_bytes > 0


def test_a_series_that_moved_is_elsewhere(
    source: Source, sandbox: Sandbox, listed: pa.Table
) -> None:
    uid = listed["SeriesInstanceUID"][1].as_py()
    sandbox.archive.move([uid], to="4D-Lung")
    probed = source.probe(SMALL, of(listed, uid), listed, 10)
    assert (list(probed.gone), probed.elsewhere) == ([], {uid: "4D-Lung"})


def test_a_series_that_the_server_still_has_is_neither(source: Source, listed: pa.Table) -> None:
    uid = listed["SeriesInstanceUID"][1].as_py()
    probed = source.probe(SMALL, of(listed, uid), listed, 10)
    assert (list(probed.gone), probed.elsewhere, probed.probed) == ([], {}, 1)


def test_no_more_are_checked_than_allowed(source: Source, listed: pa.Table) -> None:
    probed = source.probe(SMALL, listed, listed, 2)
    assert (list(probed.gone), probed.probed, probed.cost.requests) == ([], 2, 5)


def test_without_an_answer_for_a_listed_series_nothing_is_gone(
    source: Source, sandbox: Sandbox, listed: pa.Table
) -> None:
    control, uid = listed["SeriesInstanceUID"].to_pylist()[:2]
    sandbox.faults.add(
        *(Fault("empty", "getSeries", times=0, series=each) for each in (uid, control))
    )
    probed = source.probe(SMALL, of(listed, uid), listed, 10)
    assert list(probed.gone) == []
    assert isinstance(probed.failure, UnknownReply)
