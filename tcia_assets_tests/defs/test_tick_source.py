"""A tick gives up on a slow source before Dagster kills it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.catalog import COLLECTIONS
from tcia_assets.defs import tick_source
from tcia_assets.errors import ArchiveUnreachable
from tcia_assets.settings import Settings
from tcia_assets_tests.sources.scripted import HANGING, Scripted


def test_a_source_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tick_source, "_MAX_REQUESTS_S", 0.2)
    with Scripted(HANGING) as server:
        url = f"{server.url}/nbia-api/services/v4"
        settings = Settings(base_url=url, data_dir=str(tmp_path))
        with (
            pytest.raises(ArchiveUnreachable, match="had not answered in full"),
            tick_source.open_for_tick(settings) as source,
        ):
            source.rows(COLLECTIONS)
