"""Runs that refresh metadata, as tests start them."""

from __future__ import annotations

import dagster as dg

NO_SIZES = {"tcia_metadata": {"config": {"max_size_requests": 0}}}


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
