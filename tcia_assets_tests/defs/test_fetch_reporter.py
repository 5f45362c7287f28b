"""Observations of a fetch."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.image_runs import run_fetch, zips


def observed(result: dg.ExecuteInProcessResult) -> list[dict[str, Any]]:
    """The facts of each observation."""
    found = []
    for event in result.get_asset_observation_events():
        observation = event.asset_observation_data.asset_observation
        assert observation.partition == SMALL
        assert observation.asset_key == dg.AssetKey(["tcia", "image_archives"])
        found.append({name: value.value for name, value in observation.metadata.items()})
    return found


def test_each_failure_is_observed_and_the_run_is_summarized(with_series: Dagster) -> None:
    hidden = with_series.uids(SMALL, "RTSTRUCT")[:2]
    with_series.sandbox.archive.hide(hidden)
    *failures, summary = observed(run_fetch(with_series))

    assert sorted(each["SeriesInstanceUID"] for each in failures) == hidden
    assert all(each["status"] == "unavailable" and each["error"] for each in failures)
    assert (summary["complete"], summary["unavailable"]) == (3, 2)
    assert summary["bytes"] == sum(path.stat().st_size for path in zips(with_series))

    # Without a fetch there is no observation.
    fetched = {"series": [path.stem for path in zips(with_series)]}
    assert observed(run_fetch(with_series, fetched)) == []


def test_a_large_run_is_summarized_in_batches_with_a_limit_on_failures(
    with_series: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcia_assets.defs.fetch_reporter._SUMMARY_EVERY_SERIES", 2)
    monkeypatch.setattr("tcia_assets.defs.fetch_reporter._MAX_FAILURES_OBSERVED", 1)
    with_series.sandbox.archive.hide(with_series.uids(SMALL, "RTSTRUCT")[:3])
    seen = observed(run_fetch(with_series))
    failures = [each for each in seen if "SeriesInstanceUID" in each]
    summaries = [each for each in seen if "SeriesInstanceUID" not in each]

    assert len(failures) == 1
    counts = [each.get("complete", 0) + each.get("unavailable", 0) for each in summaries]
    assert counts == [2, 2, 1]
    assert sum(each.get("unavailable", 0) for each in summaries) == 3
