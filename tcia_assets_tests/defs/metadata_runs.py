"""Runs that refresh metadata, as tests start them."""

from __future__ import annotations

import dagster as dg

from tcia_assets_tests.conftest import Dagster

NO_SIZES = {"tcia_metadata": {"config": {"max_size_requests": 0}}}
ALL_SIZES = {"tcia_metadata": {"config": {"max_size_requests": 1000}}}


def refresh_all(
    dagster: Dagster, ops: dict[str, object] | None = None, **chosen: object
) -> list[str]:
    keys = dagster.collections(**chosen)
    assert dagster.run("tcia_refresh", keys[0], keys[-1], ops=ops, **chosen).success
    return keys


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
