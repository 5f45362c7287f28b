"""A source that is down is left out for a while, if there is another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.errors import ArchiveBroken, NotPublic
from tcia_assets.images.outages import Outages
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import open_source
from tcia_assets_tests.images.two_sources import TwoSources

DOWN = ArchiveBroken("no response")


def test_a_source_is_down_after_three_failures_in_a_row() -> None:
    outages, now = Outages(lambda: now[0]), [0.0]
    with open_source(Settings()) as source, open_source(Settings()) as other:
        for error in (DOWN, DOWN, NotPublic("hidden"), DOWN, DOWN):
            outages.note(source, error)
            assert outages.error_of(source) is None
        outages.note(source, DOWN)
        assert outages.error_of(source) is DOWN
        assert outages.error_of(other) is None
        now[0] = 299.0
        assert outages.error_of(source) is DOWN
        # One Series tries it again, the others wait for what that one sees.
        now[0] = 301.0
        assert outages.error_of(source) is None
        assert outages.error_of(source) is DOWN
        outages.note(source, None)
        assert outages.error_of(source) is None


@pytest.mark.parametrize("image_sources", [("nbia", "idc"), ("idc", "nbia")])
def test_few_series_wait_for_a_source_that_is_down(
    image_sources: tuple[str, ...], twelve_served: Sandbox, tmp_path: Path
) -> None:
    twelve_served.reset()
    place = TwoSources(
        twelve_served, tmp_path, image_sources=image_sources, idc_connections=1, max_connections=1
    )
    place.refresh()
    place.write_index()
    place.sandbox.requests.clear()
    down = {"nbia": [("", "getImage"), ("", "getImageWithMD5Hash")], "idc": [("idc", "list")]}
    for dialect, endpoint in down[image_sources[0]]:
        fault = Fault("status", endpoint, times=0, dialect=dialect, status=503)
        twelve_served.faults.add(fault)
    place.fetch()
    place.demand_complete()
    tried = place.sandbox.requests["list" if image_sources[0] == "idc" else "getImage"]
    # Twice each, by those that had begun when the third one failed.
    assert 0 < tried <= 2 * (3 + 4)
    twelve_served.reset()
