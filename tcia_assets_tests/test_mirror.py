"""The mirror as a notebook uses it, against the sandbox."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets import Mirror, Selection
from tcia_assets.errors import RunFailed, UnknownName, UsageError
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.conftest import SMALL


@pytest.fixture
def mirror(sandbox: Sandbox, tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "data", base_url=sandbox.base_url("nbia-v4"))


@pytest.fixture
def refreshed(sandbox: Sandbox, series_root: Path, tmp_path: Path) -> Mirror:
    """Return a mirror that has the Series of the small Collection."""
    shutil.copytree(series_root, tmp_path / "data")
    return Mirror(tmp_path / "data", base_url=sandbox.base_url("nbia-v4"))


@pytest.mark.slow
def test_a_collection_is_refreshed_fetched_and_queried(mirror: Mirror) -> None:
    assert mirror.status().num_rows == 0
    refreshed = mirror.refresh(SMALL, max_size_requests=0)
    [row] = refreshed.to_pylist()
    assert (row["Collection"], row["series"], row["complete"]) == (SMALL, 10, 0)

    fetched = mirror.fetch(SMALL, modalities=["RTSTRUCT"], max_series_per_run=2)
    [row] = fetched.to_pylist()
    assert (row["selected"], row["complete"]) == (5, 2)
    assert mirror.fetch(selection={"modalities": ["RTSTRUCT"]})["complete"].to_pylist() == [5]

    status = mirror.status(SMALL)
    assert status.schema == refreshed.schema and status["complete"].to_pylist() == [5]
    assert status["selected"].to_pylist() == [None]
    counts = mirror.query("SELECT count(*) AS n FROM series WHERE Modality = $m", {"m": "CT"})
    assert counts.equals(pa.table({"n": [5]}))
    assert "DAGSTER_HOME" not in os.environ


def test_what_fails_is_raised_and_what_is_complete_stays(
    refreshed: Mirror, sandbox: Sandbox
) -> None:
    mirror = refreshed
    uids = mirror.query(
        "SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'RTSTRUCT' ORDER BY uid"
    )["uid"].to_pylist()
    sandbox.archive.hide(uids[:1])
    with pytest.raises(RunFailed, match=f"{uids[0]} is unavailable") as failed:
        mirror.fetch(selection=Selection(series=tuple(uids[:2])))

    assert len(failed.value.failures) == 1
    assert mirror.status()["complete"].to_pylist() == [1]


def test_a_plan_fetches_nothing_and_notes_what_may_be_a_mistake(
    refreshed: Mirror, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = refreshed
    rows = mirror.query("SELECT min(SeriesInstanceUID) AS uid FROM series")
    with caplog.at_level(logging.WARNING):
        request = mirror.plan_fetch(SMALL, series=["9.9.9", rows["uid"][0].as_py()])

    assert [(plan.collection, len(plan.now)) for plan in request.plans] == [(SMALL, 1)]
    assert "1 listed Series is not in the warehouse" in caplog.text
    assert not sandbox.requests["getImage"]


def test_names_and_settings_that_do_not_exist_are_refused(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'LCTCS'"):
        mirror.refresh(["LCTCS"])
    with pytest.raises(UsageError, match=r"it is empty\): run `tcia-assets refresh LCTCS` first"):
        mirror.status("LCTCS")
    with pytest.raises(UsageError, match="name Collections"):
        mirror.fetch()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        Mirror(tmp_path / "file")
