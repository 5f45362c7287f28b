"""Whatever goes wrong at a bucket: no wrong byte is kept, and nothing is lost."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES
from tcia_assets.errors import RemoteError
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.faults import BUCKETS, CONNECTION, LISTINGS, OBJECTS, STORED, Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Target
from tcia_assets.sources.idc.source import IdcSource
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, idc_settings_for
from tcia_assets_tests.sandbox.released_series import series
from tcia_assets_tests.sandbox.small_series import CATALOGUE

# Of two objects, because it is fetched a hundred times.
UID = min(row["SeriesInstanceUID"] for row in CATALOGUE if row["ImageCount"] == 2)
# Of rows, or slow by nature.
_NOT_HERE = {"hang", "drip", "cut_after_comma", "no_data"}
KINDS = sorted({*CONNECTION, *BUCKETS, *LISTINGS, *OBJECTS, *STORED} - _NOT_HERE)
# What a client need not mind: the bytes are right, and proven in another way.
HARMLESS = {"etag_in_parts", "etag_missing", "etag_unquoted", "list_folder"}
# We ask for no ranges, and this Series has one page.
WITHOUT_EFFECT = {"range_ignored", "range_shifted", "list_one_page"}
MANY = "Vestibular-Schwannoma-SEG"  # it has Series of one object
FOR_ONE_OBJECT = [
    kind
    for kind in KINDS
    if kind not in HARMLESS | WITHOUT_EFFECT | {"object_other", "same_object"}
]
# One of the connection, the bucket, a listing, an object, and what is stored.
FEW = ["cut", "access_denied", "list_short", "object_flipped", "not_dicom"]


@pytest.fixture
def idc(sandbox: Sandbox, idc_index: Path, tmp_path: Path) -> Iterator[IdcSource]:
    with IdcSource(idc_settings_for(sandbox, tmp_path, idc_index), pacing=IMPATIENT) as source:
        yield source


def fetch(source: IdcSource, path: Path) -> dict[str, bytes]:
    source.fetch_zip("objects", UID, Target(path))
    with zipfile.ZipFile(path) as file:
        return {n.removesuffix(".dcm"): file.read(n) for n in file.namelist() if ".dcm" in n}


@pytest.fixture
def right(sandbox: Sandbox) -> dict[str, bytes]:
    """The objects of the Series by SOPInstanceUID."""
    series = sandbox.archive.find(UID)
    assert series is not None
    return dict(sandbox.archive.objects(series))


def test_a_fault_that_passes_does_no_harm(
    sandbox: Sandbox, idc: IdcSource, tmp_path: Path, right: dict[str, bytes]
) -> None:
    wrong = {}
    for kind in KINDS:
        sandbox.faults.add(Fault(kind))
        try:
            found = fetch(idc, tmp_path / "once.zip")
        except RemoteError:
            sandbox.faults.clear()
            found = fetch(idc, tmp_path / "again.zip")
        if found != right:
            wrong[kind] = len(found)
        sandbox.faults.clear()
    assert wrong == {}


def test_a_fault_that_lasts_is_an_error_or_does_no_harm(
    sandbox: Sandbox, idc: IdcSource, tmp_path: Path, right: dict[str, bytes]
) -> None:
    wrong, refused = [], set()
    for kind in KINDS:
        sandbox.faults.add(Fault(kind, times=0))
        try:
            if fetch(idc, tmp_path / "series.zip") != right:
                wrong.append(kind)
        except RemoteError:
            refused.add(kind)
        sandbox.faults.clear()
    assert wrong == []
    assert refused == {*KINDS} - HARMLESS - WITHOUT_EFFECT
    assert fetch(idc, tmp_path / "series.zip") == right


@pytest.mark.parametrize(
    "kinds", [FEW, pytest.param(FOR_ONE_OBJECT, marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_each_series_that_fails_has_its_row_and_reason_and_is_fetched_later(
    sandbox: Sandbox, idc: IdcSource, warehouse: Warehouse, kinds: list[str]
) -> None:
    uids = sorted(series(Collection=MANY, Modality="RTPLAN"))[: len(kinds) + 2]
    failing = dict(zip(uids, kinds, strict=False))
    sandbox.faults.add(*(Fault(kind, series=uid, times=0) for uid, kind in failing.items()))
    refresh(SERIES, MANY, idc, warehouse, datetime.now(UTC), ProbeBudget(0))

    def fetched(*, retry: bool) -> dict[str, dict[str, Any]]:
        selection = Selection(collections=(MANY,), series=tuple(uids))
        fetch_images(MANY, FetchSession(selection, retry=retry), idc, warehouse)
        rows = warehouse.read(IMAGE_ARCHIVES, [MANY]).to_pylist()
        return {row["SeriesInstanceUID"]: row for row in rows}

    rows = fetched(retry=False)
    assert [uid for uid in failing if rows[uid]["status"] == "complete"] == []
    assert all(rows[uid]["error"] and not rows[uid]["path"] for uid in failing)
    assert {rows[uid]["status"] for uid in set(uids) - {*failing}} == {"complete"}
    sandbox.faults.clear()
    rows = fetched(retry=True)
    assert {row["status"] for row in rows.values()} == {"complete"}
    for uid in failing:
        found = sandbox.archive.find(uid)
        assert found is not None
        [(name, content)] = sandbox.archive.objects(found)
        with zipfile.ZipFile(warehouse.root / rows[uid]["path"]) as file:
            assert file.read(f"{name}.dcm") == content


@pytest.mark.parametrize("kind", ["no_such_bucket", "permanent_redirect"])
def test_a_bucket_that_is_not_there_says_what_to_check(
    idc: IdcSource, sandbox: Sandbox, tmp_path: Path, kind: str
) -> None:
    sandbox.faults.add(Fault(kind, endpoint="list", times=0))
    with pytest.raises(RemoteError, match=r"there is no bucket at http:.*TCIA_IDC_BASE_URL"):
        fetch(idc, tmp_path / "a.zip")
