"""The example declaration, with changed lines, and the images of its cohort."""

from __future__ import annotations

from functools import cache

from tcia_assets.datasets.cohort import Cohort
from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets_tests.repository import ROOT

EXAMPLE = ROOT / "datasets" / "lung_ct.yaml"


@cache
def declared(**changed: str) -> Declaration:
    """Return the example declaration with other lines for these keys."""
    text = EXAMPLE.read_text()
    for old, new in changed.items():
        line = {
            "where": "  modalities: [CT]\n",
            "deny": "  deny: [NC, ND]\n",
            "kind": "  kind: RTSTRUCT\n",
        }[old]
        assert line in text
        text = text.replace(line, new)
    return parse_declaration(text, "lung_ct")


def images(frozen: Cohort) -> list[str]:
    """Return the UIDs of the images of a cohort."""
    return list(frozen.of_role("image")["SeriesInstanceUID"].to_pylist())
