"""Which requests a fault applies to, and how often."""

from __future__ import annotations

import pytest

from tcia_assets.errors import UnknownName
from tcia_assets.sandbox.faults import KINDS, Fault, Faults
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sandbox.zip_stream import EMPTY
from tcia_assets_tests.sandbox.small_series import COLLECTION, UID, image, list_series

from .api_client import ApiClient


def test_a_fault_applies_as_often_as_its_times(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("empty", times=2))
    assert [bool(list_series(api).content) for _ in range(4)] == [False, False, True, True]
    sandbox.faults.add(Fault("empty", times=0))
    assert not any(list_series(api).content for _ in range(4))
    sandbox.faults.clear()
    assert list_series(api).content


def test_a_fault_waits_for_a_matching_request(api: ApiClient, sandbox: Sandbox) -> None:
    fault = Fault("empty", endpoint="getSeries", collection=COLLECTION, dialect="nbia-v4")
    sandbox.faults.add(fault)
    assert api.rows("nbia-v4", "getPatient", Collection=COLLECTION)
    assert api.rows("nbia-v4", "getSeries", Collection="LCTSC")
    assert api.rows("nbia-v1", "getSeries", Collection=COLLECTION)
    assert list_series(api).content == b""
    assert list_series(api).content


def test_faults_of_zips_apply_to_zips_and_faults_of_rows_to_rows(
    api: ApiClient, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("zip_empty", series=UID), Fault("wrong_count"))
    assert image(api).content == EMPTY
    assert list_series(api).json()
    assert len(sandbox.faults) == 0


def test_the_token_endpoint_can_fail_too(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("status", endpoint="token", status=500))
    assert api.grant().status_code == 500
    assert api.grant().status_code == 200


def test_a_fault_is_a_value() -> None:
    assert Fault("empty") == Fault("empty")
    with pytest.raises(UnknownName, match="zip_bomb"):
        Fault("zip_bom")
    faults = Faults()
    faults.add(Fault("empty", times=3))
    faults.take("nbia-v4", "getSeries", {}, returns="rows")
    assert [each["times"] for each in faults.pending()] == [2]


def test_every_fault_is_described() -> None:
    assert all(KINDS.values())
