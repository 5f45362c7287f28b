"""What a source answers with is empty unless it is filled, and costs add up."""

from __future__ import annotations

from tcia_assets.sources.answers import Cost, ProbeResult, SourceRows


def test_costs_add_up() -> None:
    assert Cost(1, 20) + Cost(2, 3) == Cost(3, 23)


def test_results_are_empty_by_default() -> None:
    probed, rows = ProbeResult(), SourceRows(table=None)
    assert (probed.gone, probed.elsewhere, probed.probed, probed.failure) == ((), {}, 0, None)
    assert (rows.unclaimed, rows.promised, rows.cost, rows.failure) == ((), (), Cost(), None)
