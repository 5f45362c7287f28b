"""Builds of the example declaration, with changes, and what they wrote."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tcia_assets.datasets import cohort_lock
from tcia_assets.datasets.build import BuildResult, build, make_samples
from tcia_assets.datasets.cohort import Cohort
from tcia_assets.datasets.cohort_lock import cohort_lock_path
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.repository import ROOT

EXAMPLE = ROOT / "datasets" / "lung_ct.yaml"


@cache
def declared(*changes: tuple[str, str]) -> Declaration:
    """Return the example declaration with replaced lines."""
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_declaration(text, "lung_ct")


def qc(code: str, policy: str) -> tuple[str, str]:
    """Return a change of the example that adds a policy."""
    return "  gantry_tilt: keep\n", f"  gantry_tilt: keep\n  {code}: {policy}\n"


NO_TARGET = (
    EXAMPLE.read_text()[EXAMPLE.read_text().index("target:\n") :].split("\n\n")[0],
    "target: none",
)


def frozen(declaration: Declaration, warehouse: Warehouse, *, update: bool = False) -> Cohort:
    """Freeze the cohort of a declaration, or read the frozen one."""
    lock = cohort_lock_path(warehouse, declaration.name)
    return cohort_lock.freeze_cohort(declaration, warehouse, lock, update=update)[0]


def built(declaration: Declaration, warehouse: Warehouse, *, update: bool = False) -> BuildResult:
    """Build a declaration from its frozen cohort."""
    return build(declaration, frozen(declaration, warehouse, update=update), warehouse)


def sampled(declaration: Declaration, warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """Make the samples of a declaration, and no version; return the row of each, by UID."""
    made = make_samples(declaration, query_cohort(declaration, warehouse), warehouse)
    return {row["SeriesInstanceUID"]: row for row in made.samples.to_pylist()}


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a folder, by path."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def rows(result: BuildResult) -> dict[str, dict[str, Any]]:
    """Return the rows of all samples, by UID."""
    return {row["SeriesInstanceUID"]: row for row in result.samples.to_pylist()}


def images(warehouse: Warehouse) -> list[str]:
    """Return the UIDs of the CT Series, sorted."""
    found = warehouse.query(
        "SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'CT' ORDER BY uid"
    )
    return list(found["uid"].to_pylist())


def codes(row: dict[str, Any]) -> list[str]:
    """Return the codes of the findings of a row of a sample."""
    return [finding["code"] for finding in row["findings"]]
