"""Runs that fetch images, as tests start them, and what they leave on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets_tests.conftest import SMALL, Dagster

SELECTED = {"collections": [SMALL], "modalities": ["RTSTRUCT"]}


ARCHIVES = ["image_archives"]
# The tables of images; a run of these leaves out their checks.
ALL_TABLES = [table.name for table in catalog.IMAGE_TABLES]


def run_fetch(
    dagster: Dagster,
    selection: dict[str, Any] | None = None,
    tables: Sequence[str] = ARCHIVES,
    **chosen: Any,
) -> dg.ExecuteInProcessResult:
    """Fetch zips; by default without their checks and the tables that are read from them."""
    ops = {"tcia_image_archives": {"config": {"selection": selection or SELECTED}}}
    return dagster.run("tcia_images", SMALL, SMALL, ops=ops, tables=tables, **chosen)


def manifest(dagster: Dagster) -> list[dict[str, Any]]:
    rows = dagster.warehouse.read(catalog.IMAGE_ARCHIVES, [SMALL]).to_pylist()
    return list(rows)


def files(dagster: Dagster) -> list[Path]:
    return sorted(p for p in (dagster.data_dir / "archives").rglob("*") if p.is_file())


def zips(dagster: Dagster) -> list[Path]:
    return [path for path in files(dagster) if path.suffix == ".zip"]


def config(**chosen: Any) -> dict[str, object]:
    return {"tcia_image_archives": {"config": {"selection": SELECTED} | chosen}}
